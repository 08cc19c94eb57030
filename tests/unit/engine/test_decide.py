"""What should be done for a task, for everything that the registry can say."""

from __future__ import annotations

import pytest

from smartconnect.domain.planning import UnitName
from smartconnect.domain.progress import UnitState
from smartconnect.domain.task import Desired
from smartconnect.engine.decide import GIVE_UP_AFTER_MS, Decision, Duty, decide, keep_wait_ms
from smartconnect.engine.ports import WantedTask
from tests.unit.engine.rows import REASON, a_plan, a_task, a_unit, wanted

HOUR = 3_600_000
MOVING = (UnitState.STARTING, UnitState.RUNNING, UnitState.RETRYING, UnitState.DRAINING)
SETTLED = (UnitState.STOPPED, UnitState.FAILED, UnitState.UNASSIGNED)


def _decide(item: WantedTask, now: int = 0, keep: int | None = HOUR) -> Decision:
    return decide(item, now_ms=now, keep_every_ms=keep)


def _duties(item: WantedTask, now: int = 0, keep: int | None = HOUR) -> dict[str, Duty]:
    return {str(name): duty for name, duty in _decide(item, now, keep).duties.items()}


def test_new_task_is_planned_and_nothing_runs() -> None:
    assert _decide(wanted(a_task(), None)) == Decision({}, plan=True)


def test_planned_task_moves_with_every_unit_of_its_plan() -> None:
    decision = _decide(wanted(a_task(), a_plan(), a_unit(0), a_unit(1)))
    assert decision == Decision({UnitName("toy", 1, 0): Duty.MOVE, UnitName("toy", 1, 1): Duty.MOVE})


def test_modified_task_is_planned_while_its_units_go_on_as_they_are() -> None:
    decision = _decide(wanted(a_task(revision=2), a_plan(revision=1), a_unit(0)))
    assert decision == Decision({UnitName("toy", 1, 0): Duty.HOLD}, plan=True)


def test_new_run_stops_the_units_at_once_and_is_planned() -> None:
    assert _decide(wanted(a_task(run=2), a_plan(run=1), a_unit(0))) == Decision({}, plan=True)


@pytest.mark.parametrize("state", MOVING)
def test_new_plans_units_wait_until_older_ones_have_stopped(state: UnitState) -> None:
    item = wanted(a_task(revision=2), a_plan(2, revision=2), a_unit(0, 1, state), a_unit(0, 2, UnitState.UNASSIGNED))
    assert _duties(item) == {"toy-1-0": Duty.SETTLE, "toy-2-0": Duty.HOLD}


@pytest.mark.parametrize("state", SETTLED)
def test_new_plans_units_start_when_older_ones_have_stopped(state: UnitState) -> None:
    item = wanted(a_task(revision=2), a_plan(2, revision=2), a_unit(0, 1, state), a_unit(0, 2, UnitState.UNASSIGNED))
    assert _duties(item) == {"toy-2-0": Duty.MOVE}


@pytest.mark.parametrize("task", [a_task(desired=Desired.PAUSED), a_task(failure=REASON)])
@pytest.mark.parametrize("state", MOVING)
def test_resting_unit_whose_owner_died_before_it_had_drained_is_kept_at_once(task: object, state: UnitState) -> None:
    item = wanted(task, a_plan(), a_unit(0, state=state, kept_alive_at=0))  # type: ignore[arg-type] # a Task
    assert _duties(item, now=0, keep=None) == {"toy-1-0": Duty.KEEP}


def test_resting_unit_is_kept_again_only_when_that_is_due() -> None:
    task = a_task(desired=Desired.PAUSED)
    unit = a_unit(0, state=UnitState.STOPPED, kept_alive_at=1000)
    due = 1000 + keep_wait_ms(task, unit, HOUR)
    assert _duties(wanted(task, a_plan(), unit), now=due - 1) == {}
    assert _duties(wanted(task, a_plan(), unit), now=due) == {"toy-1-0": Duty.KEEP}
    assert _duties(wanted(task, a_plan(), unit), now=due, keep=None) == {}


def test_unit_that_never_ran_has_nothing_to_keep() -> None:
    unit = a_unit(0, state=UnitState.UNASSIGNED, epoch=0)
    assert _duties(wanted(a_task(desired=Desired.PAUSED), a_plan(), unit), now=10 * HOUR) == {}


def test_keep_alives_spread_over_the_last_quarter_of_the_interval() -> None:
    waits = [keep_wait_ms(a_task(), a_unit(index), HOUR) for index in range(200)]
    assert all(HOUR * 3 // 4 <= wait <= HOUR for wait in waits)
    assert len({wait // (HOUR // 40) for wait in waits}) >= 8


def test_resting_tasks_older_plan_is_settled_not_kept() -> None:
    item = wanted(a_task(desired=Desired.PAUSED), a_plan(2), a_unit(0, 1), a_unit(0, 2, UnitState.STOPPED))
    assert _duties(item) == {"toy-1-0": Duty.SETTLE}


def test_deleted_task_is_cleaned_unit_by_unit_then_finished() -> None:
    task = a_task(desired=Desired.DELETED)
    first = wanted(task, a_plan(), a_unit(0, gone=True), a_unit(1))
    assert _decide(first) == Decision({UnitName("toy", 1, 1): Duty.CLEAN})
    assert _decide(wanted(task, a_plan(), a_unit(0, gone=True), a_unit(1, gone=True))) == Decision({}, finish=True)
    assert _decide(wanted(task, None)) == Decision({}, finish=True)


def test_cleaning_is_given_up_after_seven_days() -> None:
    item = wanted(a_task(desired=Desired.DELETED), a_plan(), a_unit(0), deleted_at=1000)
    assert not _decide(item, now=1000 + GIVE_UP_AFTER_MS - 1).finish
    assert _decide(item, now=1000 + GIVE_UP_AFTER_MS) == Decision({}, finish=True)


def test_waiting_task_has_nothing_to_do() -> None:
    assert _decide(wanted(a_task(desired=Desired.WAITING, run=0), None)) == Decision({})
