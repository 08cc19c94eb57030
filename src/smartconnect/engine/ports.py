"""What the engine needs of a registry and of a coordinator. The registry package implements `EngineRegistry`, the coordination
package `Assignment` sources; tests of the engine use the real SQLite registry.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from smartconnect.domain.planning import Planned, Start, UnitName
from smartconnect.domain.progress import Event, PartitionProgress, Progress, UnitState
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Reason, Task
from smartconnect.engine.unit import OlderPlan, ReportedPosition


@dataclass(frozen=True, slots=True)
class UnitRow:
    """A unit as the registry knows it. `gone`: its part of deleting is done. `run`, `revision`: what its last owner reported."""

    task_id: str
    name: UnitName
    slot: int
    epoch: int
    owner: str
    state: UnitState
    run: int
    revision: int
    retired: bool
    gone: bool
    kept_alive_at: int


@dataclass(frozen=True, slots=True)
class PlanRow:
    """The plan that counts for a task. `run` and `revision`: for what it was last confirmed (starts resolved)."""

    plan: int
    prefixes: tuple[str, ...]
    units_each: int
    run: int
    revision: int


@dataclass(frozen=True, slots=True)
class WantedTask:
    """One task with its current plan (None: not planned yet) and all its units that are not retired, of every plan.
    `deleted_at`: when its deletion was asked for, epoch ms (cleaning is given up 7 days later)."""

    task: Task
    plan: PlanRow | None
    units: tuple[UnitRow, ...]
    deleted_at: int | None = None


@dataclass(frozen=True, slots=True)
class UnitReport:
    """What a worker tells of one unit every 2 s. `partitions` None: unchanged since the last report, keep what is stored."""

    task_id: str
    unit: UnitName
    epoch: int
    run: int
    revision: int
    state: UnitState
    owner: str
    reported_at: int
    progress: Progress | None
    reason: Reason | None
    throughput: Mapping[str, float]
    partitions: Sequence[PartitionProgress] | None
    events: Sequence[Event]


class EngineRegistry(Protocol):
    """All raise RegistryUnreachable when the registry does not answer. Times are epoch ms."""

    async def wanted(self) -> Sequence[WantedTask]:
        """Every task that has units to run, to keep alive or to clean up, deleted ones included until they are gone."""

    async def secrets(self, task_id: str) -> Mapping[str, Secret]: ...

    async def known_starts(self, task_id: str, run: int) -> Collection[Start]: ...

    async def latest_facts(self, task_id: str, run: int) -> Mapping[str, str]:
        """The facts stored with the last plan confirmed for this run; empty before the first."""

    async def store_plan(self, task: Task, planned: Planned) -> bool:
        """Store the plan (a new number if the layout changed), its units with free slots, starts and facts for (run, revision), in
        one transaction; False if somebody else was first, or run or revision moved on. The first one stored counts."""

    async def note_planning_failure(self, task: Task, reason: Reason) -> None:
        """Why planning this (run, revision) has not succeeded yet: shown in progress until a plan is stored or the task moves on."""

    async def take_unit(self, task_id: str, unit: UnitName, owner: str) -> int:
        """epoch = epoch + 1 … RETURNING epoch. The first of the two fences (architecture.md §3)."""

    async def unit_is_current(self, task_id: str, unit: UnitName, epoch: int, run: int) -> bool:
        """Epoch ours, run the task's, the unit's plan the current one."""

    async def older_plans(self, task_id: str, plan: int) -> Sequence[OlderPlan]: ...

    async def record_fenced(self, task_id: str, unit: UnitName, epoch: int, plans: Sequence[int]) -> None: ...

    async def starts(self, task_id: str, run: int, prefix: str) -> Mapping[tuple[str, int], int]: ...

    async def reported_positions(self, task_id: str, run: int, prefix: str) -> Mapping[tuple[str, int], ReportedPosition]: ...

    async def facts(self, task_id: str, name: str) -> Sequence[str]:
        """Distinct values of a fact over all runs and revisions, oldest first."""

    async def counters(self, task_id: str, unit: UnitName, run: int) -> Mapping[str, int]: ...

    async def open_runs(self, task_id: str, unit: UnitName, run: int) -> Sequence[int]: ...

    async def close_runs(self, task_id: str, unit: UnitName, epoch: int, runs: Sequence[int]) -> None: ...

    async def predecessors(self, task_id: str) -> Sequence[str]:
        """Names of deleted tasks, not gone yet, whose conflict was noted when this task was created (`waits_for`)."""

    async def report(self, reports: Sequence[UnitReport]) -> Collection[tuple[str, UnitName]]:
        """Write all rows in one transaction, each WHERE epoch = the report's; gives back the units whose epoch is not ours any more.
        A task whose every planned unit has reported in its (run) reaches RUNNING here (`pending_status` becomes None)."""

    async def fail_task(self, task_id: str, run: int, revision: int, reason: Reason) -> None:
        """FAILED, unless the task was modified, restarted, paused or deleted meanwhile."""

    async def note_later_run(self, task_id: str, run: int) -> None:
        """A target holds positions of this run: it is later than the task's, and the next restart begins a run above it."""

    async def mark_kept_alive(self, task_id: str, unit: UnitName, epoch: int, at: int) -> None: ...

    async def mark_gone(self, task_id: str, unit: UnitName, epoch: int) -> bool:
        """The unit's part of deleting is done; True if it was the last one."""

    async def remove_task(self, task_id: str, details: str) -> None:
        """Erase rows and secrets of a deleted task, leaving an audit event with `details` (what stays behind, if anything)."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which slots are ours: those with slot mod `of` in `buckets`."""

    buckets: frozenset[int]
    of: int

    def owns(self, slot: int) -> bool:
        return self.of > 0 and slot % self.of in self.buckets


class Coordinator(Protocol):
    """Tells a worker which slots are its own, and learns from it when it has let go."""

    def assignment(self) -> Assignment: ...

    def on_change(self, callback: Callable[[], None]) -> None:
        """Called (in the loop) whenever the assignment changed or somebody nudges."""

    async def released(self, buckets: Collection[int]) -> None:
        """All units of these revoked buckets have stopped here; somebody else may have them."""
