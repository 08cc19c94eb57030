"""When a partition cannot be read where it should be: gaps are never silent (obs-dump.md §4 F4, F5, kafka-replication.md §5).

Each is an event and a mark in progress. `on_gap = "continue"` goes on at the first record that there is, `"stop"` blocks the partition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from smartconnect.domain.policies import OnGap
from smartconnect.domain.progress import Level
from smartconnect.jobs.lag import EndsSeen
from smartconnect.jobs.obs_dump.assembler import CutCause
from smartconnect.jobs.obs_dump.beginnings import Beginnings
from smartconnect.jobs.obs_dump.incarnation import Incarnation
from smartconnect.jobs.obs_dump.partition import Partition
from smartconnect.jobs.obs_dump.rests import Rests
from smartconnect.jobs.obs_dump.roster import TOPIC_DELETED, Changes, Roster
from smartconnect.jobs.obs_dump.sealing import Sealer
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.fetcher import FetchedPartition, Fetcher
from smartconnect.kafka.offsets import EARLIEST, LATEST, READ_COMMITTED, list_offsets

_CRC_TRIES = 3


class Gaps:
    """Decides for one incarnation's partitions; called by its loop only. What may pass by itself is for `rests`. `changed` is given what a
    look has brought, for the loop's own time: no partition is rewound while a transaction names it."""

    def __init__(
        self,
        inc: Incarnation,
        roster: Roster,
        fetcher: Fetcher,
        rests: Rests,
        beginnings: Beginnings,
        sealer: Sealer,
        changed: Callable[[Changes], None],
    ) -> None:
        self._inc, self._roster, self._fetcher, self._sealer = inc, roster, fetcher, sealer
        self._rests, self._beginnings, self._changed = rests, beginnings, changed

    async def handle(self, partition: Partition, fetched: FetchedPartition) -> None:
        """An error that Kafka answered for this partition."""
        assert fetched.error is not None
        match fetched.error:
            case KafkaCode.OFFSET_OUT_OF_RANGE:
                await self._out_of_range(partition, fetched)
            case KafkaCode.INCONSISTENT_TOPIC_ID:
                if not await self._went_or_came_again(partition):
                    self._fetch_again(partition)
            case KafkaCode.UNKNOWN_TOPIC_OR_PARTITION:
                if not partition.gone:
                    partition.gone = True
                    self._changed(Changes([], [], [partition]))
            case KafkaCode.TOPIC_AUTHORIZATION_FAILED:
                self._rests.denied(partition)
            case code:
                self._rests.refused(partition, code)

    def damaged(self, partition: Partition, damage: str) -> None:
        """A batch with a wrong checksum or format: fetched again, three times, then the partition is blocked; never skipped."""
        partition.crc_failures += 1
        self._inc.counters["damaged_batches"] += 1
        if partition.crc_failures >= _CRC_TRIES:
            self._block(partition, f"{partition.tp} cannot be read at offset {partition.read}: {damage}", "damaged_batch")
        else:
            self._fetch_again(partition)

    def topic_gone(self, partition: Partition) -> None:
        """The topic was deleted: what was not yet committed is not delivered. Old news where it, or another one, has been seen since."""
        if partition.superseded:
            return
        if not partition.gone:
            self._fetch_again(partition)
            return
        partition.selected, partition.rest = False, None
        self._stop(partition)
        self._sealer.rewind(partition)
        why = f"the topic of {partition.tp} was deleted; what was not yet committed is not delivered"
        if partition.stopped is not None or not self._stops_at_gap(partition, why, TOPIC_DELETED):
            self._note(partition, TOPIC_DELETED, why)

    def topic_recreated(self, partition: Partition) -> None:
        """Same name, another topic: earliest of the new one."""
        partition.rest = None
        self._stop(partition)
        self._sealer.rewind(partition)
        self._sealer.names_may_be_taken()
        if self._stops_at_gap(partition, f"the topic of {partition.tp} was deleted and made again"):
            return
        self._beginnings.add(partition)

    def begin_recreated(self, partition: Partition, offset: int) -> None:
        """Its earliest record is known."""
        self._jump(partition, offset)
        partition.position, partition.start_offset, partition.initial_end = None, offset, offset
        partition.ends, partition.held_back = EndsSeen(), 0
        partition.gone, partition.foreign, partition.stopped, partition.expected = False, False, None, None
        self._note(partition, "topic_recreated", f"the topic of {partition.tp} was made again; dumped from its earliest record")

    async def _out_of_range(self, partition: Partition, fetched: FetchedPartition) -> None:
        position = partition.read
        if await self._went_or_came_again(partition):
            return
        start, end = await self._bounds(partition)
        if fetched.diverged_at >= 0 and fetched.diverged_at < position:
            target, why = fetched.diverged_at, f"an unclean election cut the log of {partition.tp} at {fetched.diverged_at}"
        elif position < start:
            target, why = start, f"retention removed {partition.tp} [{position}, {start}) before it was dumped"
        elif position > end >= 0:
            target, why = end, f"the log of {partition.tp} ends at {end}, below our position {position}"
        else:
            self._fetch_again(partition)
            return
        if self._stops_at_gap(partition, why):
            return
        self._sealer.seal(partition, CutCause.GAP)
        self._jump(partition, target)
        self._note(partition, "gap", f"{why}; continued at {target}")

    async def _went_or_came_again(self, partition: Partition) -> bool:
        """Whether its topic is gone or another one by now; then, as all else that this look brings, that is seen to at once."""
        changes = await self._roster.look(max_age_s=0)
        self._changed(changes)
        return partition.superseded or partition in changes.recreated or partition.gone

    def _fetch_again(self, partition: Partition) -> None:
        if partition.fetching:
            self._fetcher.seek(partition.tp, partition.read, partition.leader_epoch)

    async def _bounds(self, partition: Partition) -> tuple[int, int]:
        """−1: its leader does not tell now. Then it is found out again by who fetches it."""
        starts, ends = await asyncio.gather(
            list_offsets(self._inc.cluster, {partition.tp: EARLIEST}, READ_COMMITTED, patient=False),
            list_offsets(self._inc.cluster, {partition.tp: LATEST}, READ_COMMITTED, patient=False),
        )
        return starts[partition.tp].offset, ends[partition.tp].offset

    def _jump(self, partition: Partition, offset: int) -> None:
        partition.read = partition.next_start = offset
        partition.leader_epoch = -1
        if partition.fetching:
            self._fetcher.seek(partition.tp, offset)

    def _stops_at_gap(self, partition: Partition, why: str, code: str = "gap") -> bool:
        if self._inc.spec.options.on_gap is OnGap.CONTINUE:
            return False
        self._block(partition, f"{why}; on_gap = stop: restart the task to go on", code)
        partition.gaps += 1
        return True

    def _note(self, partition: Partition, code: str, message: str) -> None:
        partition.gaps += 1
        self._inc.counters["gaps"] += 1
        self._inc.context.ledger.event(Level.WARNING, code, message)

    def _block(self, partition: Partition, message: str, code: str) -> None:
        self._stop(partition)
        self._roster.stop(partition, message, code)

    def _stop(self, partition: Partition) -> None:
        if partition.fetching:
            partition.fetching = False
            self._fetcher.drop(partition.tp)
