"""From a fetch answer to batches in the outbox: walk, check, decide, stamp in place or write anew (kafka-replication.md §3, §4).

Bodies of passed batches are never copied: they are sent from the frame that they were fetched into, which is held until the last of
them has its outcome. What must be decoded is decoded in a thread when it is large. Called by the runner, for one frame at a time."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Final

from smartconnect.jobs.kafka_replication.freshness import Freshness
from smartconnect.jobs.kafka_replication.incarnation import Incarnation
from smartconnect.jobs.kafka_replication.loops import Loops
from smartconnect.jobs.kafka_replication.outbox import Outbox
from smartconnect.jobs.kafka_replication.partition import Flight, Hold, Partition
from smartconnect.jobs.kafka_replication.recoding import Recoding
from smartconnect.jobs.kafka_replication.room import Room
from smartconnect.jobs.kafka_replication.rules import COALESCE_BELOW, Fate, Group, Rules, Situation, decide
from smartconnect.kafka.fetcher import FetchedPartition
from smartconnect.kernels import Batch, Codec, Kind, MalformedBatch, RecodedBatch, check, stamp, walk

_COALESCE_BYTES: Final = 64 << 10


class Damaged(Exception):
    """A batch with a wrong checksum or format; str() says where and how."""


class Intake:
    """One incarnation's."""

    def __init__(self, inc: Incarnation, outbox: Outbox, loops: Loops, room: Room, freshness: Freshness) -> None:
        self._inc, self._outbox, self._loops, self._room, self._freshness = inc, outbox, loops, room, freshness
        spec = inc.spec
        self._rules = Rules(
            codec=None if spec.compression is None else Codec[spec.compression.upper()],
            provenance=spec.provenance_header,
            append_time=spec.options.timestamps == "seen",
        )
        self._recoding = Recoding(inc, self._rules)
        self.hits: Counter[str] = Counter()
        self.records = 0
        self.nbytes = 0

    async def take(self, partition: Partition, fetched: FetchedPartition, hold: Hold) -> None:
        """Everything of one partition in a fetch answer. Damaged where its bytes are not what they should be: what lies before the
        damage is on its way then, and `partition.read` stands at it."""
        records = fetched.records
        try:
            rows = walk(records, partition.read, fetched.aborted)
        except MalformedBatch as error:
            raise Damaged(f"{error} at {partition.tp} from offset {partition.read}") from None
        wrong = check(records, rows)
        damage = f"the checksum of the batch at offset {rows[wrong].base_offset} of {partition.tp} is wrong" if wrong >= 0 else None
        if wrong >= 0:
            rows = rows[:wrong]
        rewinds = partition.rewinds
        looped = await self._loops.judge(partition, rows)
        await self._room.make(partition.link.target.topic, max((row.end - row.start for row in rows), default=0))
        for group in decide(rows, self._rules, self._situation(partition, rows), looped, self.hits):
            if partition.rewinds != rewinds:
                return  # the target refused an earlier batch meanwhile: all behind it is fetched again
            await self._do(partition, group, records, hold)
        if damage is not None:
            raise Damaged(damage)

    def _situation(self, partition: Partition, rows: list[Batch]) -> Situation:
        nbytes = rows[-1].end - rows[0].start if rows else 0
        return Situation(
            position=partition.read,
            limit=self._room.of(partition.link.target.topic).max_message_bytes,
            rewrite=partition.rewrite,
            rewrite_all=bool(partition.left_out) or partition.clamps,
            coalesce=nbytes >= _COALESCE_BYTES and nbytes < COALESCE_BELOW * len(rows),
        )

    async def _do(self, partition: Partition, group: Group, records: memoryview, hold: Hold) -> None:
        if group.fate is Fate.SKIP:
            self._inc.counters["records_skipped"] += sum(row.count for row in group.rows if row.kind is Kind.DATA)
            partition.leader_epoch = group.rows[-1].leader_epoch
            partition.skip_to(group.next_offset)
        elif group.fate is Fate.FORWARD:
            self._forward(partition, group.rows, records, hold)
        else:
            await self._recode(partition, group, records)

    def _forward(self, partition: Partition, rows: list[Batch], records: memoryview, hold: Hold) -> None:
        """As bytes: every header is patched in one call, then the batches take their places in the lane."""
        lane = partition.lane
        sequences = lane.take_sequences([row.count for row in rows])
        stamp(records, [(row.start, row.end, base) for row, base in zip(rows, sequences, strict=True)], self._inc.guard.stamp)
        hold.keep(len(rows))
        flights = [
            Flight(
                records[row.start : row.end],
                lane,
                base,
                row.count,
                row.end - row.start,
                hold,
                partition,
                row.base_offset,
                row.last_offset + 1,
                leader_epoch=row.leader_epoch,
            )
            for row, base in zip(rows, sequences, strict=True)
        ]
        self._launch(partition, flights, rows[0].max_timestamp)
        self._inc.counters["batches_passed"] += len(rows)

    async def _recode(self, partition: Partition, group: Group, records: memoryview) -> None:
        """Records anew, in batches of their own; a group that unfolds to much more than its bytes in several steps, as memory allows."""
        rewinds = partition.rewinds
        self._inc.counters["batches_rewritten"] += len(group.rows)
        while True:
            recoded = await self._recoding.recode(partition, group, records, self._room.of(partition.link.target.topic))
            if partition.rewinds != rewinds:
                return
            flights = [self._anew(partition, batch, group) for batch in recoded.batches]
            self._launch(partition, flights, group.rows[0].max_timestamp)
            partition.skip_to(recoded.next_offset)
            self._inc.counters["records_skipped"] += recoded.looped + recoded.far + recoded.skipped
            if recoded.next_offset >= group.next_offset:
                return
            await self._inc.crew.wait_for(self._inc.memory.room())

    def _anew(self, partition: Partition, batch: RecodedBatch, group: Group) -> Flight:
        """A flight of a rewritten batch, stamped; its bytes are the unit's until it has ended."""
        nbytes, memory, lane = len(batch.data), self._inc.memory, partition.lane
        memory.charge(nbytes)
        (sequence,) = lane.take_sequences([batch.count])
        stamp(memoryview(batch.data), [(0, nbytes, sequence)], self._inc.guard.stamp)
        first, count, _ = batch.stretches[-1]
        return Flight(
            batch.data,
            lane,
            sequence,
            batch.count,
            nbytes,
            Hold(partial(memory.credit, nbytes)),
            partition,
            batch.stretches[0][0],
            first + count,
            batch.stretches,
            rewritten=True,
            leader_epoch=group.rows[-1].leader_epoch,
        )

    def _launch(self, partition: Partition, flights: list[Flight], timestamp_ms: int) -> None:
        """`timestamp_ms`: of the first of them."""
        if not flights:
            return
        self._freshness.received(partition, flights[0].next, timestamp_ms)
        nbytes = sum([flight.nbytes for flight in flights])
        partition.flights.extend(flights)
        partition.nbytes_in_air += nbytes
        partition.read, partition.leader_epoch = flights[-1].next, flights[-1].leader_epoch
        self.records += sum([flight.count for flight in flights])
        self.nbytes += nbytes
        self._outbox.put(partition.lane, flights)
