"""When a partition cannot be read where it should be: gaps are never silent (kafka-replication.md §5).

Each is an event and a mark in progress. `on_gap = "continue"` goes on at the first record that there is, `"stop"` blocks the partition.
A partition jumps only when nothing of it is on its way, and when the registry knows of the gap: a position behind one, or a smaller one, is
never committed before that. Who dies in between leaves a gap that is found again: counted once, and told once as long as it is the same.
What the source refuses without a gap (a right that is missing, a code that nobody expects) lets the partition rest, and try again.
Called by the runner's loop only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from smartconnect.domain.policies import OnGap
from smartconnect.domain.progress import Level
from smartconnect.jobs.kafka_replication import rests
from smartconnect.jobs.kafka_replication.incarnation import Incarnation
from smartconnect.jobs.kafka_replication.partition import Jump, Partition
from smartconnect.jobs.kafka_replication.roster import Roster
from smartconnect.jobs.kafka_replication.topic_view import Link, unreadable_trouble
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.fetcher import FetchedPartition, Fetcher
from smartconnect.kafka.offsets import EARLIEST, LATEST, READ_COMMITTED, list_offsets

GAP: Final = "gap"
_CRC_TRIES: Final = 3


class Gaps:
    """One incarnation's. `moved` is told of a partition whose position has to be committed."""

    def __init__(self, inc: Incarnation, roster: Roster, fetcher: Fetcher, moved: Callable[[Partition], None]) -> None:
        self._inc, self._roster, self._fetcher, self._moved = inc, roster, fetcher, moved
        self._jumping: set[Partition] = set()

    async def handle(self, partition: Partition, fetched: FetchedPartition) -> None:
        """An error that the source answered for this partition."""
        assert fetched.error is not None
        match fetched.error:
            case KafkaCode.OFFSET_OUT_OF_RANGE:
                await self._out_of_range(partition, fetched)
            case KafkaCode.INCONSISTENT_TOPIC_ID:
                if not await self._made_again(partition):
                    self._fetch_again(partition)
            case KafkaCode.UNKNOWN_TOPIC_OR_PARTITION:
                self.gone(partition)
            case KafkaCode.TOPIC_AUTHORIZATION_FAILED:
                self._unreadable(partition)
            case code:
                self.rest(partition, "kafka_refused", f"Kafka answers {code.name} for {partition.tp} at offset {partition.read}")

    def _unreadable(self, partition: Partition) -> None:
        """A right is the whole topic's: all its partitions rest, whichever was refused first, and one of them tells."""
        topic, trouble = partition.tp.topic, unreadable_trouble(partition.tp.topic)
        fetched = [each for each in self._roster.partitions.values() if each.fetching and each.tp.topic == topic]
        untold = [each for each in fetched if each.told != trouble.code]
        for each in untold[1:]:
            each.told = trouble.code
        for each in fetched:
            self.rest(each, *trouble)

    def damaged(self, partition: Partition, damage: str) -> None:
        """Fetched again, three times, then the partition is blocked; a broken body is never signed again, and never skipped."""
        partition.crc_failures += 1
        self._inc.counters["damaged_batches"] += 1
        if partition.crc_failures >= _CRC_TRIES:
            self.block(partition, "damaged_batch", f"{partition.tp} cannot be read: {damage}")
        else:
            self._fetch_again(partition)

    def gone(self, partition: Partition) -> None:
        """The topic was deleted on the source; what is on its way still arrives, the target's topic stays."""
        if partition.selected:
            partition.selected = False
            self._tell(partition, "topic_deleted", f"the topic of {partition.tp} was deleted on the source; its copy stays")
        self.stop(partition)

    def remade(self, partition: Partition, link: Link) -> None:
        """A topic of the same name, another topic."""
        if partition.link.source_topic_id != link.source_topic_id:
            why = f"the topic of {partition.tp} was deleted and made again on the source"
            if not self._stops_at_gap(partition, why):
                self._tell(partition, "topic_recreated", f"{why}; copied from its earliest record")
                self._jump(partition, Jump(None, link, forgets_position=True))
            return
        why = f"topic {link.target.topic} was made again on the target"
        if not self._stops_at_gap(partition, why):
            self._tell(partition, "target_recreated", f"{why}; copying goes on, earlier records are not there")
            self._jump(partition, Jump(None, link))

    async def settle(self) -> list[Partition]:
        """Partitions that have jumped: nothing of them is on its way any more, and their gaps are on record."""
        landed = []
        for partition in list(self._jumping):
            jump = partition.jump
            if jump is None or partition.flights:
                continue
            offset = await self._landing(partition, jump) if jump.reported else None
            if offset is not None:
                self._jumping.discard(partition)
                self._land(partition, jump, offset)
                landed.append(partition)
        return landed

    async def _landing(self, partition: Partition, jump: Jump) -> int | None:
        """Where it goes on; None while the source does not tell. What landed since the jump began is not copied again."""
        if jump.offset is not None:
            return jump.offset
        if not jump.forgets_position:
            return partition.acked
        return (await self._roster.earliest([partition.tp])).get(partition.tp)

    def block(self, partition: Partition, code: str, message: str) -> None:
        self.stop(partition)
        partition.retry_at = None
        self._roster.block(partition, code, message)

    def rest(self, partition: Partition, code: str, message: str, *, soon: bool = False) -> None:
        """Blocked for now: tried again by itself, where it stopped (`rests`)."""
        self.block(partition, code, message)
        rests.begin(partition, self._inc.clock.monotonic(), soon=soon)

    def stop(self, partition: Partition) -> None:
        """Fetch it no longer."""
        if partition.fetching:
            partition.fetching = partition.resting = False
            self._fetcher.drop(partition.tp)

    def look_again(self, partition: Partition) -> None:
        """Nothing of the partition is on its way, and it looks again at all that is not on the target. A gap that it was to jump over is
        found again, as it is then: between here and there may be records, or more that is lost."""
        partition.rewind()
        self.stop(partition)
        if partition.jump is not None and partition.jump.offset is not None:
            self._jumping.discard(partition)
            partition.jump = None

    async def _out_of_range(self, partition: Partition, fetched: FetchedPartition) -> None:
        position, rewinds = partition.read, partition.rewinds
        if await self._made_again(partition):
            return
        start, end = await self._bounds(partition)
        if partition.rewinds != rewinds:
            return  # the target refused what was on its way meanwhile: it looks again from there
        if 0 <= fetched.diverged_at < position:
            target = fetched.diverged_at
            why = f"an unclean election cut the log of {partition.tp} at {target}; the target keeps what was copied"
        elif position < start:
            target, why = start, f"retention removed {partition.tp} [{position}, {start}) before it was copied"
        elif position > end >= 0:
            target, why = end, f"the log of {partition.tp} ends at {end}, below our position {position}"
        else:
            self._fetch_again(partition)
            return
        if self._stops_at_gap(partition, why):
            return
        self._tell(partition, GAP, f"{why}; continued at {target}")
        self._jump(partition, Jump(target))

    async def _made_again(self, partition: Partition) -> bool:
        """Whether it is a partition of another topic now, by the topic's id: known before the next look, and then seen to."""
        topic = (await self._inc.source.metadata([partition.tp.topic])).topics[partition.tp.topic]
        before, link = partition.link.source_topic_id, partition.link._replace(source_topic_id=topic.topic_id)
        if None in (before, topic.topic_id) or before == topic.topic_id or partition.is_former(link):
            return False
        self.remade(partition, link)
        return True

    def _fetch_again(self, partition: Partition) -> None:
        if partition.fetching:
            self._fetcher.seek(partition.tp, partition.read, partition.leader_epoch)

    async def _bounds(self, partition: Partition) -> tuple[int, int]:
        starts = await list_offsets(self._inc.source, {partition.tp: EARLIEST}, READ_COMMITTED, patient=False)
        ends = await list_offsets(self._inc.source, {partition.tp: LATEST}, READ_COMMITTED, patient=False)
        return starts[partition.tp].offset, ends[partition.tp].offset

    def _jump(self, partition: Partition, jump: Jump) -> None:
        self.stop(partition)
        partition.jump = jump
        self._jumping.add(partition)
        self._inc.crew.spawn(self._report(jump), f"report a gap of {partition.tp}")

    async def _report(self, jump: Jump) -> None:
        await self._inc.context.ledger.report()
        jump.reported = True

    def _land(self, partition: Partition, jump: Jump, offset: int) -> None:
        partition.jump = None
        partition.gaps_passed = partition.gaps
        partition.read = partition.acked = offset
        if jump.forgets_position:
            partition.position, partition.start_offset, partition.initial_end = None, offset, offset
            partition.gaps_committed = partition.gaps
        elif partition.position is not None:
            partition.position = min(partition.position, offset)
        partition.leader_epoch = partition.acked_epoch = -1
        partition.selected = True
        elsewhere = False
        if jump.link is not None:
            partition.lane.tp = jump.link.target
            elsewhere = partition.link.target_topic_id != jump.link.target_topic_id
            if elsewhere:
                partition.target_next = -1  # sequences go on: a new partition takes any, and may have taken some already
                if partition.retry_at is not None:  # what the target refused, another topic there may take
                    partition.blocked = partition.retry_at = partition.told = None
                    partition.retries = 0
            partition.relink(jump.link)
        if partition.map is not None:
            if jump.forgets_position or elsewhere:
                partition.map.clear(offset)
            elif offset < partition.map.next_source:
                partition.map.cut(offset)
            else:
                partition.map.skip_to(offset)
        self._moved(partition)

    def _stops_at_gap(self, partition: Partition, why: str) -> bool:
        if self._inc.spec.options.on_gap is OnGap.CONTINUE:
            return False
        self._count(partition)
        self.block(partition, GAP, f"{why}; on_gap = stop: restart the task to go on")
        return True

    def _tell(self, partition: Partition, code: str, message: str) -> None:
        if partition.gaps != partition.gaps_passed and partition.gap == message:
            return
        self._count(partition)
        partition.gap = message
        self._inc.context.ledger.event(Level.WARNING, code, message)

    def _count(self, partition: Partition) -> None:
        """Once until the partition is behind it: each look finds it again, and so does a next owner."""
        if partition.gaps == partition.gaps_passed:
            partition.gaps += 1
            self._inc.counters["gaps"] += 1
