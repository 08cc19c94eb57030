"""One life of a dump unit in one process, from taking over to letting go: what it holds, and steps 1–4 of its start (obs-dump.md §1).

Moving data (`runner.py`), keeping a paused task's positions alive and cleaning up after delete (`upkeep.py`) all begin with it: whoever
has gone through `take_over` has fenced every older owner, knows the positions, and may finish what they promise.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from uuid import UUID

from fastcrc import crc32

from smartconnect.domain.errors import Fenced, MalformedData
from smartconnect.domain.obs_dump_spec import ObsDumpSpec
from smartconnect.domain.planning import transactional_id, unit_index
from smartconnect.domain.progress import Level
from smartconnect.engine.unit import UnitContext
from smartconnect.jobs.clusters import open_cluster
from smartconnect.jobs.crew import Crew
from smartconnect.jobs.obs_dump.buffer import PagedPool
from smartconnect.jobs.obs_dump.connections import open_store
from smartconnect.jobs.obs_dump.entries import NOTHING, Promise, decode
from smartconnect.jobs.obs_dump.environment import WorkerResources
from smartconnect.jobs.obs_dump.finisher import Finisher
from smartconnect.jobs.obs_dump.naming import ObjectNames
from smartconnect.jobs.obs_dump.steps import IncarnationSteps, NamedUpload, Outcome, Step
from smartconnect.jobs.obs_dump.store_calls import StoreCalls
from smartconnect.jobs.obs_dump.topic_watch import selected_by
from smartconnect.jobs.obs_dump.transaction_steps import TransactionSteps
from smartconnect.jobs.obs_dump.uploads import Leaving, UploadTools
from smartconnect.jobs.undisturbed import undisturbed
from smartconnect.kafka.codes import UNAUTHORIZED
from smartconnect.kafka.groups import fetch_offsets
from smartconnect.kafka.transactions import TransactionalId
from smartconnect.kafka.types import ClusterMetadata, TopicPartition

_UNSTABLE_AGAIN_S = (0.02, 1.0)
_FORGOTTEN_AFTER_S = 3.0


def group_name(task_id: str, run: int) -> str:
    """The group that holds the positions of one run; nobody joins it."""
    return f"smartconnect.{task_id}.r{run}"


@dataclass(frozen=True, slots=True)
class ReadPosition:
    """A committed position; `promise` is None if its metadata was written by somebody else. `marked`: it says that we wrote it."""

    offset: int
    leader_epoch: int
    promise: Promise | None
    marked: bool


class Incarnation:
    """Async context manager: opens the connections, and on leaving lets go of everything without touching anything outside."""

    def __init__(self, context: UnitContext, spec: ObsDumpSpec, resources: WorkerResources) -> None:
        self.context, self.spec, self.resources = context, spec, resources
        self.clock, self.random = resources.clock, resources.random
        task, unit = context.task, context.unit
        self.steps = IncarnationSteps(resources.steps, task.id, str(unit), context.incarnation, task.run, unit.plan, context.epoch)
        self.instance = resources.directory.instance(task.instance_id)
        self.cluster = open_cluster(self.instance, client_id=f"smartconnect.{task.id}")
        self.txn = TransactionalId(self.cluster, transactional_id(task.id, unit), observe=TransactionSteps(self.steps))
        self._fenced: list[TransactionalId] = []
        self.group = group_name(task.id, task.run)
        self.names = ObjectNames(spec.path, spec.time_format, spec.timezone)
        self.crew = Crew()
        self.counters: Counter[str] = Counter()
        self.hidden: frozenset[str] = frozenset()
        """Topics that the task names and Kafka did not let us see at the last look."""
        self._selected: tuple[ClusterMetadata, Mapping[TopicPartition, UUID | None]] | None = None

    async def __aenter__(self) -> Self:
        resources = self.resources
        self.store = open_store(self.spec, resources.directory.obs(), self.clock, self.random, task_id=self.context.task.id)
        await self.store.__aenter__()
        self.memory = resources.budget.join()
        self.part_places, self.control_places = resources.part_places.join(), resources.control_places.join()
        self.pool = PagedPool(self.memory.charge, self.memory.credit, resources.blocks)
        self.calls = StoreCalls(self.clock, self.random, self.control_places)
        self.uploads = UploadTools(self.store, self.calls, self.part_places, self.pool, self.steps, set(), Leaving())
        self.finisher = Finisher(self.store, self.calls, self.steps, self.context.task.id)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await undisturbed(self._let_go(error))

    async def _let_go(self, error: BaseException | None) -> None:
        await self.crew.close()
        await self.uploads.close()
        self.steps.note(Step.FENCED if isinstance(error, Fenced) else Step.STOPPED)
        await self.cluster.close()
        await self.store.__aexit__(None, None, None)
        self.memory.leave()
        self.part_places.leave()
        self.control_places.leave()

    def is_ours(self, tp: TopicPartition) -> bool:
        """Does this partition belong to this unit?"""
        crc = crc32.iscsi(tp.topic.encode())
        return unit_index(crc, tp.partition, self.context.units_each) == self.context.unit.index

    async def selected(self, max_age_s: float) -> Mapping[TopicPartition, UUID | None]:
        """The partitions of this unit that the task selects now, with their topics' ids; the same object while nothing changes."""
        metadata = await self.resources.topics.look(self.instance, self.spec.topics or None, max_age_s=max_age_s)
        if self._selected is None or self._selected[0] is not metadata:
            self._selected = metadata, self._select(metadata)
            self.hidden = frozenset(name for name, topic in metadata.topics.items() if topic.error in UNAUTHORIZED)
        return self._selected[1]

    def _select(self, metadata: ClusterMetadata) -> dict[TopicPartition, UUID | None]:
        selection = selected_by(self.spec)
        found = {}
        for name, topic in metadata.topics.items():
            if topic.error is not None or not selection.selects(name):
                continue
            for number in topic.partitions:
                if self.is_ours(tp := TopicPartition(name, number)):
                    found[tp] = topic.topic_id
        return found

    async def take_over(self) -> Mapping[TopicPartition, ReadPosition]:
        """Steps 1–4 of a start, in this order: fence our id, fence those of older plans, ask the registry, read the positions."""
        context, ledger = self.context, self.context.ledger
        self.steps.note(Step.START)
        await self.txn.initialise()
        older = await ledger.older_plans()
        for unit in (unit for plan in older for unit in plan.units):
            steps = TransactionSteps(self.steps, older=str(unit))
            self._fenced.append(TransactionalId(self.cluster, transactional_id(context.task.id, unit), observe=steps))
            await self._fenced[-1].initialise()
        self.steps.note(Step.CHECK_REGISTRY, Outcome.SENT)
        ours = await ledger.still_ours()
        self.steps.note(Step.CHECK_REGISTRY, Outcome.OK if ours else Outcome.FENCED)
        if not ours:
            raise Fenced(f"unit {context.unit} of task {context.task.name} has a newer owner, run or plan")
        if older:
            await ledger.record_fenced([plan.plan for plan in older])
        return await self.read_positions(context.task.run)

    async def read_positions(self, run: int) -> dict[TopicPartition, ReadPosition]:
        """Step 4: the committed positions of our partitions in a run's group, when no transaction may still change one of them.

        The selected ones are asked for by name: a partition whose first commit ever is undecided is else left out of the answer."""
        ours = await self.selected(self.spec.options.refresh_interval_s)
        group = group_name(self.context.task.id, run)
        pause, longest = _UNSTABLE_AGAIN_S
        forgotten_at = self.clock.monotonic() + _FORGOTTEN_AFTER_S
        while True:
            self.steps.note_run(run, Step.READ_POSITIONS, Outcome.SENT)
            found = await fetch_offsets(self.cluster, group, require_stable=True, partitions=ours)
            unstable = [tp for tp in found.unstable if self.is_ours(tp)]
            if not unstable:
                break
            for tp in unstable:
                self.steps.note_run(run, Step.READ_POSITIONS, Outcome.UNSTABLE, partition=str(tp))
            if self.clock.monotonic() >= forgotten_at:
                await self._end_left_open(group)
                forgotten_at = self.clock.monotonic() + _FORGOTTEN_AFTER_S
            await asyncio.sleep(pause)
            pause = min(longest, pause * 2)
        positions = {}
        for tp, committed in found.committed.items():
            if self.is_ours(tp) and committed.offset >= 0:
                promise = _decoded(committed.metadata)
                positions[tp] = ReadPosition(committed.offset, committed.leader_epoch, promise, marked=committed.metadata != "")
        for tp, position in positions.items():
            self._note_position(run, tp, position)
        return positions

    async def _end_left_open(self, group: str) -> None:
        """Commit what still is undecided of the transactions of all whom we have fenced: Kafka has forgotten their end
        (`kafka.open_transactions`). Nobody can have read such a position as aborted, somebody may have completed the uploads that it
        promises; each promise is whole, or is redelivered."""
        await self.txn.add_offsets(group)
        await self.txn.end(commit=True)
        for older in self._fenced:
            with contextlib.suppress(Fenced):  # another unit of this plan does the same in this moment
                await older.initialise()
                await older.add_offsets(group)
                await older.end(commit=True)
        self.context.ledger.event(
            Level.WARNING,
            "transaction_left_open",
            f"Kafka had left a transaction of ours without an end in group {group}: it is committed now",
        )

    def _note_position(self, run: int, tp: TopicPartition, position: ReadPosition) -> None:
        promise = position.promise or NOTHING
        self.steps.note_run(
            run,
            Step.READ_POSITIONS,
            Outcome.OK,
            partition=str(tp),
            offset=position.offset,
            start=position.offset if promise.next_start is None else promise.next_start,
            entries=tuple(NamedUpload(e.upload, e.start, e.end) for e in promise.entries),
        )


def _decoded(metadata: str) -> Promise | None:
    try:
        return decode(metadata)
    except MalformedData:
        return None
