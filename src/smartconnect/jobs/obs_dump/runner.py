"""A dump unit at work: the loop that reads like the specification (obs-dump.md §1, §2, §5).

    take over → finish what predecessors promised → fetch → join → cut → seal → (committer: one fenced commit, then objects appear) → drain

The loop itself decides *when*; how a step is done stands in the module that it calls. Everything here runs in the event loop, but for
joining, which runs in a thread while the loop waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Coroutine
from functools import partial

from smartconnect.domain.obs_dump_spec import ObsDumpSpec
from smartconnect.domain.progress import Progress
from smartconnect.engine.unit import StopSignal, UnitContext
from smartconnect.jobs.obs_dump.assembler import Assembler, CutCause, Intake, Verdict
from smartconnect.jobs.obs_dump.beginnings import Beginnings
from smartconnect.jobs.obs_dump.committer import Committer, CommitterEvents
from smartconnect.jobs.obs_dump.deadlines import Deadlines, interval_of
from smartconnect.jobs.obs_dump.earlier_runs import close_earlier_runs
from smartconnect.jobs.obs_dump.environment import WorkerResources
from smartconnect.jobs.obs_dump.gaps import Gaps
from smartconnect.jobs.obs_dump.incarnation import Incarnation
from smartconnect.jobs.obs_dump.janitor import Janitor
from smartconnect.jobs.obs_dump.keeping import Keeper
from smartconnect.jobs.obs_dump.later_runs import refuse_later_run
from smartconnect.jobs.obs_dump.meter import Meter
from smartconnect.jobs.obs_dump.partition import Partition, PendingEntry
from smartconnect.jobs.obs_dump.publisher import Publisher
from smartconnect.jobs.obs_dump.relief import Relief
from smartconnect.jobs.obs_dump.rests import Rests
from smartconnect.jobs.obs_dump.rewinds import Rewinds
from smartconnect.jobs.obs_dump.roster import Changes, Known, Roster
from smartconnect.jobs.obs_dump.sealing import Sealer
from smartconnect.jobs.undisturbed import undisturbed
from smartconnect.jobs.waiting import wait_for_predecessors
from smartconnect.kafka.fetcher import Fetcher, FetchOptions, Frame

_INLINE_BYTES = 32 << 10
_POLL_S = 0.5
_AT_A_TIME = 256
"""Partitions of one answer that are taken in before others get their turn in the event loop."""
_FETCH = FetchOptions(
    min_bytes=256 << 10,
    max_wait_ms=500,
    connections_per_leader=1,
    most_fetches_per_s=50,
    longest_pace_s=2.0,
    small_answer=4 << 20,
)
"""Thousands of slow partitions are asked every two seconds: an interval is at least 30."""


class DumpRunner:
    """One incarnation of a dump unit (`engine.unit.UnitRunner`)."""

    def __init__(self, context: UnitContext, spec: ObsDumpSpec, resources: WorkerResources) -> None:
        self._context, self._spec, self._resources = context, spec, resources
        self._meter = Meter(context, spec, resources.clock)

    def progress(self) -> Progress:
        return self._meter.progress()

    async def run(self, stop: StopSignal) -> None:
        async with Incarnation(self._context, self._spec, self._resources) as inc:
            unit = MovingUnit(inc, self._meter)
            await unit.start()
            try:
                await unit.move(stop)
                await unit.drain()
            finally:
                await undisturbed(unit.close())


class MovingUnit:
    """What one incarnation needs to move data, wired together."""

    def __init__(self, inc: Incarnation, meter: Meter) -> None:
        self._inc, self._meter = inc, meter
        spec, clock = inc.spec, inc.clock
        self._fetcher = Fetcher(inc.cluster, _FETCH, inc.memory)
        self._rests = Rests(inc, self._fetcher, self._pause, self._try_again)
        events = CommitterEvents(self._committed, self._topic_gone, self._rests.denied, self._too_large)
        self._committer = Committer(inc.txn, inc.group, events, inc.steps, clock, spec.options.commit_interval_ms / 1000)
        self._publisher = Publisher(inc, self._committer, self._rests, self._ready_to_fetch)
        self._sealer = Sealer(inc, self._committer, self._upload_failed)
        self._rewinds = Rewinds(clock, self._sealer, self._ready_to_fetch)
        self._deadlines = Deadlines(clock)
        self._relief = Relief(inc, lambda: self._roster.partitions.values(), stream=self._sealer.stream, seal=self._seal)
        self._assembler = Assembler(
            spec, inc.pool, clock, full=self._relief.full, interval_of=lambda partition: interval_of(spec, partition.tp)
        )
        self._changes: deque[Changes] = deque()
        self._changed = asyncio.Event()
        self._draining = False
        self._taken_in: Partition | None = None

    async def start(self) -> None:
        """Steps 1–6 of a start: nothing is fetched before every older owner is fenced and its promises are taken up."""
        inc, ledger = self._inc, self._inc.context.ledger
        await wait_for_predecessors(ledger, "under the same path")
        positions = await inc.take_over()
        await refuse_later_run(inc)
        known = Known(positions, await ledger.starts(), await ledger.reported_positions())
        self._roster = Roster(inc, known, partial(close_earlier_runs, inc, self._committer))
        self._beginnings = Beginnings(inc, self._roster, self._begin_recreated)
        self._gaps = Gaps(inc, self._roster, self._fetcher, self._rests, self._beginnings, self._sealer, self._changes.append)
        await self._meter.begin(self._roster, self._assembler, inc)
        await close_earlier_runs(inc, self._committer)
        changes = await self._roster.look(max_age_s=1.0)
        self._take_up(changes)
        await self._meter.see_ends()
        await self._beginnings.look()
        await self._committer.commit_wanted()
        for partition in self._roster.partitions.values():
            self._publisher.publish(partition)
            self._ready_to_fetch(partition)
        crew = inc.crew
        crew.spawn(self._committer.run(), "committer")
        crew.spawn(self._watch_topics(), "topics")
        crew.spawn(self._beginnings.run(), "beginnings")
        crew.spawn(self._meter.unseen.run(), "ends")
        crew.spawn(Janitor(inc, self._roster, self._committer).run(), "janitor")
        crew.spawn(Keeper(inc, self._roster, self._committer).run(), "keeper")
        self._meter.started()

    async def move(self, stop: StopSignal) -> None:
        """Fetch, join, cut, until told to stop or something fails."""
        crew = self._inc.crew
        while not stop.is_set():
            crew.check()
            frame = await self._next_frame()
            if frame is not None:
                self._meter.stir()
                await self._take_in(frame)
            elif self._inc.pool.out_bytes == 0:
                self._inc.resources.blocks.trim()
                self._assembler.rest()
            self._follow_topics()
            self._rests.look()
            self._cut_what_is_due()
            self._relief.early()
            self._rewinds.look(at_once=False)
            self._meter.tick()

    async def drain(self) -> None:
        """Cut everything, commit it, make it visible, drop the entries; what is not done in time is left as it is (§4 covers it)."""
        self._draining = True
        for partition in self._roster.partitions.values():
            self._pause(partition)
        with contextlib.suppress(TimeoutError):
            await self._inc.crew.wait_for(self._drained(), timeout=self._inc.spec.options.drain_timeout_s)

    async def close(self) -> None:
        await self._fetcher.close()

    # -- what was fetched --------------------------------------------------------------------------------------------------

    async def _next_frame(self) -> Frame | None:
        """None after a while, or while all that the store takes at a time is on its way to it: more would only wait in memory."""
        patience_s = min(_POLL_S, self._deadlines.next_in())
        if not self._relief.crowded():
            return await self._fetcher.next(patience_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._inc.uploads.leaving.fewer()
        return None

    async def _take_in(self, frame: Frame) -> None:
        now_ms = self._inc.clock.now_ms()
        try:
            for number, fetched in enumerate(frame.partitions):
                if number % _AT_A_TIME == _AT_A_TIME - 1:
                    await asyncio.sleep(0)
                partition = self._roster.partitions.get(fetched.tp)
                if partition is None or not partition.fetching or not self._fetcher.counts(fetched):
                    continue
                if fetched.fetch_offset != partition.read:  # nobody else would bring the two together again
                    self._fetcher.seek(partition.tp, partition.read, partition.leader_epoch)
                    continue
                partition.ends.saw(fetched.high_watermark, partition.position, now_ms)
                partition.held_back = max(0, fetched.high_watermark - fetched.last_stable_offset)
                if fetched.error is not None:
                    await self._gaps.handle(partition, fetched)
                    self._note_move(partition)
                elif len(fetched.records):
                    self._taken_in = partition
                    await self._append(Intake(partition, fetched))
                    self._taken_in = None
                    self._ready_to_fetch(partition)
        finally:
            frame.release()

    async def _append(self, intake: Intake) -> None:
        partition = intake.partition
        had_open = partition.open
        while True:
            verdict = await self._join(intake)
            match verdict:
                case Verdict.CUT:
                    assert intake.cut is not None
                    self._seal(partition, intake.cut)
                    intake.cut = None
                    if not partition.may_seal:  # its uploads wait to appear (§3): the rest is fetched again when one has
                        break
                case Verdict.FULL:
                    await self._make_room()
                case Verdict.DAMAGED:
                    self._gaps.damaged(partition, intake.damage)
                    break
                case Verdict.DONE:
                    partition.crc_failures = 0
                    break
        if partition.open is not None and partition.open is not had_open:
            self._deadlines.add(partition.open.deadline, partition)
        self._note_move(partition)
        self._sealer.stream(partition, self._inc.spec.part_size)

    async def _join(self, intake: Intake) -> Verdict:
        if len(intake.fetched.records) <= _INLINE_BYTES:
            return self._assembler.append(intake)
        loop = asyncio.get_running_loop()
        joining = loop.run_in_executor(self._inc.resources.joiners, self._assembler.append, intake)
        try:
            return await asyncio.shield(joining)
        except asyncio.CancelledError:
            await asyncio.wait({joining})  # the thread still reads the frame and writes the blocks: neither may be given away yet
            raise

    def _note_move(self, partition: Partition) -> None:
        """A stretch without records for us moved the reading point: commit that after one interval at the latest."""
        nothing_open = partition.open is None and not partition.sealed
        if nothing_open and partition.moved_since is None and partition.read != partition.position:
            partition.moved_since = self._inc.clock.monotonic()
            self._deadlines.add(partition.moved_since + interval_of(self._inc.spec, partition.tp), partition)

    # -- cuts --------------------------------------------------------------------------------------------------------------

    def _cut_what_is_due(self) -> None:
        for partition in self._deadlines.due():
            self._cut_if_due(partition)

    def _cut_if_due(self, partition: Partition) -> None:
        now = self._inc.clock.monotonic()
        if partition.open is not None and partition.open.deadline <= now:
            if partition.may_seal:
                self._seal(partition, CutCause.INTERVAL)
            else:
                self._pause(partition)
        elif partition.open is None and partition.moved_since is not None:
            self._committer.want(partition)

    def _seal(self, partition: Partition, cause: CutCause) -> None:
        self._sealer.seal(partition, cause)
        if not partition.may_seal:
            self._pause(partition)

    # -- memory ------------------------------------------------------------------------------------------------------------

    async def _make_room(self) -> None:
        """Memory is used up in the middle of a frame: let go of what can leave, then wait until something has left."""
        while self._relief.full():
            if not self._relief.one():
                await self._wait_for_change()
            else:
                await asyncio.sleep(0)

    async def _wait_for_change(self) -> None:
        """Until an upload, a commit or a Complete has ended; raises what has failed meanwhile."""
        self._inc.crew.check()
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            await self._inc.crew.wait_for(self._any_change(), timeout=_POLL_S)

    async def _any_change(self) -> None:
        signs: list[Coroutine[object, object, object]] = [self._changed.wait()]
        if self._inc.memory.pressure() >= 1:  # else there is room already, and who waits for something else would spin
            signs.append(self._inc.memory.room())
        waits = [asyncio.ensure_future(sign) for sign in signs]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # -- partitions come and go --------------------------------------------------------------------------------------------

    def _take_up(self, changes: Changes) -> None:
        for partition in changes.gone:
            self._gaps.topic_gone(partition)
        self._meter.taken_up(changes.added)
        for partition in changes.added:
            if partition.stopped is None:
                self._committer.want(partition)
        for partition in changes.recreated:
            self._gaps.topic_recreated(partition)

    def _begin_recreated(self, partition: Partition, offset: int) -> None:
        self._gaps.begin_recreated(partition, offset)
        self._meter.taken_up([partition])
        self._committer.want(partition)

    async def _watch_topics(self) -> None:
        """Look every refresh interval; what has changed is taken up by the loop, in its own time."""
        interval = self._inc.spec.options.refresh_interval_s
        while True:
            await asyncio.sleep(interval)
            self._changes.append(await self._roster.look(max_age_s=interval / 2))

    def _follow_topics(self) -> None:
        """Topics and partitions that appeared, went or were made again. Nothing is rewound while a transaction names it."""
        while self._changes and not any(p.in_transaction for p in (*self._changes[0].gone, *self._changes[0].recreated)):
            changes = self._changes.popleft()
            if any(changes):
                self._meter.stir()
            self._take_up(changes)
            for partition in (*changes.added, *changes.recreated):
                self._publisher.publish(partition)
                self._ready_to_fetch(partition)

    def _try_again(self, partition: Partition) -> None:
        self._committer.want(partition)
        self._ready_to_fetch(partition)

    def _ready_to_fetch(self, partition: Partition) -> None:
        """Fetch a partition as soon as its position is committed and its predecessor's promises are kept; one that is being taken in
        only behind that: where it will go on is not known before."""
        ready = partition.wants_fetch and partition.position is not None and partition.may_seal and not self._draining
        if ready and not partition.fetching and partition is not self._taken_in:
            partition.fetching = True
            self._fetcher.assign(partition.tp, partition.read, partition.leader_epoch, partition.topic_id)
        self._changed.set()

    def _pause(self, partition: Partition) -> None:
        if partition.fetching:
            partition.fetching = False
            self._fetcher.drop(partition.tp)

    # -- what the committer and the uploads tell ---------------------------------------------------------------------------

    def _committed(self, partition: Partition, named: list[PendingEntry]) -> None:
        if named:
            self._publisher.publish(partition)
        self._rests.committed(partition)
        self._deadlines.add(self._inc.clock.monotonic(), partition)
        if not partition.told and not partition.names_another:
            partition.topic_before = None
            self._inc.crew.spawn(self._tell(partition), f"tell of {partition.tp}")
        self._ready_to_fetch(partition)

    async def _tell(self, partition: Partition) -> None:
        """Whoever comes after us must know that the position is of the new topic, before there is something in it to be read twice."""
        topic_id = partition.topic_id
        await self._inc.context.ledger.report()
        if partition.topic_id == topic_id:
            partition.told = True
            self._ready_to_fetch(partition)

    def _topic_gone(self, partition: Partition) -> None:
        if not partition.gone:
            partition.gone = True  # for the committer, at once; the rest is the loop's
            self._changes.append(Changes([], [], [partition]))

    def _too_large(self, partition: Partition) -> None:
        self._pause(partition)
        self._roster.stop(
            partition,
            f"the name of one upload of {partition.tp} does not fit into the broker's offset.metadata.max.bytes; raise it",
            code="metadata_too_large",
        )

    def _upload_failed(self, partition: Partition, resting_s: float) -> None:
        self._pause(partition)
        self._rewinds.add(partition, resting_s)
        self._changed.set()

    async def _drained(self) -> None:
        """P1–P4 for everything that is open; of what is blocked, what nobody else would do."""
        while True:
            self._rewinds.look(at_once=True)
            busy = [p for p in self._roster.partitions.values() if not p.settled and (p.blocked is None or p.forgotten)]
            if not busy:
                return
            for partition in busy:
                if partition.open is not None and partition.may_seal:
                    self._sealer.seal(partition, CutCause.DRAIN)
                elif partition.open is None and not partition.sealed and partition.position is not None:
                    self._committer.want(partition)
            await self._wait_for_change()
