"""The OBS dump as the service sees it (`engine.job.Job`): validation and checks for control; planning, running, cleaning up for the engine.
Each method only says which module does it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from random import Random

from fastcrc import crc32

from smartconnect.domain.clock import Clock
from smartconnect.domain.obs_dump_spec import ObsDumpSpec
from smartconnect.domain.planning import PlanLayout, Planned, Start, UnitName, unit_index
from smartconnect.domain.positions import PositionChange, PositionMoved, PositionRow
from smartconnect.domain.problems import Problem
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Kind, Task, TaskConfig
from smartconnect.domain.verification import Finding, NotVerifiable, VerifyRequest, VerifyResult, VerifySubject
from smartconnect.engine.job import ParsedRequest, Resolved
from smartconnect.engine.unit import UnitContext, UnitRunner
from smartconnect.jobs.clusters import open_cluster
from smartconnect.jobs.obs_dump import checks, conflicts, planning, positions, presentation, request, upkeep
from smartconnect.jobs.obs_dump.connections import open_store
from smartconnect.jobs.obs_dump.environment import Directory, WorkerResources, make_worker_resources
from smartconnect.jobs.obs_dump.keeping import LONGEST_S, keep_alive_interval_s
from smartconnect.jobs.obs_dump.runner import DumpRunner
from smartconnect.jobs.obs_dump.steps import JsonStepLog, NullStepLog
from smartconnect.jobs.obs_dump.verify.verifier import Verifier
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.timing import Timing

_CHECK_TIMING = Timing(connect_s=5.0, request_s=5.0, patience_s=8.0)


class ObsDumpJob:
    """Built by the composition root with the settings as they are now (`directory`)."""

    kind = Kind.OBS_DUMP

    def __init__(self, directory: Directory, clock: Clock, random: Random) -> None:
        self._directory, self._clock, self._random = directory, clock, random

    # For control

    def parse(self, instance_id: str, body: Mapping[str, object], *, partial: bool = False) -> ParsedRequest:
        return request.parse(body)

    def shown(self, config: TaskConfig) -> tuple[Mapping[str, object], Mapping[str, object]]:
        return presentation.shown(config)

    def conflicts(self, task: Task, others: Sequence[Task]) -> Sequence[Problem]:
        return conflicts.conflicts(task, others)

    def meaningless_positions(self, old: TaskConfig, new: TaskConfig) -> Sequence[Problem]:
        return conflicts.meaningless_positions(old, new)

    def missing(self, config: TaskConfig) -> Sequence[Problem]:
        return ()

    async def check(self, instance_id: str, config: TaskConfig, secrets: Mapping[str, Secret]) -> Sequence[Problem]:
        spec = self._spec(config, secrets)
        async with (
            self._cluster(instance_id, "check") as cluster,
            open_store(spec, self._directory.obs(), self._clock, self._random) as store,
        ):
            found = [await checks.check_store(store, spec.path)]
            if spec.topics or spec.topics_regex:
                found.append(await checks.check_instance(cluster, spec))
            return [problem for problems in found for problem in problems]

    async def resolve(
        self, instance_id: str, config: TaskConfig, secrets: Mapping[str, Secret], earlier: TaskConfig | None
    ) -> Resolved:
        return Resolved(config)

    # For the engine

    def layout(self, config: TaskConfig) -> PlanLayout:
        return planning.layout(config)

    async def plan(self, task: Task, secrets: Mapping[str, Secret], known: Collection[Start], facts: Mapping[str, str]) -> Planned:
        async with self._cluster(task.instance_id, "plan") as cluster:
            return await planning.plan(cluster, task.config, known, facts)

    def worker_resources(self) -> WorkerResources:
        path = self._directory.obs_dump().step_log
        steps = JsonStepLog(Path(path)) if path else NullStepLog()
        return make_worker_resources(self._directory, self._clock, self._random, steps)

    def runner(self, context: UnitContext) -> UnitRunner:
        return DumpRunner(context, self._spec_of(context), _resources(context))

    def drain_timeout_s(self, config: TaskConfig) -> float:
        return request.options_of(config, request.default_options(self._directory.obs_dump())).drain_timeout_s

    async def keep_alive_interval_s(self, task: Task) -> float:
        async with self._cluster(task.instance_id, "keep") as cluster:
            return min(LONGEST_S, await keep_alive_interval_s(cluster))

    async def keep_alive(self, context: UnitContext) -> None:
        await upkeep.keep_alive(context, self._spec_of(context), _resources(context))

    async def clean_unit(self, context: UnitContext) -> None:
        await upkeep.clean_unit(context, self._spec_of(context), _resources(context))

    async def clean_task(self, task: Task, secrets: Mapping[str, Secret], units: Sequence[UnitName]) -> None:
        async with self._cluster(task.instance_id, "clean") as cluster:
            await upkeep.clean_task(cluster, task, units)

    # For the command line

    async def verify(self, subject: VerifySubject, request: VerifyRequest, result: VerifyResult) -> AsyncGenerator[Finding, None]:
        if request.last is not None:
            raise NotVerifiable("--last is for Kafka replications; use --since for a dump")
        spec = self._spec(subject.task.config, subject.secrets)
        async with (
            self._cluster(subject.task.instance_id, "verify") as cluster,
            open_store(spec, self._directory.obs(), self._clock, self._random) as store,
            aclosing(Verifier(cluster, store, spec, subject, request, result).run()) as findings,
        ):
            async for finding in findings:
                yield finding
        if request.topic is not None and not result.partitions and not result.findings:
            raise NotVerifiable(f"the task has neither a position nor an object of a topic {request.topic}")

    async def positions(self, task: Task, secrets: Mapping[str, Secret]) -> Sequence[PositionRow]:
        async with self._cluster(task.instance_id, "positions") as cluster:
            return await positions.show(cluster, task.id, task.run, self._spec(task.config, secrets))

    def directions(self, config: TaskConfig) -> Sequence[str]:
        return ()

    def unit_of(self, plan: int, units_each: int, change: PositionChange) -> UnitName:
        return UnitName(planning.PREFIX, plan, unit_index(crc32.iscsi(change.topic.encode()), change.partition, units_each))

    async def move_position(self, context: UnitContext, change: PositionChange) -> PositionMoved:
        return await positions.move(context, self._spec_of(context), _resources(context), change)

    # Small parts

    def _spec(self, config: TaskConfig, secrets: Mapping[str, Secret]) -> ObsDumpSpec:
        return request.to_spec(config, secrets, request.default_options(self._directory.obs_dump()))

    def _spec_of(self, context: UnitContext) -> ObsDumpSpec:
        return self._spec(context.task.config, context.secrets)

    def _cluster(self, instance_id: str, purpose: str) -> Cluster:
        instance = self._directory.instance(instance_id)
        return open_cluster(instance, client_id=f"smartconnect.{purpose}", timing=_CHECK_TIMING)


def _resources(context: UnitContext) -> WorkerResources:
    assert isinstance(context.shared, WorkerResources)
    return context.shared
