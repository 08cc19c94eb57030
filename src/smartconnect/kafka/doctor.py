"""Does a Kafka cluster do what we stand on? Runs our whole protocol once: transactions, their visibility, transactional offset commits,
`require_stable`, fencing, the size of metadata; in a topic and a group whose names begin with `smartconnect.doctor`, which are removed
afterwards. Called by `smart-connect doctor --instance`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from smartconnect.domain.diagnosis import DoesNotHold, Examination, OnlyWarning
from smartconnect.domain.errors import Fenced, SmartConnectError
from smartconnect.kafka.admin import (
    ClusterDescription,
    NewTopic,
    Resource,
    ResourceKind,
    create_topics,
    delete_topics,
    describe_cluster,
    describe_configs,
)
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.errors import MetadataTooLarge
from smartconnect.kafka.fetcher import Fetcher, FetchOptions
from smartconnect.kafka.groups import OffsetCommit, delete_groups, fetch_offsets
from smartconnect.kafka.offsets import LATEST, READ_COMMITTED, READ_UNCOMMITTED, list_offsets
from smartconnect.kafka.produce_channel import Outcome, OutgoingBatch, ProduceChannel, ProduceOptions
from smartconnect.kafka.transactions import TransactionalId
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import Kind, walk
from smartconnect.kernels.batch import TRANSACTIONAL
from smartconnect.kernels.encode import Frame, Record, batch

PREFIX: Final = "smartconnect.doctor"
METADATA_WANTED: Final = 3709
"""Characters of the longest metadata that the dump commits: four entries with the longest possible keys (obs-dump.md §3)."""

_STEP_S: Final = 30.0
_PAUSE_S: Final = 0.05
_RETENTION_WANTED_MIN: Final = 24 * 60
_ALL: Final = FetchOptions(max_bytes=1 << 20, partition_max_bytes=1 << 20, connections_per_leader=1)


class KafkaDoctor:
    """One examination of one cluster. `unique` makes its names its own; `now_ms`: the time of the records it writes."""

    def __init__(self, cluster: Cluster, examination: Examination, unique: str, now_ms: int) -> None:
        self._cluster, self._examination = cluster, examination
        self._name = f"{PREFIX}.{unique}"
        self._tp = TopicPartition(self._name, 0)
        self._txn = TransactionalId(cluster, self._name)
        self._sequence, self._now_ms = 0, now_ms

    async def examine(self) -> None:
        """Every step in turn; nothing of ours is left behind, whatever happens."""
        if not await self._check("the cluster answers", self._reach):
            return
        await self._check("offsets are kept for a day at least", self._retention)
        try:
            if not await self._check("topics can be created", self._create):
                return
            if not await self._check("transactional ids can be used", self._initialise):
                return
            await self._check("records of an open transaction are held back, committed ones are seen", self._commit_records)
            await self._check("records of an aborted transaction are marked", self._abort_records)
            await self._check("offsets and their metadata are committed in a transaction", self._commit_offsets)
            await self._check("require_stable tells that an offset is undecided", self._stable)
            await self._check("metadata of prepared objects fits", self._metadata)
            await self._check("an older owner is fenced, its transaction is aborted", self._fence)
        finally:
            await self._check("topic and group can be deleted", self._remove)

    async def _check(self, what: str, step: Callable[[], Awaitable[str]]) -> bool:
        async def bounded() -> str:
            async with asyncio.timeout(_STEP_S):
                return await step()

        return await self._examination.check(what, bounded)

    async def _reach(self) -> str:
        found = await describe_cluster(self._cluster)
        return _in_words(found)

    async def _retention(self) -> str:
        broker = min((await describe_cluster(self._cluster)).brokers)
        resource = Resource(ResourceKind.BROKER, str(broker))
        configs = (await describe_configs(self._cluster, [resource])).get(resource)
        value = configs.get("offsets.retention.minutes") if isinstance(configs, dict) else None
        if value is None or value.value is None:
            raise OnlyWarning("the broker does not tell offsets.retention.minutes; 7 days are usual")
        minutes = int(value.value)
        if minutes < _RETENTION_WANTED_MIN:
            raise OnlyWarning(f"offsets.retention.minutes is {minutes}: a service that is down for longer loses its positions")
        return f"offsets.retention.minutes = {minutes}"

    async def _create(self) -> str:
        refused = (await create_topics(self._cluster, [NewTopic(self._name, 1)]))[self._name]
        if refused is not None:
            raise DoesNotHold(f"topic {self._name} cannot be created ({refused}); grant CREATE on topics with the prefix {PREFIX}")
        while not await self._cluster.leaders_of([self._tp]):
            self._cluster.leaders.invalidate([self._name])
            await asyncio.sleep(_PAUSE_S)
        return f"{self._name}, removed again below"

    async def _initialise(self) -> str:
        await self._txn.initialise()
        return f"producer id {self._txn.producer_id}, epoch {self._txn.epoch}"

    async def _commit_records(self) -> str:
        await self._produce()
        held, written = await self._end(READ_COMMITTED), await self._end(READ_UNCOMMITTED)
        if held >= written:
            raise DoesNotHold(f"an undecided record is readable: the last stable offset is {held}, the log's end {written}")
        await self._txn.end(commit=True)
        await self._until_decided()
        kinds = await self._kinds()
        if kinds != [Kind.DATA, Kind.CONTROL]:
            raise DoesNotHold(f"a committed record and its marker were expected, {_names(kinds)} were read")
        return f"held back at offset {held} until the commit"

    async def _abort_records(self) -> str:
        before = len(await self._kinds())
        await self._produce()
        await self._txn.end(commit=False)
        await self._until_decided()
        kinds = (await self._kinds())[before:]
        if kinds != [Kind.ABORTED, Kind.CONTROL]:
            raise DoesNotHold(f"an aborted record and its marker were expected, {_names(kinds)} were read")
        return "a read_committed reader skips it"

    async def _commit_offsets(self) -> str:
        await self._commit(OffsetCommit(7, -1, "smartconnect doctor"))
        found = await self._position()
        if found != (7, "smartconnect doctor"):
            raise DoesNotHold(f"offset 7 was committed with metadata, {found} was read")
        return "offset 7 and its metadata came back"

    async def _stable(self) -> str:
        await self._txn.add_offsets(self._name)
        await self._txn.commit_offsets(self._name, {self._tp: OffsetCommit(8)})
        found = await fetch_offsets(self._cluster, self._name, require_stable=True, partitions=[self._tp])
        await self._txn.end(commit=False)
        if self._tp not in found.unstable:
            raise DoesNotHold("an offset that an open transaction may change was given as decided (KIP-447 is missing)")
        position = await self._position()
        if position[0] != 7:
            raise DoesNotHold(f"after the abort the offset must be 7 again, it is {position[0]}")
        return "undecided while open, 7 again after the abort"

    async def _metadata(self) -> str:
        try:
            await self._commit(OffsetCommit(9, -1, "m" * METADATA_WANTED))
        except MetadataTooLarge:
            raise OnlyWarning(f"offset.metadata.max.bytes is below {METADATA_WANTED}: one prepared object at a time") from None
        return f"{METADATA_WANTED} characters"

    async def _fence(self) -> str:
        await self._txn.add_offsets(self._name)
        await self._txn.commit_offsets(self._name, {self._tp: OffsetCommit(99)})
        newer = TransactionalId(self._cluster, self._name)
        await newer.initialise()
        try:
            await self._txn.end(commit=True)
        except Fenced:
            position = await self._position()
            if position[0] == 99:
                raise DoesNotHold("the fenced owner's offset counts") from None
            return f"epoch {newer.epoch} fences epoch {self._txn.epoch}"
        raise DoesNotHold("the older owner could still commit")

    async def _remove(self) -> str:
        await delete_groups(self._cluster, [self._name])
        refused = (await delete_topics(self._cluster, [self._name])).get(self._name)
        if refused is not None and refused.code.name != "UNKNOWN_TOPIC_OR_PARTITION":
            raise OnlyWarning(f"topic {self._name} stays: {refused}")
        return "nothing of ours is left"

    # -- small parts -------------------------------------------------------------------------------------------------------

    async def _produce(self) -> None:
        """One record in the open transaction, beginning one."""
        frame = Frame(
            producer_id=self._txn.producer_id,
            producer_epoch=self._txn.epoch,
            base_sequence=self._sequence,
            attributes=TRANSACTIONAL,
        )
        await self._txn.add_partitions([self._tp])
        leader = (await self._cluster.leaders_of([self._tp]))[self._tp][0]
        answered: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        channel = ProduceChannel(self._cluster, leader, ProduceOptions(transactional_id=self._name), answered.set_result)
        running = asyncio.create_task(channel.run())
        try:
            records = batch([Record(0, b"smartconnect doctor", timestamp=self._now_ms)], frame)
            channel.put(self._tp, [OutgoingBatch(records)])
            (outcome,) = await answered
        finally:
            running.cancel()
            await asyncio.wait({running})
        if not outcome.stored:
            raise DoesNotHold(f"a record of a transaction was not stored: {outcome.lost or outcome.refused}")
        self._sequence += 1

    async def _commit(self, commit: OffsetCommit) -> None:
        await self._txn.add_offsets(self._name)
        await self._txn.commit_offsets(self._name, {self._tp: commit})
        await self._txn.end(commit=True)

    async def _position(self) -> tuple[int, str]:
        """The decided offset and its metadata; −1 if there is none."""
        while True:
            found = await fetch_offsets(self._cluster, self._name, require_stable=True, partitions=[self._tp])
            if self._tp not in found.unstable:
                committed = found.committed.get(self._tp)
                return (-1, "") if committed is None else (committed.offset, committed.metadata)
            await asyncio.sleep(_PAUSE_S)

    async def _end(self, isolation: int) -> int:
        listed = (await list_offsets(self._cluster, {self._tp: LATEST}, isolation))[self._tp]
        if listed.error is not None:
            raise DoesNotHold(f"the end of {self._tp} cannot be listed: {listed.error.name}")
        return listed.offset

    async def _until_decided(self) -> None:
        """Markers are written a moment after EndTxn is acknowledged."""
        while True:
            if await self._end(READ_COMMITTED) == await self._end(READ_UNCOMMITTED):
                return
            await asyncio.sleep(_PAUSE_S)

    async def _kinds(self) -> list[Kind]:
        """What a read_committed reader finds in the topic, batch by batch."""
        end, at, kinds = await self._end(READ_COMMITTED), 0, []
        async with Fetcher(self._cluster, _ALL, _Free()) as fetcher:
            fetcher.assign(self._tp, 0)
            while at < end:
                frame = await fetcher.next(_STEP_S)
                for part in () if frame is None else frame.partitions:
                    if part.error is not None:
                        raise DoesNotHold(f"{self._tp} cannot be read: {part.error.name}")
                    kinds += [found.kind for found in walk(part.records, at, part.aborted)]
                    at = part.next_offset
                if frame is not None:
                    frame.release()
        return kinds


class _Free:
    """A few records need no budget."""

    async def acquire(self, nbytes: int) -> None:
        return None

    def overdraw(self, nbytes: int) -> None:
        return None

    def release(self, nbytes: int) -> None:
        return None


def _names(kinds: list[Kind]) -> str:
    return ", ".join(kind.name.lower() for kind in kinds) or "nothing"


async def examine_rights(cluster: Cluster) -> str:
    """For the short examination: what the cluster lets us do, from its own answer."""
    found = await describe_cluster(cluster)
    rights = "" if not found.operations else f"; rights on the cluster: {', '.join(sorted(found.operations)).lower()}"
    try:
        await fetch_offsets(cluster, f"{PREFIX}.rights", require_stable=True)
    except SmartConnectError as error:
        raise OnlyWarning(f"groups with the prefix smartconnect. cannot be read: {error}") from error
    return f"{_in_words(found)}{rights}"


def _in_words(found: ClusterDescription) -> str:
    count = len(found.brokers)
    return f"{count} broker{'' if count == 1 else 's'}, cluster {found.cluster_id}"
