"""A replication unit at work: the loop that reads like the specification (kafka-replication.md §2).

    take over → look at both sides → fetch → decide → outbox → (committer: data and positions in one transaction) → drain

The loop itself decides *when*; how a step is done stands in the module that it calls. Everything here runs in the event loop, but for
decoding, which runs in a thread while the loop waits for it."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final

from smartconnect.domain.errors import PartitionBlocked
from smartconnect.domain.kafka_replication_spec import ReplicationSpec
from smartconnect.domain.progress import Progress
from smartconnect.engine.unit import StopSignal, UnitContext
from smartconnect.jobs.kafka_replication import rests
from smartconnect.jobs.kafka_replication.committer import Committer, CommitterEvents
from smartconnect.jobs.kafka_replication.environment import WorkerResources
from smartconnect.jobs.kafka_replication.freshness import Freshness
from smartconnect.jobs.kafka_replication.gaps import Gaps
from smartconnect.jobs.kafka_replication.incarnation import Incarnation
from smartconnect.jobs.kafka_replication.intake import Damaged, Intake
from smartconnect.jobs.kafka_replication.left_open import LeftOpen
from smartconnect.jobs.kafka_replication.loops import loops_for
from smartconnect.jobs.kafka_replication.meter import Meter
from smartconnect.jobs.kafka_replication.outbox import Outbox, OutboxEvents, Refusal, refusal_of
from smartconnect.jobs.kafka_replication.partition import FLIGHT_BYTES, Flight, Hold, Lane, Partition
from smartconnect.jobs.kafka_replication.position_codec import StoredPosition
from smartconnect.jobs.kafka_replication.refusals import Refusals
from smartconnect.jobs.kafka_replication.room import Room
from smartconnect.jobs.kafka_replication.roster import Changes, Known, Roster
from smartconnect.jobs.kafka_replication.side_work import SideWork
from smartconnect.jobs.kafka_replication.topic_keeper import TopicKeeper
from smartconnect.jobs.kafka_replication.topic_view import Seen, TopicView, view_options
from smartconnect.jobs.kafka_replication.upkeep import close_older_runs
from smartconnect.jobs.kafka_replication.weak import WeakPartitions
from smartconnect.jobs.undisturbed import undisturbed
from smartconnect.jobs.waiting import wait_for_predecessors
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.fetcher import FetchedPartition, Fetcher, FetchOptions, Frame
from smartconnect.kafka.produce_channel import Outcome

_POLL_S: Final = 0.5
_CALM_POLL_S: Final = 4.0
"""While every partition is fetched and nothing waits: frames, looks, failures and the stop signal still come through at once."""
_ROUND_S: Final = 0.2
_FETCH: Final = FetchOptions(max_bytes=4 << 20, partition_max_bytes=1 << 20, most_fetches_per_s=300)
_MOST_IN_AIR: Final = 4 << 20


class ReplicationRunner:
    """One incarnation of a replication unit (`engine.unit.UnitRunner`)."""

    def __init__(self, context: UnitContext, spec: ReplicationSpec, resources: WorkerResources) -> None:
        self._context, self._spec, self._resources = context, spec, resources
        self._meter = Meter(context, resources.clock)

    def progress(self) -> Progress:
        return self._meter.progress()

    async def run(self, stop: StopSignal) -> None:
        async with Incarnation(self._context, self._spec, self._resources) as inc:
            ledger = self._context.ledger
            await wait_for_predecessors(ledger, "on the same topics")
            positions = await inc.take_over()
            await close_older_runs(inc)
            known = Known(positions, await ledger.starts(), await ledger.reported_positions())
            unit = MovingUnit(inc, known, self._meter)
            await unit.start()
            try:
                await unit.move(stop)
                await unit.drain()
            finally:
                await undisturbed(unit.close())


class MovingUnit:
    """What one incarnation needs to move data, wired together."""

    def __init__(self, inc: Incarnation, known: Known, meter: Meter) -> None:
        self._inc, self._meter = inc, meter
        self._hidden = inc.guard.transactional_id is not None
        self._roster = Roster(inc, known)
        self._fetcher = Fetcher(inc.source, _FETCH, inc.memory)
        self._outbox = Outbox(inc, OutboxEvents(self._acked, self._refused))
        committer_events = CommitterEvents(self._committed, self._not_admitted, self._aborted)
        self._by_lane: dict[Lane, Partition] = {}
        self._left_open = LeftOpen(inc, self._by_lane)
        self._committer = Committer(inc, self._outbox, self._left_open, committer_events)
        options = view_options(inc.spec, inc.direction, inc.context.task.id, inc.is_ours)
        self._view = TopicView(inc.source, inc.target, inc.naming, options, {tp.topic for tp in known.positions})
        self._keeper = TopicKeeper(inc, self._view, options.mark, self._roster.reasons)
        self._room = Room(inc.target, self._view)
        self._freshness = Freshness(inc.context.task.id, inc.clock)
        self._intake = Intake(inc, self._outbox, loops_for(inc), self._room, self._freshness)
        self._side_work = SideWork(inc, lambda: self._roster.partitions, known.positions, inc.resources.maps)
        self._gaps = Gaps(inc, self._roster, self._fetcher, self._committer.moved)
        self._refusals = Refusals(inc, self._gaps, self._view, self._room)
        self._weak = WeakPartitions(self._outbox, self._gaps)
        self._seen = Seen()
        self._look: Seen | None = None
        self._next_round = 0.0
        self._calm = False

    async def start(self) -> None:
        """Nothing is fetched before every older owner is fenced and the positions are read."""
        await self._meter.begin(self._roster, self._intake, self._inc, self._held_back)
        await self._follow(await self._keeper.first_look())
        crew = self._inc.crew
        crew.spawn(self._committer.run(), "committer")
        crew.spawn(self._keeper.run(self._looked), "topics")
        crew.spawn(self._side_work.run(), "side work")
        self._meter.started()

    async def move(self, stop: StopSignal) -> None:
        """Fetch, decide, hand over, until told to stop or something fails."""
        crew = self._inc.crew
        crew.spawn(self._interrupt_after(stop.wait()), "stop")
        crew.spawn(self._interrupt_after(crew.failed.wait()), "failure")
        while not stop.is_set():
            crew.check()
            frame = await self._fetcher.next(_CALM_POLL_S if self._calm and self._meter.rests else _POLL_S)
            if frame is not None:
                await self._take_in(frame)
            if self._look is not None:
                seen, self._look = self._look, None
                await self._follow(seen)
            await self._go_on()
            self._meter.tick()
            self._committer.catching_up = self._meter.catching_up

    async def drain(self) -> None:
        """Commit what is on its way; what is not done in time is aborted by whoever comes next."""
        for partition in self._roster.partitions.values():
            self._gaps.stop(partition)
        self._committer.hurry()
        with contextlib.suppress(TimeoutError):
            await self._inc.crew.wait_for(self._drained(), timeout=self._inc.spec.options.drain_timeout_s)

    async def close(self) -> None:
        await self._fetcher.close()

    async def _drained(self) -> None:
        while not self._committer.settled:
            await self._committer.ended()

    async def _interrupt_after(self, sign: Awaitable[object]) -> None:
        await sign
        self._fetcher.interrupt()

    # -- what was fetched --------------------------------------------------------------------------------------------------

    async def _take_in(self, frame: Frame) -> None:
        self._meter.stir()
        self._calm = False
        hold = Hold(frame.release)
        try:
            for fetched in frame.partitions:
                partition = self._roster.partitions.get(fetched.tp)
                if partition is not None and partition.fetching and fetched.fetch_offset == partition.read:
                    await self._take_part(partition, fetched, hold)
        finally:
            frame.partitions.clear()  # flights refer to what they need of the frame, which lives as long as they do
            frame.add(FLIGHT_BYTES * hold.flights)
            hold.drop()

    async def _take_part(self, partition: Partition, fetched: FetchedPartition, hold: Hold) -> None:
        if fetched.last_stable_offset >= 0:
            partition.ends.saw(fetched.last_stable_offset, partition.reached, self._inc.clock.now_ms())
        if fetched.error is not None:
            await self._gaps.handle(partition, fetched)
            return
        if not len(fetched.records):
            return
        before = partition.acked
        try:
            await self._intake.take(partition, fetched, hold)
            partition.crc_failures = 0
        except Damaged as damage:
            self._gaps.damaged(partition, str(damage))
        except PartitionBlocked as blocked:
            self._refusals.cannot(partition, blocked)
        if partition.acked != before:
            self._committer.moved(partition)
        if partition.nbytes_in_air > _MOST_IN_AIR and partition.fetching:
            partition.resting = True
            self._fetcher.pause(partition.tp)

    def _held_back(self, partition: Partition) -> int:
        """As the fetcher heard it last: what is held back may be all that there is, and then nothing is delivered."""
        if not partition.fetching:
            return 0
        view = self._fetcher.view(partition.tp)
        return max(0, view.high_watermark - view.last_stable_offset)

    # -- partitions come and go --------------------------------------------------------------------------------------------

    def _looked(self, seen: Seen) -> None:
        """The newest look counts: one that has waited while another was followed would hold up what was fetched."""
        self._look = seen
        self._fetcher.interrupt()

    async def _follow(self, seen: Seen) -> None:
        """Topics and partitions that appeared, went or were made again."""
        self._calm = False
        before, self._seen = self._seen, seen
        self._room.saw(seen.limits)
        changes: Changes = await self._roster.take(seen)
        if seen is not before or any(changes):
            self._meter.stir()
        await self._meter.see_ends(changes.added)
        for partition in changes.gone:
            self._gaps.gone(partition)
        for partition, link in changes.remade:
            self._gaps.remade(partition, link)
        for partition in changes.added:
            self._by_lane[partition.lane] = partition
        for partition in self._roster.partitions.values():
            self._weak.look(partition, seen)
            if partition.blocked is not None:
                self._gaps.stop(partition)
            self._fetch(partition)

    async def _go_on(self) -> None:
        """Partitions that have landed after a jump, or whose time to be tried again has come. All of them are looked at five times a
        second: with thousands a look for each frame would cost more than the frame."""
        now = self._inc.clock.monotonic()
        if now < self._next_round:
            return
        self._next_round = now + _ROUND_S
        if self._left_open.is_due:
            self._outbox.nudge()
        for partition in await self._gaps.settle():
            self._fetch(partition)
        calm = True
        for partition in self._roster.partitions.values():
            rests.end(partition, now, self._roster.troubles.get(partition.tp.topic))
            if not partition.fetching and partition.wants_fetch and not partition.flights:
                self._fetch(partition)
            calm = calm and partition.fetching
        self._calm = calm

    def _fetch(self, partition: Partition) -> None:
        if partition.fetching or not partition.wants_fetch or partition.tp not in self._seen.links:
            return
        partition.fetching = True
        self._fetcher.assign(partition.tp, partition.read, partition.leader_epoch, partition.link.source_topic_id)

    # -- what outbox and committer tell ------------------------------------------------------------------------------------

    def _acked(self, acked: Sequence[tuple[Flight, int]]) -> None:
        """Batches of one answer, with their base offsets on the target."""
        self._meter.stir()
        for flight, base_offset in acked:
            partition = flight.partition
            assert partition is not None and partition.flights[0] is flight
            partition.landed_on_target(partition.flights.popleft(), base_offset)
            if partition.resting and partition.nbytes_in_air < _MOST_IN_AIR // 2:
                partition.resting = False
                self._fetcher.resume(partition.tp)
            self._meter.records_out += flight.count
            self._meter.bytes_out += flight.nbytes
            self._committer.moved(partition, flight.count)
            if not self._hidden:
                self._freshness.visible(partition, partition.acked)

    def _committed(self, partition: Partition, stored: StoredPosition) -> None:
        partition.stored = stored
        if stored.source_topic_id == partition.link.source_topic_id:  # it may have jumped meanwhile: to another topic, or back
            partition.position = min(stored.next_source, partition.acked)
            partition.gaps_committed = stored.gaps
        self._freshness.visible(partition, stored.next_source)
        partition.landed_committed = partition.landed_before
        partition.ends.durable(partition.reached)

    def _aborted(self, stuck: Mapping[Lane, Outcome | None]) -> None:
        """All partitions go on from what is committed, but for those that kept the transaction from its end."""
        held = {lane: list(self._by_lane[lane].flights) for lane in stuck}
        for partition in self._roster.partitions.values():
            if partition.roll_back():
                self._gaps.look_again(partition)
        for lane, flights in held.items():
            self._refused(lane, refusal_of(flights, stuck[lane]))
        self._next_round = 0.0
        self._fetcher.interrupt()

    def _refused(self, lane: Lane, refusal: Refusal) -> None:
        partition = self._by_lane.get(lane)
        if partition is not None:
            self._refusals.take(partition, refusal)

    def _not_admitted(self, lane: Lane, code: KafkaCode) -> None:
        partition = self._by_lane.get(lane)
        if partition is not None and self._outbox.withdraw(lane):
            self._refusals.not_admitted(partition, code)
