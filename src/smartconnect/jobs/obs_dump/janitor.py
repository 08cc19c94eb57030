"""Uploads that nobody will ever finish are aborted: they are invisible, but billed (obs-dump.md §8).

Order is everything: list, *then* prove that we still own the unit, then abort of the list what no position names and no live object of
ours is. After take-over no predecessor's upload can become committed, and what was listed before the proof is no successor's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from smartconnect.jobs.obs_dump.committer import Committer
from smartconnect.jobs.obs_dump.incarnation import Incarnation
from smartconnect.jobs.obs_dump.naming import parse_key
from smartconnect.jobs.obs_dump.roster import Roster
from smartconnect.jobs.obs_dump.steps import Outcome, Step
from smartconnect.kafka.types import TopicPartition
from smartconnect.objectstore import Upload

_EVERY_S = 3600.0


class Janitor:
    """One unit's; runs after its start and hourly, and once more when its task is deleted."""

    def __init__(self, inc: Incarnation, roster: Roster, committer: Committer) -> None:
        self._inc, self._roster, self._committer = inc, roster, committer

    async def run(self) -> None:
        while True:
            await self.sweep()
            await asyncio.sleep(_EVERY_S)

    async def sweep(self) -> int:
        """One round; how many uploads were aborted."""
        inc, note = self._inc, self._inc.steps.note
        note(Step.JANITOR_LIST, Outcome.SENT)
        found = await self._list()
        note(Step.JANITOR_LIST, Outcome.OK, uploads=tuple(upload.upload_id for upload in found))
        if not found:
            return 0
        await self._committer.prove_ownership()
        note(Step.JANITOR_PROVE)
        spared = await self._named() | await inc.uploads.live_ids()
        aborted = 0
        for upload in found:
            if upload.upload_id in spared:
                continue
            await self._abort(upload)
            aborted += 1
        inc.counters["uploads_swept"] += aborted
        return aborted

    async def _list(self) -> list[Upload]:
        """Old enough uploads whose whole key has the form of ours, for partitions of ours. Not of hidden topics: Kafka does not tell what
        is promised of them."""
        inc = self._inc
        oldest_ms = inc.clock.now_ms() - inc.spec.options.janitor_min_age_s * 1000
        found = []
        for path in await self._paths():
            for topic in {tp.topic for tp in self._roster.partitions} - self._roster.hidden.names:
                prefix = f"{path}/{topic}/" if path else f"{topic}/"
                uploads = await inc.calls.control(lambda prefix=prefix: _collected(inc, prefix))  # type: ignore[misc]  # bound on purpose
                found += [
                    upload for upload in uploads if upload.initiated_ms <= oldest_ms and self._is_ours(upload.key, prefix, topic)
                ]
        return found

    async def _paths(self) -> Iterable[str]:
        """The path of today and those of earlier configurations."""
        earlier = await self._inc.context.ledger.facts("obs_path")
        return {self._inc.spec.path, *earlier}

    def _is_ours(self, key: str, prefix: str, topic: str) -> bool:
        name = parse_key(key, prefix)
        return name is not None and name.topic == topic and self._inc.is_ours(TopicPartition(topic, name.partition))

    async def _named(self) -> set[str]:
        """Upload ids that a committed position of any run names, or is about to name."""
        inc = self._inc
        named = {pending.entry.upload for partition in self._roster.partitions.values() for pending in partition.pending}
        for run in range(1, inc.context.task.run + 1):
            for position in (await inc.read_positions(run)).values():
                if position.promise is not None:
                    named |= {entry.upload for entry in position.promise.entries}
        return named

    async def _abort(self, upload: Upload) -> None:
        inc = self._inc
        inc.steps.note(Step.JANITOR_ABORT, Outcome.SENT, upload=upload.upload_id)
        await inc.calls.control(lambda: inc.store.abort_upload(upload.key, upload.upload_id))
        inc.steps.note(Step.JANITOR_ABORT, Outcome.OK, upload=upload.upload_id)


async def _collected(inc: Incarnation, prefix: str) -> list[Upload]:
    return [upload async for upload in inc.store.list_uploads(prefix)]
