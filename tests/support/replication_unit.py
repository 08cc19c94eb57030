"""One replication unit in the test's own process and loop: real clusters on both sides, a ledger in memory. For tests of the data path that
need no service around it."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from smartconnect.domain.clock import Clock
from smartconnect.domain.errors import Fenced, Retryable, SmartConnectError
from smartconnect.domain.kafka_replication_spec import Direction, Peer, ReplicationOptions, ReplicationSpec
from smartconnect.domain.planning import UnitName, transactional_id
from smartconnect.domain.policies import ConsumerStrategy
from smartconnect.domain.progress import Level, Progress
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Desired, Kind, Task, TaskConfig
from smartconnect.engine.unit import OlderPlan, ReportedPosition, StopCause, StopSignal, UnitContext
from smartconnect.jobs.kafka_replication.environment import Directory, WorkerResources, make_worker_resources
from smartconnect.jobs.kafka_replication.peers import peer_connection
from smartconnect.jobs.kafka_replication.runner import ReplicationRunner
from smartconnect.jobs.kafka_replication.steps import NullStepLog, StepLog
from smartconnect.registry.partitions import PackedPartitions, pack_partitions
from smartconnect.settings import InstanceSettings, KafkaReplicationSettings
from tests.support.transactions import markers_written
from tests.support.waiting import eventually

INSTANCE = "b54c9dd8-0000-0000-0000-00000000000a"
_NUMBERS = itertools.count(1)


def _answering() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass
class MemoryLedger:
    """What the registry would know of one unit. `shown` is what the unit shows now; `answers`: whether reports are stored; who waits for
    one is counted in `asked`."""

    starts_of: Mapping[tuple[str, int], int] = field(default_factory=dict)
    reported: Mapping[tuple[str, int], ReportedPosition] = field(default_factory=dict)
    plans: Sequence[OlderPlan] = ()
    runs: Sequence[int] = ()
    ours: bool = True
    leaving: Sequence[str] = ()
    later_run: int = 0
    counted: Mapping[str, int] = field(default_factory=dict)
    shown: Callable[[], Progress] | None = None
    answers: asyncio.Event = field(default_factory=_answering)
    asked: int = 0
    events: list[tuple[Level, str, str]] = field(default_factory=list)

    async def still_ours(self) -> bool:
        return self.ours

    async def older_plans(self) -> Sequence[OlderPlan]:
        return self.plans

    async def record_fenced(self, plans: Sequence[int]) -> None:
        self.plans = [plan for plan in self.plans if plan.plan not in plans]

    async def starts(self) -> Mapping[tuple[str, int], int]:
        return self.starts_of

    async def reported_positions(self) -> Mapping[tuple[str, int], ReportedPosition]:
        return self.reported

    async def facts(self, name: str) -> Sequence[str]:
        return ()

    async def counters(self) -> Mapping[str, int]:
        return self.counted

    async def open_runs(self) -> Sequence[int]:
        return self.runs

    async def close_runs(self, runs: Sequence[int]) -> None:
        self.runs = ()

    async def note_later_run(self, run: int) -> None:
        self.later_run = max(self.later_run, run)

    async def predecessors(self) -> Sequence[str]:
        return self.leaving

    async def report(self) -> None:
        self.asked += 1
        await self.answers.wait()
        assert self.shown is not None
        progress = self.shown()
        self.counted = progress.counters
        self.reported = dict(PackedPartitions(pack_partitions(progress.partitions)).positions())

    def event(self, level: Level, code: str, message: str) -> None:
        self.events.append((level, code, message))

    @property
    def codes(self) -> list[str]:
        return [code for _, code, _ in self.events]


def spec_of(peer_servers: str, topics: Sequence[str], options: ReplicationOptions | None = None) -> ReplicationSpec:
    """A pull of these topics from their beginning."""
    peer = Peer(None, peer_servers, "PLAINTEXT", "PLAIN", "", Secret(""))
    fast = options or ReplicationOptions(refresh_interval_s=0.5)
    return ReplicationSpec(
        tuple(topics), None, (Direction.PULL,), peer, "here", "there", 1, ConsumerStrategy.EARLIEST, options=fast
    )


@dataclass
class UnitUnderTest:
    """One task with one unit; `run` may be entered again and again: each time is a new incarnation."""

    current_servers: str
    spec: ReplicationSpec
    direction: Direction = Direction.PULL
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    steps: StepLog = field(default_factory=NullStepLog)
    settings: KafkaReplicationSettings = field(default_factory=KafkaReplicationSettings)
    run_number: int = 1
    task_id: str = field(default_factory=lambda: f"task-{next(_NUMBERS)}-{random.getrandbits(48):012x}")
    epoch: int = 0

    @property
    def task(self) -> Task:
        return Task(
            self.task_id, "p", INSTANCE, "copy", Kind.KAFKA_REPLICATION, TaskConfig(), Desired.RUNNING, self.run_number, 1, 0
        )

    def resources(self) -> WorkerResources:
        """A worker's, for an incarnation of which a test wants to know what it uses."""
        current = self._current
        directory = Directory(lambda wanted: current if wanted == INSTANCE else None, lambda: self.settings)
        return make_worker_resources(directory, Clock(), random.Random(1), self.steps)

    def runner(self, resources: WorkerResources | None = None) -> ReplicationRunner:
        """A new incarnation, not started."""
        shared = resources or self.resources()
        self.epoch += 1
        context = UnitContext(self.task, self._unit, 1, self.epoch, f"i{self.epoch}", {}, self.ledger, shared)
        runner = ReplicationRunner(context, self.spec, shared)
        self.ledger.shown = runner.progress
        return runner

    @asynccontextmanager
    async def running(self, resources: WorkerResources | None = None) -> AsyncIterator[ReplicationRunner]:
        """Runs it; leaving drains, and waits until readers see what was committed. What it raises fails the test at once."""
        runner, stop = self.runner(resources), StopSignal()
        life = asyncio.create_task(runner.run(stop))
        body = asyncio.current_task()
        assert body is not None
        life.add_done_callback(lambda done: body.cancel() if not stop.is_set() else None)
        try:
            yield runner
        except asyncio.CancelledError:
            if life.done() and not life.cancelled() and (error := life.exception()) is not None:
                raise error from None
            raise
        finally:
            stop.set(StopCause.PAUSE)
            if not life.done():
                await life
        await self.commit_is_seen()

    @asynccontextmanager
    async def supervised(self) -> AsyncIterator[Supervised]:
        """Runs it as the engine does: again after each Retryable or Fenced. Leaving drains."""
        seen = Supervised(self)
        life = asyncio.create_task(seen.live())
        try:
            yield seen
        finally:
            seen.stop.set(StopCause.PAUSE)
            await life
        await self.commit_is_seen()

    async def kill(self, life: asyncio.Task[None]) -> None:
        """End an incarnation as abruptly as one process can end a part of itself: nothing is drained."""
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)

    async def commit_is_seen(self) -> None:
        """Brokers say yes to EndTxn before its markers are in the logs."""
        to_peer = self.direction is Direction.PUSH
        target = peer_connection(self.spec.peer, lambda _: None, self.settings.peer_ca_file) if to_peer else self._current
        await markers_written(target, transactional_id(self.task_id, self._unit))

    @property
    def _unit(self) -> UnitName:
        return UnitName(self.direction.value, 1, 0)

    @property
    def _current(self) -> InstanceSettings:
        return InstanceSettings(id=INSTANCE, project_id="p", bootstrap_servers=self.current_servers)


class Supervised:
    """A unit that begins again whenever it fails; `errors`: why it did."""

    def __init__(self, unit: UnitUnderTest) -> None:
        self._unit = unit
        self.stop = StopSignal()
        self.errors: list[SmartConnectError] = []
        self.runner = unit.runner()

    async def live(self) -> None:
        while not self.stop.is_set():
            try:
                await self.runner.run(self.stop)
            except (Retryable, Fenced) as error:
                self.errors.append(error)
                self.runner = self._unit.runner()

    def progress(self) -> Progress:
        return self.runner.progress()


async def caught_up(runner: ReplicationRunner | Supervised, within_s: float = 60) -> None:
    """Until everything that a reader of the source sees is committed on the target."""

    async def done() -> bool:
        progress = runner.progress()
        return bool(progress.partitions) and progress.lag_records == 0

    await eventually(done, within_s, what="the unit has caught up")
