"""One life of a replication unit in one process, from taking over to letting go: what it holds, and the steps of its start in their
order (kafka-replication.md §2; why: obs-dump.md §1).

Moving data (`runner.py`), moving a position by hand and cleaning up after delete (`upkeep.py`) all begin with it: whoever has gone
through `take_over` has fenced every older owner and knows what the target holds."""

from __future__ import annotations

from collections import Counter
from types import TracebackType
from typing import Self

from fastcrc import crc32

from smartconnect.domain.errors import Fatal, Fenced
from smartconnect.domain.kafka_replication_spec import Direction, ReplicationSpec
from smartconnect.domain.planning import transactional_id, unit_index
from smartconnect.engine.unit import UnitContext
from smartconnect.jobs.clusters import open_cluster
from smartconnect.jobs.crew import Crew
from smartconnect.jobs.kafka_replication.environment import WorkerResources
from smartconnect.jobs.kafka_replication.guard import Guard, guard_for
from smartconnect.jobs.kafka_replication.left_open_positions import LeftOpenPositions
from smartconnect.jobs.kafka_replication.naming import Naming
from smartconnect.jobs.kafka_replication.origins import Origin
from smartconnect.jobs.kafka_replication.partition import Lane
from smartconnect.jobs.kafka_replication.peers import peer_connection, require_instance
from smartconnect.jobs.kafka_replication.position_store import Positions, PositionStore
from smartconnect.jobs.kafka_replication.producer_ids import OriginWriter
from smartconnect.jobs.kafka_replication.steps import IncarnationSteps
from smartconnect.jobs.undisturbed import undisturbed
from smartconnect.kafka.types import TopicPartition


class Incarnation:
    """Async context manager; on leaving it lets go of everything without touching anything outside."""

    def __init__(self, context: UnitContext, spec: ReplicationSpec, resources: WorkerResources) -> None:
        self.context, self.spec, self.resources = context, spec, resources
        self.clock = resources.clock
        task, unit = context.task, context.unit
        self.direction = Direction(unit.prefix)
        self.steps = IncarnationSteps(resources.steps, task.id, str(unit), context.incarnation)
        directory = resources.directory
        current = require_instance(task.instance_id, directory.find_instance)
        peer = peer_connection(spec.peer, directory.find_instance, directory.kafka_replication().peer_ca_file)
        client_id = f"smartconnect.{task.id}"
        reads, writes = (peer, current) if self.direction is Direction.PULL else (current, peer)
        self.source, self.target = open_cluster(reads, client_id=client_id), open_cluster(writes, client_id=client_id)
        self.positions = PositionStore(self.target, task.id, task.run, self.direction)
        self.position_lane = Lane(self.positions.tp)
        self.crew = Crew()
        self.counters: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        self.memory = self.resources.budget.join()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await undisturbed(self._let_go(error))

    async def _let_go(self, error: BaseException | None) -> None:
        await self.crew.close()
        self.steps.note("fenced" if isinstance(error, Fenced) else "stopped")
        await self.source.close()
        await self.target.close()
        self.memory.leave()

    def is_ours(self, tp: TopicPartition) -> bool:
        """Does this partition of the source belong to this unit?"""
        return unit_index(crc32.iscsi(tp.topic.encode()), tp.partition, self.context.units_each) == self.context.unit.index

    async def take_over(self) -> Positions:
        """Fence our id, fence those of older plans, each with its end if Kafka has forgotten it, ask the registry, read the positions: in
        this order."""
        context, ledger = self.context, self.context.ledger
        self.steps.note("start")
        await self.positions.ensure_topic(self.spec.replication_factor)
        self.guard: Guard = guard_for(self.spec.options, self.target, transactional_id(context.task.id, context.unit), self.steps)
        same = await self._same_cluster()
        self.naming = Naming(self.spec, self.direction, same_cluster=same)
        await self.guard.take_over()
        left_open = LeftOpenPositions(self.target, self.positions, self.naming, ledger.event)
        await left_open.end(self.guard)
        older = await ledger.older_plans()
        for unit in (unit for plan in older for unit in plan.units if unit.prefix == context.unit.prefix):
            await left_open.end(await self.guard.fence(transactional_id(context.task.id, unit)))
        await self._ensure_ours()
        if older:
            await ledger.record_fenced([plan.plan for plan in older])
        origin = Origin(context.task.id, self.direction, self.source_id, self.naming.rule)
        self.origin = OriginWriter(self.target, origin, self.clock.now_ms)
        found = await self.positions.read(self.is_ours)
        if found.newest_run > context.task.run:
            await self._ensure_ours()  # a restart may have begun that run just now
            await ledger.note_later_run(found.newest_run)
            raise Fatal(
                f"the target holds positions of run {found.newest_run}, the registry knows run {context.task.run}: it was restored from "
                "a backup; restart the task to begin a run above it",
                code="later_run_found",
            )
        return found

    async def _ensure_ours(self) -> None:
        if not await self.context.ledger.still_ours():
            raise Fenced(f"unit {self.context.unit} of task {self.context.task.name} has a newer owner, run or plan")

    async def _same_cluster(self) -> bool:
        source, target = await self.source.metadata([]), await self.target.metadata([])
        self.source_id, self.target_id = source.cluster_id, target.cluster_id
        return source.cluster_id == target.cluster_id
