"""Planning: the first result counts, numbers are never used again, slots are the smallest free ones, older plans retire."""

from __future__ import annotations

import asyncio

import pytest

from smartconnect.domain.errors import Fenced
from smartconnect.domain.planning import PlanLayout, Planned, Start
from smartconnect.domain.task import Desired, Reason, Status, Task
from smartconnect.engine.unit import OlderPlan
from smartconnect.registry import Registry
from tests.unit.registry.givens import (
    BROKEN,
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


async def slots(registry: Registry, task_id: str = "task-1") -> dict[str, int]:
    return {str(row.name): row.slot for row in (await the_wanted(registry, task_id)).units}


async def modified(registry: Registry, task: Task) -> Task:
    return await change(registry, task, name=f"{task.name}'")


async def test_a_plan_is_wanted_with_fresh_units_in_the_smallest_slots(registry: Registry) -> None:
    task = await planned_task(registry)
    wanted = await the_wanted(registry)
    assert wanted.task == task
    assert wanted.plan is not None
    assert (wanted.plan.plan, wanted.plan.prefixes, wanted.plan.units_each) == (1, ("dump",), 2)
    assert (wanted.plan.run, wanted.plan.revision) == (1, 1)
    assert await slots(registry) == {"dump-1-0": 0, "dump-1-1": 1}
    assert [(row.epoch, row.owner, row.state.value, row.run, row.gone) for row in wanted.units] == [
        (0, "", "unassigned", 0, False)
    ] * 2


async def test_a_task_that_waits_for_its_first_start_is_not_wanted_nor_planned(registry: Registry) -> None:
    task = await insert(registry, a_task(desired=Desired.WAITING, run=0, pending_status=None))
    assert await registry.wanted() == []
    assert not await registry.store_plan(task, Planned(TWO_UNITS))


async def test_of_two_reconcilers_the_first_stored_counts(registry: Registry, another: Registry) -> None:
    task = await insert(registry, a_task())
    results = [Planned(TWO_UNITS, [Start("dump", "orders", 0, offset)], {"n": str(offset)}) for offset in range(10)]
    outcomes = await asyncio.gather(*((registry, another)[n % 2].store_plan(task, planned) for n, planned in enumerate(results)))
    assert outcomes.count(True) == 1
    winner = outcomes.index(True)
    assert await registry.starts(task.id, 1, "dump") == {("orders", 0): winner}
    assert await registry.latest_facts(task.id, 1) == {"n": str(winner)}
    assert await slots(registry) == {"dump-1-0": 0, "dump-1-1": 1}


async def test_a_plan_for_what_the_task_no_longer_is_is_not_stored(registry: Registry) -> None:
    old = await insert(registry, a_task())
    new = await change(registry, old, new_run=True)
    assert not await registry.store_plan(old, Planned(TWO_UNITS))
    newer = await modified(registry, new)
    assert not await registry.store_plan(new, Planned(TWO_UNITS))
    await delete(registry, newer)
    assert not await registry.store_plan(newer, Planned(TWO_UNITS))
    assert (await the_wanted(registry)).plan is None
    assert await registry.starts(old.id, 1, "dump") == {}


async def test_the_same_layout_keeps_the_plan_and_confirms_it(registry: Registry) -> None:
    task = await change(registry, await planned_task(registry), new_run=True)
    assert await registry.store_plan(task, Planned(TWO_UNITS))
    assert not await registry.store_plan(task, Planned(THREE_UNITS))
    wanted = await the_wanted(registry)
    assert wanted.plan is not None
    assert (wanted.plan.plan, wanted.plan.run, wanted.plan.revision) == (1, 2, 1)
    assert len(wanted.units) == 2


async def test_plan_numbers_are_never_used_again(registry: Registry) -> None:
    task = await planned_task(registry)
    for number, layout in enumerate((THREE_UNITS, TWO_UNITS, THREE_UNITS, PlanLayout(("pull", "push"), 3)), start=2):
        task = await change(registry, await modified(registry, task), new_run=True)
        assert await registry.store_plan(task, Planned(layout))
        plan = (await the_wanted(registry)).plan
        assert plan is not None
        assert plan.plan == number
    assert [older.plan for older in await registry.older_plans(task.id, 5)] == [1, 2, 3, 4]
    assert set(await slots(registry)) >= {"dump-1-0", "pull-5-2", "push-5-2"}
    assert sorted((await slots(registry)).values()) == list(range(2 + 3 + 2 + 3 + 6))


async def test_a_paused_task_is_planned_too(registry: Registry) -> None:
    task = await change(registry, await planned_task(registry), desired=Desired.PAUSED)
    task = await modified(registry, task)
    assert await registry.store_plan(task, Planned(THREE_UNITS))


async def test_slots_are_shared_out_over_all_tasks_and_used_again_when_free(registry: Registry, another: Registry) -> None:
    tasks = [await insert(registry, a_task(f"task-{n}")) for n in range(6)]
    await asyncio.gather(*((registry, another)[n % 2].store_plan(task, Planned(TWO_UNITS)) for n, task in enumerate(tasks)))
    taken = [slot for task in tasks for slot in (await slots(registry, task.id)).values()]
    assert sorted(taken) == list(range(12))
    freed = set((await slots(registry, "task-2")).values())
    await delete(registry, tasks[2])
    await registry.remove_task("task-2", "")
    await planned_task(registry, a_task("task-9"), PlanLayout(("dump",), 3))
    assert set((await slots(registry, "task-9")).values()) == freed | {12}


async def test_starts_are_stored_once_and_later_revisions_only_add(registry: Registry) -> None:
    task = await planned_task(registry, starts=[Start("dump", "orders", 0, 5)])
    assert list(await registry.known_starts(task.id, 1)) == [Start("dump", "orders", 0, 5)]
    task = await modified(registry, task)
    await registry.store_plan(
        task, Planned(TWO_UNITS, [Start("dump", "orders", 0, 99), Start("dump", "orders", 1, 7), Start("x", "t", 0, 1)])
    )
    assert await registry.starts(task.id, 1, "dump") == {("orders", 0): 5, ("orders", 1): 7}
    task = await change(registry, task, new_run=True)
    assert await registry.starts(task.id, 2, "dump") == {}
    await registry.store_plan(task, Planned(TWO_UNITS, [Start("dump", "orders", 0, 99)]))
    assert await registry.starts(task.id, 2, "dump") == {("orders", 0): 99}
    assert await registry.starts(task.id, 1, "dump") == {("orders", 0): 5, ("orders", 1): 7}


async def test_facts_are_those_of_the_last_confirmed_plan_or_all_that_ever_were(registry: Registry) -> None:
    task = await insert(registry, a_task())
    assert await registry.latest_facts(task.id, 1) == {}
    for facts in ({"path": "a", "n": "1"}, {"path": "b"}, {"path": "a"}):
        assert await registry.store_plan(task, Planned(TWO_UNITS, facts=facts))
        assert await registry.latest_facts(task.id, 1) == facts
        task = await modified(registry, task)
    task = await change(registry, task, new_run=True)
    assert await registry.latest_facts(task.id, 2) == {}
    await registry.store_plan(task, Planned(TWO_UNITS, facts={"path": "c"}))
    assert await registry.facts(task.id, "path") == ["a", "b", "c"]
    assert await registry.facts(task.id, "unknown") == []


async def test_a_planning_failure_shows_until_there_is_a_plan_or_the_task_moves_on(registry: Registry) -> None:
    async def shown() -> Reason | None:
        rows = await registry.progress(task.id, offset=0, limit=0, topic=None)
        assert rows is not None
        return rows.planning_failure

    task = await insert(registry, a_task())
    assert await shown() is None
    await registry.note_planning_failure(task, BROKEN)
    assert await shown() == BROKEN
    newer = await modified(registry, task)
    assert await shown() is None
    await registry.note_planning_failure(task, BROKEN)
    assert await shown() is None
    await registry.note_planning_failure(newer, BROKEN)
    paused = await change(registry, newer, desired=Desired.PAUSED)
    assert await shown() == BROKEN
    assert await registry.store_plan(paused, Planned(TWO_UNITS))
    assert await shown() is None


async def test_a_task_without_units_runs_when_it_is_planned(registry: Registry) -> None:
    await planned_task(registry, layout=PlanLayout((), 2))
    assert (await the_task(registry))[0].pending_status is None


async def test_a_plan_retires_when_every_unit_of_a_newer_one_has_fenced_it(registry: Registry) -> None:
    task = await modified(registry, await planned_task(registry))
    await registry.store_plan(task, Planned(THREE_UNITS))
    assert await registry.older_plans(task.id, 2) == [OlderPlan(1, TWO_UNITS.unit_names(1))]
    for index in range(3):
        assert len(await registry.older_plans(task.id, 2)) == 1
        name = unit(index, plan=2)
        epoch = await take(registry, name)
        await registry.record_fenced(task.id, name, epoch, [1])
        await registry.record_fenced(task.id, name, epoch, [1])
    assert await registry.older_plans(task.id, 2) == []
    assert set(await slots(registry)) == {"dump-2-0", "dump-2-1", "dump-2-2"}
    with pytest.raises(Fenced):
        await take(registry, unit(0, plan=1))
    await planned_task(registry, a_task("task-2"))
    assert await slots(registry, "task-2") == {"dump-1-0": 0, "dump-1-1": 1}


async def test_fences_of_different_plans_do_not_add_up(registry: Registry) -> None:
    task = await modified(registry, await planned_task(registry))
    await registry.store_plan(task, Planned(THREE_UNITS))
    for index in range(2):
        await registry.record_fenced(task.id, unit(index, plan=2), await take(registry, unit(index, plan=2)), [1])
    task = await modified(registry, task)
    await registry.store_plan(task, Planned(TWO_UNITS))
    await registry.record_fenced(task.id, unit(0, plan=3), await take(registry, unit(0, plan=3)), [1, 2, 3, 4])
    assert [older.plan for older in await registry.older_plans(task.id, 3)] == [1, 2]
    await registry.record_fenced(task.id, unit(1, plan=3), await take(registry, unit(1, plan=3)), [2, 1])
    assert await registry.older_plans(task.id, 3) == []
    assert set(await slots(registry)) == {"dump-3-0", "dump-3-1"}


async def test_an_older_owner_cannot_record_a_fence(registry: Registry) -> None:
    task = await modified(registry, await planned_task(registry))
    await registry.store_plan(task, Planned(PlanLayout(("dump",), 1)))
    name = unit(0, plan=2)
    sleeper = await take(registry, name)
    await take(registry, name)
    with pytest.raises(Fenced):
        await registry.record_fenced(task.id, name, sleeper, [1])
    assert len(await registry.older_plans(task.id, 2)) == 1


async def test_running_is_reached_only_under_a_plan_of_this_run(registry: Registry) -> None:
    task = await planned_task(registry, layout=PlanLayout(("dump",), 1))
    epoch = await take(registry, unit())
    await registry.report([a_report(unit(), epoch)])
    assert (await the_task(registry))[0].pending_status is None
    task, _ = await the_task(registry)
    task = await change(registry, task, new_run=True, pending_status=Status.RESTARTING)
    await registry.report([a_report(unit(), epoch, run=1)])
    await registry.report([a_report(unit(), epoch, run=2)])
    assert (await the_task(registry))[0].pending_status is Status.RESTARTING
    await registry.store_plan(task, Planned(PlanLayout(("dump",), 1)))
    await registry.report([a_report(unit(), epoch, run=1)])
    assert (await the_task(registry))[0].pending_status is Status.RESTARTING
    await registry.report([a_report(unit(), epoch, run=2)])
    assert (await the_task(registry))[0].pending_status is None
