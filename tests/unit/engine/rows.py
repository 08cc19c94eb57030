"""Tasks, units and progress for tests of the engine's rules, with everything that a test does not care about filled in."""

from __future__ import annotations

from dataclasses import replace

from smartconnect.domain.planning import UnitName
from smartconnect.domain.progress import Progress, UnitState
from smartconnect.domain.task import Desired, Kind, Reason, Task, TaskConfig
from smartconnect.engine.ports import PlanRow, UnitRow, WantedTask

REASON = Reason("failed", "it failed", 0)


def a_task(**changes: object) -> Task:
    task = Task("t1", "p", "i", "name", Kind.OBS_DUMP, TaskConfig(), Desired.RUNNING, 1, 1, 0)
    return replace(task, **changes)  # type: ignore[arg-type] # fields of Task


def a_unit(index: int = 0, plan: int = 1, state: UnitState = UnitState.RUNNING, **changes: object) -> UnitRow:
    row = UnitRow("t1", UnitName("toy", plan, index), index, 3, "o", state, 1, 1, retired=False, gone=False, kept_alive_at=0)
    return replace(row, **changes)  # type: ignore[arg-type] # fields of UnitRow


def a_plan(plan: int = 1, run: int = 1, revision: int = 1, units_each: int = 2) -> PlanRow:
    return PlanRow(plan, ("toy",), units_each, run, revision)


def wanted(task: Task, plan: PlanRow | None, *units: UnitRow, deleted_at: int | None = None) -> WantedTask:
    return WantedTask(task, plan, units, deleted_at)


def a_progress(phase: str = "dumping", **changes: object) -> Progress:
    return replace(Progress(phase, 0, None, None, {}, None, None), **changes)  # type: ignore[arg-type] # fields of Progress
