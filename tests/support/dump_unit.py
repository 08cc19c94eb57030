"""One dump unit in the test's own process and loop: real Kafka and S3, a ledger in memory. For tests of the data path that need no service
around it, and that end an incarnation at an exact moment."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from smartconnect.domain.clock import Clock
from smartconnect.domain.obs_dump_spec import ObsDumpOptions, ObsDumpSpec
from smartconnect.domain.planning import UnitName
from smartconnect.domain.progress import PartitionProgress
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Desired, Kind, Task, TaskConfig
from smartconnect.engine.unit import StopCause, StopSignal, UnitContext
from smartconnect.jobs.obs_dump.environment import Directory, WorkerResources, make_worker_resources
from smartconnect.jobs.obs_dump.runner import DumpRunner
from smartconnect.jobs.obs_dump.steps import NullStepLog, StepLog
from smartconnect.sandbox.s3 import S3Server
from smartconnect.settings import InstanceSettings, ObsDumpSettings, ObsSettings
from tests.support.dump_spec import a_spec
from tests.support.replication_unit import MemoryLedger
from tests.support.waiting import eventually

_INSTANCE = "b54c9dd8-0000-0000-0000-00000000000b"
_NUMBERS = itertools.count(1)


def dump_spec(s3: S3Server, bucket: str, topics: Sequence[str], options: ObsDumpOptions) -> ObsDumpSpec:
    """Of these topics from their beginning, an object for each 100 records and every second."""
    return a_spec(
        topics=tuple(topics),
        access_key=Secret(s3.access_key),
        secret_key=Secret(s3.secret_key),
        bucket=bucket,
        deliver_time_interval_s=1,
        flush_size=100,
        options=options,
    )


@dataclass
class DumpUnit:
    """A task's only unit; each `running` is a new incarnation. `servers`, `endpoint`: of Kafka and of the store, or of proxies.
    `login`: further settings of the instance."""

    servers: str
    endpoint: str
    region: str
    spec: ObsDumpSpec
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    run_number: int = 1
    task_id: str = field(default_factory=lambda: f"dump-{next(_NUMBERS)}-{random.getrandbits(48):012x}")
    epoch: int = 0
    login: Mapping[str, Any] = field(default_factory=dict)
    steps: StepLog = field(default_factory=NullStepLog)

    @property
    def group(self) -> str:
        return f"smartconnect.{self.task_id}.r{self.run_number}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[DumpRunner]:
        """Runs it. Leaving drains and reports; what it raises fails the test."""
        async with self._resources() as resources:
            runner, stop = self._runner(resources), StopSignal()
            life = asyncio.create_task(runner.run(stop))
            try:
                yield runner
            finally:
                stop.set(StopCause.PAUSE)
                await life
            await self.ledger.report()

    @asynccontextmanager
    async def killed(self) -> AsyncIterator[DumpRunner]:
        """Runs it. Leaving ends it as abruptly as one process can end a part of itself: nothing is drained, nothing reported."""
        async with self._resources() as resources:
            runner = self._runner(resources)
            life = asyncio.create_task(runner.run(StopSignal()))
            try:
                yield runner
            finally:
                life.cancel()
                await asyncio.gather(life, return_exceptions=True)

    @asynccontextmanager
    async def killed_while_it_ends(self, turns: int) -> AsyncIterator[tuple[DumpRunner, WorkerResources]]:
        """As `killed`, and once more so many turns of the loop later. What it uses of its worker may be looked at afterwards."""
        async with self._resources() as resources:
            runner = self._runner(resources)
            life = asyncio.create_task(runner.run(StopSignal()))
            try:
                yield runner, resources
            finally:
                life.cancel()
                for _ in range(turns):
                    await asyncio.sleep(0)
                life.cancel()
                await asyncio.gather(life, return_exceptions=True)

    def _runner(self, resources: WorkerResources) -> DumpRunner:
        self.epoch += 1
        task = Task(self.task_id, "p", _INSTANCE, "dump", Kind.OBS_DUMP, TaskConfig(), Desired.RUNNING, self.run_number, 1, 0)
        context = UnitContext(task, UnitName("dump", 1, 0), 1, self.epoch, f"i{self.epoch}", {}, self.ledger, resources)
        runner = DumpRunner(context, self.spec, resources)
        self.ledger.shown = runner.progress
        return runner

    @asynccontextmanager
    async def _resources(self) -> AsyncIterator[WorkerResources]:
        instance = InstanceSettings(id=_INSTANCE, project_id="p", bootstrap_servers=self.servers, **self.login)
        obs = ObsSettings(endpoint=self.endpoint, region=self.region, addressing="path")
        directory = Directory(lambda _: instance, lambda: obs, ObsDumpSettings)
        resources = make_worker_resources(directory, Clock(), random.Random(1), self.steps)
        try:
            yield resources
        finally:
            await resources.topics.close()
            resources.joiners.shutdown()


def row_of(runner: DumpRunner, topic: str, partition: int = 0) -> PartitionProgress:
    """The partition's row of progress."""
    found = [row for row in runner.progress().partitions if (row.topic, row.partition) == (topic, partition)]
    assert len(found) == 1, f"{len(found)} rows of {topic}-{partition}"
    return found[0]


async def blocked(runner: DumpRunner, topic: str, code: str, partition: int = 0) -> str:
    """Until the partition stands still for this reason; what it tells."""

    def is_blocked() -> str | None:
        reason = row_of(runner, topic, partition).reason
        return reason.message if reason is not None and reason.code == code else None

    found: str = await eventually(is_blocked, 60, what=f"{topic}-{partition} is blocked: {code}")
    return found


async def caught_up(runner: DumpRunner, records: int) -> None:
    """Until the positions of all partitions, together, are `records`, and nothing waits behind them."""

    def is_caught_up() -> bool:
        progress = runner.progress()
        return progress.lag_records == 0 and sum(row.position or 0 for row in progress.partitions) == records

    await eventually(is_caught_up, 60, what=f"the positions are {records} together")
