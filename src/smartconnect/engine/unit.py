"""The small contract between the engine and a job. The engine decides *which* unit runs *where* and *since when* (epoch);
the job moves the data. Everything the job may ask of the registry while it runs is `UnitLedger`, and no running unit waits for it:
the ledger is needed to take a unit over and to report, not to move data. Only a partition waits that must not go on before its report.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from smartconnect.domain.planning import UnitName
from smartconnect.domain.progress import Level, Progress
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Task


class StopCause(enum.StrEnum):
    """Why a unit is asked to stop: all drain, the difference is for logs and progress."""

    HAND_OVER = "hand_over"
    PAUSE = "pause"
    MODIFY = "modify"
    NEW_PLAN = "new_plan"
    RESTART = "restart"
    DELETE = "delete"
    FAILED = "failed"
    SHUTDOWN = "shutdown"


class StopSignal:
    """Set once, by the supervisor. A unit that sees it drains within its own drain time-out and returns."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.cause: StopCause | None = None

    def set(self, cause: StopCause) -> None:
        if self.cause is None:
            self.cause = cause
            self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()


@dataclass(frozen=True, slots=True)
class ReportedPosition:
    """What was last reported of a partition: the position that the target must hold at least (None: it had none), the id of the topic that
    it belonged to ("" where brokers do not tell), where its initial copy ends (None: it has none), how many gaps were counted, and what
    was told of the newest (`gap`). `before_pause`: the task was paused since, so that somebody may have set the position. `marked`: its
    reporter leaves a mark on what it commits."""

    offset: int | None
    topic_id: str = ""
    initial_end: int | None = None
    gaps: int = 0
    gap: str = ""
    before_pause: bool = False
    marked: bool = False


@dataclass(frozen=True, slots=True)
class OlderPlan:
    """A plan that is not retired: each of its units must be fenced before a unit of a newer plan reads positions."""

    plan: int
    units: tuple[UnitName, ...]


class UnitLedger(Protocol):
    """What one incarnation may ask of the registry. Every write carries the epoch; all raise RegistryUnreachable, and
    Fenced when the epoch is not ours any more."""

    async def still_ours(self) -> bool:
        """Are the unit's epoch, the task's run and the plan still ours? (step 3 of a start)"""

    async def older_plans(self) -> Sequence[OlderPlan]:
        """Plans older than ours that are not retired yet."""

    async def record_fenced(self, plans: Sequence[int]) -> None:
        """We have fenced every unit of these older plans (step 2). A plan retires when all units of a newer one recorded this."""

    async def starts(self) -> Mapping[tuple[str, int], int]:
        """Start offsets of this run that planning resolved, by (topic, partition), of this unit's prefix."""

    async def reported_positions(self) -> Mapping[tuple[str, int], ReportedPosition]:
        """Positions of our prefix's partitions as last reported in this run by any owner: what the target should know at least."""

    async def facts(self, name: str) -> Sequence[str]:
        """Every value that planning has stored under this name for this task, over all runs and revisions, oldest first."""

    async def counters(self) -> Mapping[str, int]:
        """Counters of this run as last reported by any owner of this unit."""

    async def open_runs(self) -> Sequence[int]:
        """Earlier runs whose positions this unit has not recorded as closed yet."""

    async def close_runs(self, runs: Sequence[int]) -> None:
        """Everything that earlier runs had promised is finished, as far as this unit is concerned."""

    async def note_later_run(self, run: int) -> None:
        """The target holds positions of this run, which is later than the task's: the next restart begins a run above it."""

    async def predecessors(self) -> Sequence[str]:
        """Names of deleted tasks that still clean up where this task writes; the unit waits while there are any."""

    async def report(self) -> None:
        """Returns when the registry has stored how the unit is now: its counters, its partitions, the events told until now. Waits as long
        as the registry does not answer; never returns to an owner whose epoch is not the newest any more."""

    def event(self, level: Level, code: str, message: str) -> None:
        """Tell the user something once. Kept in memory until the next report; never blocks, never raises."""


class UnitRunner(Protocol):
    """One incarnation of a unit."""

    async def run(self, stop: StopSignal) -> None:
        """Move data until `stop` is set, then drain within its deadline and return.

        Raise Retryable (the supervisor backs off and runs again from the stored position), Fatal (the task shows FAILED, with
        this error as its reason) or Fenced (somebody newer may own the unit: stop at once, touch nothing; the supervisor runs it
        again only if the registry says that the epoch is still ours).
        """

    def progress(self) -> Progress:
        """Positions, lag, rates, phase; cheap, no I/O, callable at any time after construction."""


@dataclass(frozen=True, slots=True)
class UnitContext:
    """All that an incarnation is given. `shared` is what the job's `worker_resources` made for this process (budgets, pools)."""

    task: Task
    unit: UnitName
    units_each: int
    epoch: int
    incarnation: str
    secrets: Mapping[str, Secret]
    ledger: UnitLedger
    shared: object
