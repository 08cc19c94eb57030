"""What the progress resource says of a task, from the last reports in the registry and nothing else (api.md §7). Pure. Times are epoch
ms; None means "not known", never 0. Called by `TaskControl.progress`, for the API and the console.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from smartconnect.control.phases import Advance, advance
from smartconnect.control.ports import ProgressRows, StoredUnit
from smartconnect.domain.errors import PartitionBlocked
from smartconnect.domain.progress import Event, PartitionProgress, PartitionState, Progress, UnitState
from smartconnect.domain.task import Reason, Status, Task, shown_status

UNOWNED_AFTER_MS = 15_000
RATE_WINDOW_MS = 10_000
BASE_COUNTERS = ("records_in", "records_out", "bytes_in", "bytes_out", "objects", "retries")
RATES = ("records_per_s", "bytes_in_per_s", "bytes_out_per_s")
HEALTH = ("ok", "retrying", "blocked", "unowned", "failed")
"""From good to bad; a task shows its worst."""


@dataclass(frozen=True, slots=True)
class UnitView:
    """One unit. `state` is UNASSIGNED while nobody reports it."""

    name: str
    state: UnitState
    owner: str
    epoch: int
    reported_at: int | None
    reason: Reason | None
    progress: Progress | None
    throughput: Mapping[str, float]
    health: str

    @property
    def advance(self) -> Advance:
        return advance([self.progress]) if self.progress is not None else Advance()


@dataclass(frozen=True, slots=True)
class ProgressView:
    """A task's progress; `partitions` is the asked page, each with its unit's name."""

    task: Task
    status: Status
    health: str
    as_of: int
    reason: Reason | None
    advance: Advance
    counters: Mapping[str, int]
    throughput: Mapping[str, float]
    lag_records: int | None
    lag_ms: int | None
    lag_bytes: int | None
    units: Sequence[UnitView]
    partitions: Sequence[tuple[str, PartitionProgress]]
    partitions_total: int
    events: Sequence[Event]


def progress_view(rows: ProgressRows, now_ms: int) -> ProgressView:
    """Roll the units' reports up to the task."""
    task, status = rows.task, shown_status(rows.task, units_stopped=rows.units_stopped)
    standing = status in (Status.PAUSED, Status.WAITING, Status.FAILED)
    blocked = {unit for unit, partition in rows.partitions if partition.state is PartitionState.BLOCKED}
    units = [_unit_view(row, task, now_ms, standing=standing, blocked=row.name in blocked) for row in rows.units if task.run]
    progress = [unit.progress for unit in units]
    planning = None if status in (Status.PAUSED, Status.WAITING) else rows.planning_failure
    return ProgressView(
        task=task,
        status=status,
        health=_health(task, status, units, planning),
        as_of=max((unit.reported_at for unit in units if unit.reported_at is not None), default=now_ms),
        reason=task.failure or _newest((planning, *(unit.reason for unit in units))),
        advance=advance(progress),
        counters=_counters(progress, rows.earlier_counters),
        throughput=_sum_of_rates(units),
        lag_records=_sum(progress, "lag_records"),
        lag_ms=_largest([view.lag_ms if view is not None else None for view in progress]),
        lag_bytes=_sum(progress, "lag_bytes"),
        units=units,
        partitions=_owned_partitions(rows, units),
        partitions_total=rows.partitions_total,
        events=sorted(rows.events, key=lambda event: -event.at)[:50],
    )


def _unit_view(row: StoredUnit, task: Task, now_ms: int, *, standing: bool, blocked: bool) -> UnitView:
    current = row.run == task.run and row.progress is not None
    progress = row.progress if current else None
    heard_at = max(row.reported_at if current else 0, task.run_started_at or 0)
    unowned = not standing and now_ms - heard_at > UNOWNED_AFTER_MS
    reason = _newest((row.reason, progress.reason if progress is not None else None)) if row.run == task.run else None
    silent = standing or unowned or not current
    return UnitView(
        name=row.name,
        state=UnitState.UNASSIGNED if unowned else row.state,
        owner=row.owner,
        epoch=row.epoch,
        reported_at=row.reported_at if current else None,
        reason=replace(reason, unit=reason.unit or row.name) if reason is not None else None,
        progress=progress,
        throughput=dict.fromkeys(RATES, 0.0) if silent else {name: float(row.throughput.get(name, 0.0)) for name in RATES},
        health=_unit_health(row.state, reason, unowned=unowned, blocked=blocked),
    )


def _unit_health(state: UnitState, reason: Reason | None, *, unowned: bool, blocked: bool) -> str:
    if state is UnitState.FAILED:
        return "failed"
    if unowned:
        return "unowned"
    if blocked or (reason is not None and reason.code == PartitionBlocked.code):
        return "blocked"
    return "retrying" if state is UnitState.RETRYING else "ok"


def _health(task: Task, status: Status, units: Sequence[UnitView], planning: Reason | None) -> str:
    if status in (Status.WAITING, Status.PAUSED):
        return "stopped"
    if task.failure is not None:
        return "failed"
    waits = "ok" if planning is None else "retrying"
    return max((waits, *(unit.health for unit in units)), key=HEALTH.index)


def _newest(reasons: Iterable[Reason | None]) -> Reason | None:
    return max((reason for reason in reasons if reason is not None), key=lambda reason: reason.since, default=None)


def _counters(units: Sequence[Progress | None], earlier: Mapping[str, int]) -> dict[str, int]:
    total = dict.fromkeys(BASE_COUNTERS, 0)
    for counters in (earlier, *(unit.counters for unit in units if unit is not None)):
        for name, value in counters.items():
            total[name] = total.get(name, 0) + value
    return total


def _sum_of_rates(units: Sequence[UnitView]) -> dict[str, float]:
    return {name: round(sum((unit.throughput[name] for unit in units), 0.0), 3) for name in RATES}


def _sum(units: Sequence[Progress | None], name: str) -> int | None:
    """The sum over all units; unknown as soon as one unit's is."""
    values = [getattr(unit, name) if unit is not None else None for unit in units]
    known = [int(value) for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _largest(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


def _owned_partitions(rows: ProgressRows, units: Sequence[UnitView]) -> list[tuple[str, PartitionProgress]]:
    """The page as reported; partitions of a unit that nobody runs are shown as unassigned, without a rate."""
    nobody = {unit.name for unit in units if unit.state is UnitState.UNASSIGNED}
    return [
        (name, replace(row, state=PartitionState.UNASSIGNED, records_per_s=0.0, bytes_per_s=0.0) if name in nobody else row)
        for name, row in rows.partitions
    ]
