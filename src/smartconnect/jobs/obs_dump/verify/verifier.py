"""`verify`, top to bottom: positions first, then the listing, so that everything below a position must be in it; then the ranges of each
partition, and with `deep` every byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field

from smartconnect.domain.errors import MalformedData
from smartconnect.domain.obs_dump_spec import ObsDumpSpec
from smartconnect.domain.verification import Finding, FindingKind, VerifyRequest, VerifyResult, VerifySubject
from smartconnect.jobs.obs_dump.entries import Entry, decode
from smartconnect.jobs.obs_dump.incarnation import group_name
from smartconnect.jobs.obs_dump.naming import ObjectNames
from smartconnect.jobs.obs_dump.topic_watch import selected_by
from smartconnect.jobs.obs_dump.verify.catalog import Catalog, Stored
from smartconnect.jobs.obs_dump.verify.compare import difference
from smartconnect.jobs.obs_dump.verify.listing import Listing
from smartconnect.jobs.obs_dump.verify.ranges import Covered, Expected, Walk, resolved
from smartconnect.jobs.obs_dump.verify.source import Expired, PartitionSource, Unreadable
from smartconnect.kafka.admin import Resource, ResourceKind, describe_configs
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.groups import fetch_offsets
from smartconnect.kafka.types import TopicPartition
from smartconnect.objectstore import KeyRefused, ObjectStore

_UNFINISHED_TRIES = 5
_UNFINISHED_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Known:
    """A committed position as verify needs it: where the next object begins, and what is promised.."""

    reach: int | None
    entries: tuple[Entry, ...] = ()


@dataclass(slots=True)
class Verifier:
    """One verification. `result` counts while it runs."""

    cluster: Cluster
    store: ObjectStore
    spec: ObsDumpSpec
    subject: VerifySubject
    request: VerifyRequest
    result: VerifyResult = field(default_factory=VerifyResult)

    async def run(self) -> AsyncGenerator[Finding, None]:
        """Everything found, as it is found."""
        known = {run: await self._positions(run) for run in range(1, self.subject.task.run + 1)}
        topics = await self._topics(known)
        with Catalog() as catalog:
            listing = Listing(self.store, self.subject.task, self.request, catalog, self.result)
            for topic in topics:
                for prefix in self._prefixes(topic):
                    async for finding in listing.under(prefix):
                        yield self._noted(finding)
            async for finding in self._unfinished(listing, known, topics):
                yield self._noted(finding)
            async for finding in self._partitions(catalog, known, topics):
                yield self._noted(finding)

    # -- what is known -----------------------------------------------------------------------------------------------------

    async def _positions(self, run: int) -> Mapping[TopicPartition, Known]:
        found = await fetch_offsets(self.cluster, group_name(self.subject.task.id, run), require_stable=False)
        positions = {}
        for tp, committed in found.committed.items():
            try:
                promise = decode(committed.metadata)
            except MalformedData:
                positions[tp] = Known(None)
                continue
            positions[tp] = Known(committed.offset if promise.next_start is None else promise.next_start, promise.entries)
        return positions

    async def _topics(self, known: Mapping[int, Mapping[TopicPartition, Known]]) -> list[str]:
        """Those that the task selects now, and those of which it has ever committed or reported a position."""
        if self.request.topic is not None:
            return [self.request.topic]
        selection = selected_by(self.spec)
        metadata = await self.cluster.metadata(self.spec.topics or None)
        topics = {name for name, topic in metadata.topics.items() if topic.error is None and selection.selects(name)}
        topics |= set(self.spec.topics) | {topic for _, topic, _ in self.subject.starts}
        return sorted(topics | {tp.topic for positions in known.values() for tp in positions})

    def _prefixes(self, topic: str) -> list[str]:
        paths = dict.fromkeys((*self.subject.paths, self.spec.path))
        return [ObjectNames(path, "", self.spec.timezone).topic_prefix(topic) for path in paths]

    def _noted(self, finding: Finding) -> Finding:
        self.result.note(finding)
        return finding

    # -- what is promised --------------------------------------------------------------------------------------------------

    async def _unfinished(
        self, listing: Listing, known: Mapping[int, Mapping[TopicPartition, Known]], topics: list[str]
    ) -> AsyncIterator[Finding]:
        """Prepared objects that do not appear. Between commit and Complete that is normal for a moment: looked at again before told."""
        for run, positions in known.items():
            for tp, position in positions.items():
                for entry in position.entries:
                    if tp.topic in topics and not await self._appears(listing, tp, entry):
                        what = f"prepared object {entry.key} is not visible; the task finishes it when it runs"
                        yield Finding(
                            FindingKind.UNFINISHED, f"{tp}, run {run}: {what}", *tp, run, entry.start, entry.end, entry.key
                        )

    async def _appears(self, listing: Listing, tp: TopicPartition, entry: Entry) -> bool:
        prefix = next((prefix for prefix in self._prefixes(tp.topic) if entry.key.startswith(prefix)), "")
        for _ in range(_UNFINISHED_TRIES):
            if entry.bucket == self.spec.bucket and await listing.take_key(prefix, entry.key):
                return True
            await asyncio.sleep(_UNFINISHED_AGAIN_S)
        return False

    # -- what is there -----------------------------------------------------------------------------------------------------

    async def _partitions(
        self, catalog: Catalog, known: Mapping[int, Mapping[TopicPartition, Known]], topics: list[str]
    ) -> AsyncIterator[Finding]:
        series = dict.fromkeys(catalog.series())
        series |= dict.fromkeys((tp, run) for run, positions in known.items() for tp in positions if tp.topic in topics)
        for tp, run in sorted(series):
            self.result.partitions += 1
            walk = Walk(tp, run, self._expected(known[run].get(tp, Known(None)), tp, run))
            reach = known[run].get(tp, Known(None)).reach
            async with PartitionSource(self.cluster, tp) as source:
                for covered in resolved(catalog.of(tp, run), reach):
                    for finding in walk.step(covered):
                        yield finding
                    if self.request.deep and (compared := await self._compared(source, covered)) is not None:
                        yield compared
            for finding in walk.finish():
                yield finding

    def _expected(self, position: Known, tp: TopicPartition, run: int) -> Expected:
        promised = [(entry.start, entry.end) for entry in position.entries]
        begins = None
        if self.request.since_ms is None and run == self.subject.task.run:
            begins = self.subject.starts.get(("", tp.topic, tp.partition))
        return Expected(begins, position.reach, promised)

    async def _compared(self, source: PartitionSource, covered: Covered) -> Finding | None:
        stored = covered.stored
        if covered.end is None:
            return _about(stored, None, FindingKind.UNREADABLE, "nothing tells where it ends; pause the task, then verify again")
        self.result.compared += 1
        try:
            found = await difference(self.store, source, stored, covered.end, self.spec)
        except Expired:
            return _about(stored, covered.end, FindingKind.EXPIRED, "Kafka no longer has all of its records")
        except Unreadable as error:
            return _about(stored, covered.end, FindingKind.UNREADABLE, str(error))
        except KeyRefused as error:
            return _about(stored, covered.end, FindingKind.UNREADABLE, f"the store does not give it: {error}")
        if found is None:
            return None
        if await self._is_compacted(stored.tp.topic):
            return _about(
                stored, covered.end, FindingKind.EXPIRED, "the topic is compacted: Kafka no longer has all of its records"
            )
        return _about(stored, covered.end, FindingKind.DIFFERS, found)

    async def _is_compacted(self, topic: str) -> bool:
        resource = Resource(ResourceKind.TOPIC, topic)
        found = (await describe_configs(self.cluster, [resource])).get(resource)
        policy = found.get("cleanup.policy") if isinstance(found, dict) else None
        return policy is not None and "compact" in (policy.value or "")


def _about(stored: Stored, end: int | None, kind: FindingKind, what: str) -> Finding:
    message = f"{stored.key}: {what}"
    return Finding(kind, message, *stored.tp, stored.run, stored.start, end, stored.key)
