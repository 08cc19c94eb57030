"""How units' reports become a task's progress (api.md §7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.control.phases import Advance, advance
from smartconnect.control.ports import ProgressRows, StoredUnit
from smartconnect.control.progress_view import ProgressView, progress_view
from smartconnect.domain.progress import Event, Level, PartitionProgress, PartitionState, Progress, UnitState
from smartconnect.domain.task import Desired, Kind, Reason, Status, Task, TaskConfig

NOW = 1_000_000
TASK = Task(
    id="3c0ac4d1-8c2e-4a55-9a57-0d8f6b1f2a10",
    project_id="p",
    instance_id="i",
    name="orders-dump",
    kind=Kind.OBS_DUMP,
    config=TaskConfig(),
    desired=Desired.RUNNING,
    run=2,
    revision=1,
    create_time=1,
    run_started_at=NOW - 100_000,
)


def unit_progress(phase: str = "dumping", **changes: Any) -> Progress:
    values: dict[str, Any] = {
        "phase": phase,
        "phase_started_at": 5,
        "percent": None,
        "eta_ms": None,
        "counters": {"records_in": 1},
        "lag_records": 10,
        "lag_ms": 100,
    }
    return Progress(**{**values, **changes})


def unit(name: str = "dump-1-0", **changes: Any) -> StoredUnit:
    values: dict[str, Any] = {
        "name": name,
        "state": UnitState.RUNNING,
        "owner": "host/worker-1",
        "epoch": 3,
        "run": 2,
        "reported_at": NOW,
        "progress": unit_progress(),
        "reason": None,
        "throughput": {"records_per_s": 1.0, "bytes_in_per_s": 2.0, "bytes_out_per_s": 3.0},
    }
    return StoredUnit(**{**values, **changes})


def view(*units: StoredUnit, task: Task = TASK, stopped: bool = False, now: int = NOW, **changes: Any) -> ProgressView:
    values: dict[str, Any] = {"partitions": [], "partitions_total": 0, "events": [], "earlier_counters": {}}
    return progress_view(ProgressRows(task=task, units_stopped=stopped, units=units, **{**values, **changes}), now)


def reason(code: str, since: int = 1) -> Reason:
    return Reason(code, f"{code} happened", since=since)


@pytest.mark.parametrize(
    ("changes", "health"),
    [
        ({}, "ok"),
        ({"state": UnitState.RETRYING, "reason": reason("target_unreachable")}, "retrying"),
        ({"progress": unit_progress(reason=reason("partition_blocked"))}, "blocked"),
        ({"reported_at": NOW - 15_001}, "unowned"),
        ({"state": UnitState.FAILED}, "failed"),
    ],
)
def test_the_worst_unit_decides_health(changes: dict[str, Any], health: str) -> None:
    assert view(unit(), unit("dump-1-1", **changes)).health == health


def test_a_blocked_partition_of_the_page_blocks_its_unit() -> None:
    row = PartitionProgress("t", 0, "lake/t", PartitionState.BLOCKED, 0, 1, 2, 1, 1, reason=reason("partition_blocked"))
    assert view(unit(), partitions=[("dump-1-0", row)]).health == "blocked"


def test_a_unit_that_never_reported_counts_from_the_runs_start() -> None:
    silent = unit(progress=None, run=0, reported_at=0, state=UnitState.UNASSIGNED)
    young = replace(TASK, run_started_at=NOW - 15_000)
    assert view(silent, task=young).health == "ok"
    assert view(silent, task=replace(young, run_started_at=NOW - 15_001)).health == "unowned"


@pytest.mark.parametrize(
    ("task", "stopped", "status", "health"),
    [
        (replace(TASK, desired=Desired.WAITING, run=0, run_started_at=None), True, Status.WAITING, "stopped"),
        (replace(TASK, desired=Desired.PAUSED), True, Status.PAUSED, "stopped"),
        (replace(TASK, desired=Desired.PAUSED), False, Status.RUNNING, "ok"),
        (replace(TASK, failure=reason("failed")), True, Status.FAILED, "failed"),
    ],
)
def test_the_tasks_own_state_decides_before_its_units(task: Task, stopped: bool, status: Status, health: str) -> None:
    shown = view(unit(), task=task, stopped=stopped)
    assert (shown.status, shown.health) == (status, health)


@pytest.mark.parametrize("task", [replace(TASK, desired=Desired.PAUSED), replace(TASK, failure=reason("failed"))])
def test_paused_and_failed_tasks_keep_their_values_with_no_throughput(task: Task) -> None:
    shown = view(unit(state=UnitState.STOPPED), task=task, stopped=True, now=NOW + 3_600_000)
    assert shown.lag_records == 10
    assert set(shown.throughput.values()) == {0.0}
    assert shown.units[0].state is UnitState.STOPPED
    assert shown.as_of == NOW


def test_the_newest_standing_error_is_the_reason_and_names_its_unit() -> None:
    shown = view(unit(reason=reason("old", 1)), unit("dump-1-1", progress=unit_progress(reason=reason("new", 2))))
    assert shown.reason is not None
    assert (shown.reason.code, shown.reason.unit) == ("new", "dump-1-1")
    assert view(unit()).reason is None
    failed = replace(TASK, failure=reason("failed", 0))
    assert view(unit(reason=reason("later", 9)), task=failed).reason == failed.failure


def test_a_planning_failure_is_the_reason_while_there_is_no_unit_to_tell_one() -> None:
    shown = view(planning_failure=reason("cluster_unreachable", 5))
    assert (shown.reason, shown.health, shown.units) == (reason("cluster_unreachable", 5), "retrying", [])
    failed = unit(state=UnitState.FAILED, reason=reason("failed", 9))
    shown = view(failed, planning_failure=reason("cluster_unreachable", 5))
    assert shown.reason is not None
    assert (shown.reason.code, shown.health) == ("failed", "failed")
    paused = view(task=replace(TASK, desired=Desired.PAUSED), stopped=True, planning_failure=reason("cluster_unreachable"))
    assert (paused.reason, paused.health) == (None, "stopped")


def test_unknown_is_never_zero() -> None:
    shown = view(unit(), unit("dump-1-1", progress=unit_progress(lag_records=None, lag_ms=None)))
    assert (shown.lag_records, shown.lag_ms, shown.lag_bytes) == (None, None, None)
    assert view().lag_records is None
    assert view(unit(progress=None)).advance == Advance(phase="starting")


def test_sums_maxima_and_counters_of_earlier_plans() -> None:
    shown = view(unit(), unit("dump-1-1", progress=unit_progress(lag_ms=900)), earlier_counters={"records_in": 40, "gaps": 1})
    assert (shown.lag_records, shown.lag_ms) == (20, 900)
    assert shown.counters["records_in"] == 42
    assert shown.counters["gaps"] == 1
    assert shown.throughput == {"records_per_s": 2.0, "bytes_in_per_s": 4.0, "bytes_out_per_s": 6.0}


def test_reports_of_an_earlier_run_do_not_count() -> None:
    shown = view(unit(run=1, reason=reason("old")), task=replace(TASK, run_started_at=NOW))
    assert (shown.advance.phase, shown.lag_records, shown.reason) == ("starting", None, None)
    assert shown.counters["records_in"] == 0
    assert shown.units[0].reported_at is None


def test_the_newest_50_events_come_first() -> None:
    events = [Event(at, Level.INFO, "code", str(at)) for at in range(60)]
    assert [event.at for event in view(unit(), events=events).events] == list(range(59, 9, -1))


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([], Advance()),
        ([None], Advance("starting")),
        ([unit_progress("dumping"), None], Advance("starting")),
        ([unit_progress("dumping")], Advance("dumping", 5)),
        ([unit_progress("initial_copy", percent=30.0, eta_ms=7), unit_progress("dumping")], Advance("initial_copy", 5, 65.0, 7)),
        (
            [unit_progress("initial_copy", percent=30.0, eta_ms=7), unit_progress("initial_copy", percent=50.0)],
            Advance("initial_copy", 5, 40.0),
        ),
        ([unit_progress("full_sync", percent=None, eta_ms=7)], Advance("full_sync", 5, None, 7)),
        ([unit_progress("waiting_snapshot"), unit_progress("full_sync", percent=1.0)], Advance("waiting_snapshot", 5)),
        ([unit_progress("applying"), unit_progress("completed")], Advance("applying", 5)),
    ],
)
def test_the_least_advanced_unit_gives_the_phase(units: list[Progress | None], expected: Advance) -> None:
    assert advance(units) == expected


percents = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=8)


@given(percents)
def test_percent_never_falls_within_a_phase_and_is_100_only_when_all_are(steps: list[tuple[float, float]]) -> None:
    before = advance([unit_progress("initial_copy", percent=min(step)) for step in steps]).percent
    after = advance([unit_progress("initial_copy", percent=max(step)) for step in steps]).percent
    assert before is not None
    assert after is not None
    assert before <= after <= 100
    assert (after == 100) == all(max(step) == 100 for step in steps)
