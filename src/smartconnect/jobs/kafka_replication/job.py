"""Kafka replication as the service sees it (`engine.job.Job`): validation and checks for control; planning, running, cleaning up for the
engine. Each method only says which module does it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final

from fastcrc import crc32

from smartconnect.domain.clock import Clock
from smartconnect.domain.kafka_replication_spec import Direction, ReplicationSpec
from smartconnect.domain.planning import PlanLayout, Planned, Start, UnitName, unit_index
from smartconnect.domain.positions import PositionChange, PositionMoved, PositionRow
from smartconnect.domain.problems import Problem
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Kind, Task, TaskConfig
from smartconnect.domain.verification import Finding, NotVerifiable, VerifyRequest, VerifyResult, VerifySubject
from smartconnect.engine.job import ParsedRequest, Resolved
from smartconnect.engine.unit import UnitContext, UnitRunner
from smartconnect.jobs.clusters import open_cluster
from smartconnect.jobs.kafka_replication import checks, conflicts, peers, planning, presentation, request, resolving, upkeep
from smartconnect.jobs.kafka_replication.environment import Directory, WorkerResources, make_worker_resources
from smartconnect.jobs.kafka_replication.naming import Naming
from smartconnect.jobs.kafka_replication.peers import peer_connection, require_instance
from smartconnect.jobs.kafka_replication.position_store import PositionStore
from smartconnect.jobs.kafka_replication.runner import ReplicationRunner
from smartconnect.jobs.kafka_replication.steps import JsonStepLog, NullStepLog
from smartconnect.jobs.kafka_replication.topic_view import TopicView, view_options
from smartconnect.jobs.kafka_replication.verify.sides import Way
from smartconnect.jobs.kafka_replication.verify.verifier import Verifier
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.timing import Timing

_CHECK_TIMING: Final = Timing(connect_s=5.0, request_s=5.0, patience_s=8.0)
_NEVER_S: Final = 10 * 365 * 86_400.0


class KafkaReplicationJob:
    """Built by the composition root with the settings as they are now (`directory`)."""

    kind = Kind.KAFKA_REPLICATION

    def __init__(self, directory: Directory, clock: Clock, random: Random) -> None:
        self._directory, self._clock, self._random = directory, clock, random
        self._find = directory.find_instance

    # For control

    def parse(self, instance_id: str, body: Mapping[str, object], *, partial: bool = False) -> ParsedRequest:
        allowed = self._directory.allowed_targets()
        return request.parse(body, self._find(instance_id), self._find, allowed_targets=allowed, partial=partial)

    def shown(self, config: TaskConfig) -> tuple[Mapping[str, object], Mapping[str, object]]:
        return presentation.shown(config, self._find)

    def conflicts(self, task: Task, others: Sequence[Task]) -> Sequence[Problem]:
        return conflicts.conflicts(task, others, self._find)

    def meaningless_positions(self, old: TaskConfig, new: TaskConfig) -> Sequence[Problem]:
        return conflicts.meaningless_positions(old, new, self._find)

    def missing(self, config: TaskConfig) -> Sequence[Problem]:
        return peers.missing(config, self._find)

    async def check(self, instance_id: str, config: TaskConfig, secrets: Mapping[str, Secret]) -> Sequence[Problem]:
        spec = self._spec(config, secrets)
        async with self._both(instance_id, spec, "check", checks.CHECK_TIMING) as (current, peer):
            return await checks.check(current, peer, spec)

    async def resolve(
        self, instance_id: str, config: TaskConfig, secrets: Mapping[str, Secret], earlier: TaskConfig | None
    ) -> Resolved:
        spec = self._spec(config, secrets)
        async with self._both(instance_id, spec, "resolve", resolving.RESOLVE_TIMING) as (current, peer):
            return await resolving.resolve(current, peer, config, earlier, spec.options, self._find)

    # For the engine

    def layout(self, config: TaskConfig) -> PlanLayout:
        return planning.layout(request.directions_of(config), request.units_of(config))

    async def plan(self, task: Task, secrets: Mapping[str, Secret], known: Collection[Start], facts: Mapping[str, str]) -> Planned:
        spec = self._spec(task.config, secrets)
        async with self._both(task.instance_id, spec, "plan", _CHECK_TIMING) as (current, peer):
            return await planning.plan(current, peer, spec, known, facts)

    def worker_resources(self) -> WorkerResources:
        path = self._directory.kafka_replication().step_log
        steps = JsonStepLog(Path(path)) if path else NullStepLog()
        return make_worker_resources(self._directory, self._clock, self._random, steps)

    def runner(self, context: UnitContext) -> UnitRunner:
        return ReplicationRunner(context, self._spec_of(context), _resources(context))

    def drain_timeout_s(self, config: TaskConfig) -> float:
        return request.options_of(config, request.default_options(self._directory.kafka_replication())).drain_timeout_s

    async def keep_alive_interval_s(self, task: Task) -> float:
        return _NEVER_S

    async def keep_alive(self, context: UnitContext) -> None:
        """Positions of a compacted topic do not expire."""

    async def clean_unit(self, context: UnitContext) -> None:
        await upkeep.clean_unit(context, self._spec_of(context), _resources(context))

    async def clean_task(self, task: Task, secrets: Mapping[str, Secret], units: Sequence[UnitName]) -> None:
        """Each direction's unit 0 has removed all that belongs to the task."""

    # For the command line

    async def verify(self, subject: VerifySubject, request: VerifyRequest, result: VerifyResult) -> AsyncGenerator[Finding]:
        if request.since_ms is not None or request.deep:
            raise NotVerifiable(
                "--since and --deep are for dumps; every record of a replication is compared, or the --last of them"
            )
        task, spec = subject.task, self._spec(subject.task.config, subject.secrets)
        result.must_prove = True
        async with self._both(task.instance_id, spec, "verify", _CHECK_TIMING) as (current, peer):
            for direction in spec.directions:
                source, target = _ends(direction, current, peer)
                way = Way(task, spec, direction, source, target)
                async with aclosing(Verifier(way, request, result).run()) as findings:
                    async for finding in findings:
                        yield finding
        if not result.partitions:
            raise NotVerifiable("the task copies no such topic" if request.topic else "the task has no partition yet")

    def directions(self, config: TaskConfig) -> Sequence[str]:
        return [direction.value for direction in request.directions_of(config)]

    async def positions(self, task: Task, secrets: Mapping[str, Secret]) -> Sequence[PositionRow]:
        spec = self._spec(task.config, secrets)
        rows: list[PositionRow] = []
        async with self._both(task.instance_id, spec, "positions", _CHECK_TIMING) as (current, peer):
            ours, theirs = await current.metadata([]), await peer.metadata([])
            for direction in spec.directions:
                source, target = _ends(direction, current, peer)
                naming = Naming(spec, direction, same_cluster=ours.cluster_id == theirs.cluster_id)
                view = TopicView(source, target, naming, view_options(spec, direction, task.id, lambda tp: True))
                store = PositionStore(target, task.id, task.run, direction)
                rows += await upkeep.show(source, store, await view.look(), direction)
        return rows

    def unit_of(self, plan: int, units_each: int, change: PositionChange) -> UnitName:
        assert change.direction is not None
        return UnitName(change.direction, plan, unit_index(crc32.iscsi(change.topic.encode()), change.partition, units_each))

    async def move_position(self, context: UnitContext, change: PositionChange) -> PositionMoved:
        return await upkeep.move(context, self._spec_of(context), _resources(context), change)

    # Small parts

    def _spec(self, config: TaskConfig, secrets: Mapping[str, Secret]) -> ReplicationSpec:
        return request.to_spec(config, secrets, self._find, request.default_options(self._directory.kafka_replication()))

    def _spec_of(self, context: UnitContext) -> ReplicationSpec:
        return self._spec(context.task.config, context.secrets)

    @asynccontextmanager
    async def _both(
        self, instance_id: str, spec: ReplicationSpec, purpose: str, timing: Timing
    ) -> AsyncGenerator[tuple[Cluster, Cluster]]:
        """Clients for the current instance and the peer."""
        current = require_instance(instance_id, self._find)
        peer = peer_connection(spec.peer, self._find, self._directory.kafka_replication().peer_ca_file)
        async with AsyncExitStack() as stack:
            both = [open_cluster(where, client_id=f"smartconnect.{purpose}", timing=timing) for where in (current, peer)]
            for cluster in both:
                await stack.enter_async_context(cluster)
            yield both[0], both[1]


def _ends(direction: Direction, current: Cluster, peer: Cluster) -> tuple[Cluster, Cluster]:
    """(source, target)."""
    return (peer, current) if direction is Direction.PULL else (current, peer)


def _resources(context: UnitContext) -> WorkerResources:
    assert isinstance(context.shared, WorkerResources)
    return context.shared
