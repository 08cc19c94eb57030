"""Who owns a unit, whose word counts, when a task has stopped, and what deleting leaves to whom."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from smartconnect.domain.errors import Fenced
from smartconnect.domain.planning import PlanLayout, Planned
from smartconnect.domain.progress import UnitState
from smartconnect.domain.task import Desired
from smartconnect.registry import Registry
from tests.unit.registry.givens import (
    BROKEN,
    NOW,
    THREE_UNITS,
    TWO_UNITS,
    a_report,
    a_task,
    change,
    delete,
    insert,
    planned_task,
    take,
    the_task,
    the_wanted,
    unit,
)


async def test_each_owner_gets_an_epoch_of_its_own(registry: Registry, another: Registry) -> None:
    await planned_task(registry)
    epochs = await asyncio.gather(*((registry, another)[n % 2].take_unit("task-1", unit(), f"worker-{n}") for n in range(20)))
    assert sorted(epochs) == list(range(1, 21))
    taken, other = (await the_wanted(registry)).units
    assert (taken.epoch, taken.owner) == (20, f"worker-{epochs.index(20)}")
    assert (other.epoch, other.owner) == (0, "")


async def test_a_unit_that_is_not_there_cannot_be_taken(registry: Registry) -> None:
    await planned_task(registry)
    for task_id, name in (("task-1", unit(7)), ("task-1", unit(0, plan=2)), ("unknown", unit())):
        with pytest.raises(Fenced):
            await take(registry, name, task_id)


async def test_a_unit_is_current_while_epoch_run_and_plan_are(registry: Registry) -> None:
    task = await planned_task(registry)
    old = await take(registry, unit())
    assert await registry.unit_is_current(task.id, unit(), old, run=1)
    epoch = await take(registry, unit())
    assert not await registry.unit_is_current(task.id, unit(), old, run=1)
    assert await registry.unit_is_current(task.id, unit(), epoch, run=1)
    assert not await registry.unit_is_current(task.id, unit(), epoch, run=2)
    task = await change(registry, task, name="other")
    await registry.store_plan(task, Planned(THREE_UNITS))
    assert not await registry.unit_is_current(task.id, unit(), epoch, run=1)
    newest = await take(registry, unit(plan=2))
    assert await registry.unit_is_current(task.id, unit(plan=2), newest, run=1)
    await change(registry, task, new_run=True)
    assert not await registry.unit_is_current(task.id, unit(plan=2), newest, run=1)


async def test_an_older_owner_writes_nothing(registry: Registry) -> None:
    task = await planned_task(registry)
    old, _ = await take(registry, unit()), await take(registry, unit())
    with pytest.raises(Fenced):
        await registry.close_runs(task.id, unit(), old, [1])
    with pytest.raises(Fenced):
        await registry.mark_kept_alive(task.id, unit(), old, NOW)
    with pytest.raises(Fenced):
        await registry.mark_gone(task.id, unit(), old)
    row = (await the_wanted(registry)).units[0]
    assert (row.kept_alive_at, row.gone) == (0, False)
    assert await registry.open_runs(task.id, unit(), 2) == [1]


async def test_keeping_alive_is_remembered(registry: Registry) -> None:
    task = await planned_task(registry)
    await registry.mark_kept_alive(task.id, unit(), await take(registry, unit()), NOW + 5)
    assert [row.kept_alive_at for row in (await the_wanted(registry)).units] == [NOW + 5, 0]


async def test_a_unit_closes_earlier_runs_for_itself_only(registry: Registry) -> None:
    task = await planned_task(registry)
    assert await registry.open_runs(task.id, unit(0), 1) == []
    assert await registry.open_runs(task.id, unit(0), 4) == [1, 2, 3]
    epoch = await take(registry, unit(0))
    await registry.close_runs(task.id, unit(0), epoch, [1, 3])
    await registry.close_runs(task.id, unit(0), epoch, [1])
    await registry.close_runs(task.id, unit(0), epoch, [])
    assert await registry.open_runs(task.id, unit(0), 4) == [2]
    assert await registry.open_runs(task.id, unit(1), 4) == [1, 2, 3]


async def test_a_run_that_a_whole_plan_closed_is_closed_for_later_plans(registry: Registry) -> None:
    task = await planned_task(registry)
    await registry.close_runs(task.id, unit(0), await take(registry, unit(0)), [1, 2])
    await registry.close_runs(task.id, unit(1), await take(registry, unit(1)), [2, 3])
    task = await change(registry, task, name="other")
    await registry.store_plan(task, Planned(THREE_UNITS))
    assert await registry.open_runs(task.id, unit(0, plan=2), 4) == [1, 3]
    assert await registry.open_runs(task.id, unit(0, plan=1), 4) == [3]
    await registry.close_runs(task.id, unit(1), 1, [2, 1])
    assert await registry.open_runs(task.id, unit(2, plan=2), 4) == [3]


async def test_prefixes_close_runs_apart(registry: Registry) -> None:
    layout = PlanLayout(("pull", "push"), 1)
    task = await planned_task(registry, layout=layout)
    pull, push = layout.unit_names(1)
    await registry.close_runs(task.id, pull, await take(registry, pull), [1])
    assert await registry.open_runs(task.id, pull, 2) == []
    assert await registry.open_runs(task.id, push, 2) == [1]


@pytest.mark.parametrize("state", [UnitState.STARTING, UnitState.RUNNING, UnitState.RETRYING, UnitState.DRAINING])
async def test_a_paused_task_has_not_stopped_while_a_unit_moves(registry: Registry, state: UnitState) -> None:
    task = await planned_task(registry)
    epoch = await take(registry, unit())
    await change(registry, task, desired=Desired.PAUSED)
    await registry.report([a_report(unit(), epoch, state=state)])
    assert not (await the_task(registry))[1]
    assert not (await registry.list_tasks(task.instance_id, 0, 1))[0][0][1]
    rows = await registry.progress(task.id, offset=0, limit=0, topic=None)
    assert rows is not None
    assert not rows.units_stopped
    await registry.report([a_report(unit(), epoch, state=UnitState.STOPPED)])
    assert (await the_task(registry))[1]


async def test_a_unit_about_to_start_counts_as_moving_before_its_first_report(registry: Registry) -> None:
    task = await planned_task(registry)
    epoch = await take(registry, unit())
    assert (await the_wanted(registry)).units[0].state is UnitState.STARTING
    await change(registry, task, desired=Desired.PAUSED)
    assert not (await the_task(registry))[1]
    await registry.report([a_report(unit(), epoch, state=UnitState.STOPPED)])
    assert (await the_task(registry))[1]


async def test_a_dead_owners_unit_counts_as_moving_until_somebody_took_it_and_said_stopped(registry: Registry) -> None:
    task = await planned_task(registry)
    dead = await take(registry, unit())
    await registry.report([a_report(unit(), dead, state=UnitState.RUNNING)])
    await change(registry, task, desired=Desired.PAUSED)
    epoch = await take(registry, unit())
    assert not (await the_task(registry))[1]
    await registry.report([a_report(unit(), epoch, state=UnitState.STOPPED)])
    assert (await the_task(registry))[1]
    assert await registry.report([a_report(unit(), dead, state=UnitState.RUNNING)]) == {("task-1", unit())}
    assert (await the_task(registry))[1]


async def test_keeping_a_paused_or_failed_task_alive_does_not_show(registry: Registry) -> None:
    task = await planned_task(registry)
    task = await change(registry, task, desired=Desired.PAUSED)
    await take(registry, unit())
    assert (await the_task(registry))[1]
    task = await change(registry, task, desired=Desired.RUNNING)
    await registry.fail_task(task.id, 1, 1, BROKEN)
    await take(registry, unit())
    assert (await the_wanted(registry)).units[0].state is UnitState.UNASSIGNED


async def test_a_retired_unit_of_a_dead_owner_does_not_keep_a_task_from_stopping(registry: Registry) -> None:
    task = await planned_task(registry)
    await registry.report([a_report(unit(), await take(registry, unit()))])
    task = await change(registry, task, desired=Desired.PAUSED, name="other")
    await registry.store_plan(task, Planned(PlanLayout(("dump",), 1)))
    assert not (await the_task(registry))[1]
    name = unit(plan=2)
    await registry.record_fenced(task.id, name, await take(registry, name), [1])
    assert (await the_task(registry))[1]


async def test_the_last_unit_to_be_gone_is_told_so(registry: Registry, another: Registry) -> None:
    task = await delete(registry, await planned_task(registry, layout=THREE_UNITS))
    epochs = [await take(registry, unit(index)) for index in range(3)]
    gone = await asyncio.gather(*((registry, another)[i % 2].mark_gone(task.id, unit(i), epochs[i]) for i in range(3)))
    assert gone.count(True) == 1
    assert [row.gone for row in (await the_wanted(registry)).units] == [True] * 3
    assert await registry.mark_gone(task.id, unit(), epochs[0])


async def test_a_restart_begins_above_a_later_run_that_a_target_holds(registry: Registry) -> None:
    task = await insert(registry, a_task())
    await registry.note_later_run(task.id, 7)
    await registry.note_later_run(task.id, 5)
    task = await change(registry, task, new_run=True)
    assert task.run == 8
    assert (await change(registry, task, new_run=True)).run == 9


async def test_what_is_wanted_costs_two_queries_whatever_the_number_of_tasks(registry: Registry) -> None:
    for number in range(10):
        await planned_task(registry, a_task(f"task-{number}"), TWO_UNITS)
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        wanted = await registry.wanted()
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert len(wanted) == 10
    assert sum(statement.startswith("SELECT") for statement in statements) == 2
    assert len(statements) <= 3
