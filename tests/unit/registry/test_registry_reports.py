"""Reports: one transaction of a worker, an older epoch writes nothing, partitions cost little, progress shows what was reported last."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from smartconnect.control.ports import ProgressRows
from smartconnect.domain.planning import PlanLayout, Planned, UnitName
from smartconnect.domain.progress import Event, Level, PartitionProgress, PartitionState, UnitState
from smartconnect.domain.task import Desired, Status
from smartconnect.engine.unit import ReportedPosition
from smartconnect.registry import Registry
from smartconnect.registry.partitions import PackedPartitions, pack_partitions
from tests.unit.registry.givens import (
    BROKEN,
    NOW,
    THREE_UNITS,
    a_partition,
    a_progress,
    a_report,
    a_task,
    change,
    planned_task,
    take,
    the_task,
    the_wanted,
    unit,
)

ONE_UNIT = PlanLayout(("dump",), 1)


async def shown(registry: Registry, *, offset: int = 0, limit: int = 500, topic: str | None = None) -> ProgressRows:
    rows = await registry.progress("task-1", offset=offset, limit=limit, topic=topic)
    assert rows is not None
    return rows


async def test_progress_shows_what_was_reported(registry: Registry) -> None:
    task = await planned_task(registry)
    epoch = await take(registry, unit())
    report = a_report(unit(), epoch, state=UnitState.RETRYING, reason=BROKEN, partitions=[a_partition(reason=BROKEN)])
    assert await registry.report([report]) == set()
    rows = await shown(registry)
    assert rows.task == task
    assert [row.name for row in rows.units] == ["dump-1-0", "dump-1-1"]
    reported, silent = rows.units
    assert (reported.state, reported.owner, reported.epoch, reported.run) == (UnitState.RETRYING, "host-a/worker-1", 1, 1)
    assert (reported.reported_at, reported.reason) == (NOW + 2000, BROKEN)
    assert (reported.progress, reported.throughput) == (a_progress(), {"records_per_s": 120_000.0})
    assert (silent.state, silent.progress, silent.reported_at) == (UnitState.UNASSIGNED, None, 0)
    assert rows.partitions == [("dump-1-0", a_partition(reason=BROKEN))]
    row = (await the_wanted(registry)).units[0]
    assert (row.run, row.revision, row.state) == (1, 1, UnitState.RETRYING)


async def test_an_older_epochs_report_changes_nothing_and_is_given_back(registry: Registry, another: Registry) -> None:
    await planned_task(registry)
    sleeper = await take(registry, unit(0))
    mine = await take(another, unit(0))
    other = await take(registry, unit(1))
    await another.report([a_report(unit(0), mine, owner="b", partitions=[a_partition(position=9)])])
    late = a_report(unit(0), sleeper, partitions=[a_partition(position=1)], events=[Event(NOW, Level.INFO, "late", "late")])
    lost = await registry.report([late, a_report(unit(1), other), a_report(unit(7), 1), a_report(unit(0), 1, task_id="unknown")])
    assert lost == {("task-1", unit(0)), ("task-1", unit(7)), ("unknown", unit(0))}
    rows = await shown(registry)
    assert [row.owner for row in rows.units] == ["b", "host-a/worker-1"]
    assert [partition.position for _, partition in rows.partitions] == [9]
    assert rows.events == []


async def test_an_empty_report_is_nothing(registry: Registry) -> None:
    assert list(await registry.report([])) == []


async def test_a_task_reaches_running_when_every_unit_has_reported_in_its_run(registry: Registry) -> None:
    await planned_task(registry)
    first, second = await take(registry, unit(0)), await take(registry, unit(1))
    await registry.report([a_report(unit(0), first)])
    assert (await the_task(registry))[0].pending_status is Status.CREATING
    await registry.report([a_report(unit(0), first), a_report(unit(1), second)])
    assert (await the_task(registry))[0].pending_status is None


async def test_a_worker_reports_units_of_many_tasks_at_once(registry: Registry) -> None:
    reports = []
    for task_id in ("task-1", "task-2", "task-3"):
        await planned_task(registry, a_task(task_id))
        for index in range(2):
            epoch = await take(registry, unit(index), task_id)
            events = [Event(NOW + index, Level.INFO, "began", f"{task_id} {index}")]
            reports.append(a_report(unit(index), epoch, task_id=task_id, partitions=[a_partition(partition=index)], events=events))
    await registry.report(reports)
    for task_id in ("task-1", "task-2", "task-3"):
        rows = await registry.progress(task_id, offset=0, limit=9, topic=None)
        assert rows is not None
        assert [event.message for event in rows.events] == [f"{task_id} 1", f"{task_id} 0"]
        assert rows.partitions_total == 2
        assert rows.task.pending_status is None


async def test_what_is_not_told_again_stays_but_not_into_the_next_run(registry: Registry) -> None:
    task = await planned_task(registry, layout=ONE_UNIT)
    epoch = await take(registry, unit())
    await registry.report([a_report(unit(), epoch, partitions=[a_partition(position=5)])])
    await registry.report([a_report(unit(), epoch, progress=None, reported_at=NOW + 9000)])
    rows = await shown(registry)
    assert rows.units[0].progress == a_progress()
    assert rows.units[0].reported_at == NOW + 9000
    assert rows.partitions_total == 1
    assert await registry.counters(task.id, unit(), 1) == {"records_in": 10, "objects": 1}
    assert await registry.counters(task.id, unit(), 2) == {}
    await change(registry, task, new_run=True)
    await registry.report([a_report(unit(), epoch, run=2, progress=None)])
    rows = await shown(registry)
    assert (rows.units[0].progress, rows.units[0].run, rows.partitions_total) == (None, 2, 0)
    assert await registry.counters(task.id, unit(), 2) == {}
    assert await registry.reported_positions(task.id, 2, "dump") == {}


async def test_counters_are_those_of_any_owner_and_unknown_units_have_none(registry: Registry) -> None:
    task = await planned_task(registry)
    await registry.report([a_report(unit(), await take(registry, unit()))])
    await take(registry, unit())
    assert await registry.counters(task.id, unit(), 1) == {"records_in": 10, "objects": 1}
    assert await registry.counters(task.id, unit(1), 1) == {}
    assert await registry.counters("unknown", unit(), 1) == {}


async def test_after_a_new_plan_old_values_count_until_there_are_new_ones(registry: Registry) -> None:
    task = await planned_task(registry)
    for index in range(2):
        partitions = [a_partition(partition=index, position=100 + index), a_partition("idle", index, position=None)]
        await registry.report([a_report(unit(index), await take(registry, unit(index)), partitions=partitions)])
    task = await change(registry, task, name="other")
    await registry.store_plan(task, Planned(ONE_UNIT))
    rows = await shown(registry)
    assert [row.name for row in rows.units] == ["dump-2-0"]
    assert rows.earlier_counters == {"records_in": 20, "objects": 2}
    assert rows.partitions_total == 4
    name = unit(plan=2)
    await registry.report([a_report(name, await take(registry, name), partitions=[a_partition(partition=0, position=150)])])
    assert (await shown(registry)).partitions == [("dump-2-0", a_partition(partition=0, position=150))]
    assert await registry.reported_positions(task.id, 1, "dump") == {
        ("orders", 0): ReportedPosition(150, "id of orders"),
        ("orders", 1): ReportedPosition(101, "id of orders"),
    }


async def test_positions_are_of_before_the_pause_until_they_are_reported_again(registry: Registry) -> None:
    task = await planned_task(registry)
    report = a_report(unit(), await take(registry, unit()), partitions=[a_partition(position=100)])

    async def are_old() -> list[bool]:
        return [reported.before_pause for reported in (await registry.reported_positions(task.id, 1, "dump")).values()]

    await registry.report([report])
    task = await change(registry, task, desired=Desired.PAUSED)
    assert await are_old() == [False]
    task = await change(registry, task, desired=Desired.RUNNING)
    assert await are_old() == [True]
    await registry.report([replace(report, partitions=None)])
    assert await are_old() == [True]
    await registry.report([report])
    assert await are_old() == [False]


async def test_what_the_next_owner_must_know_of_a_partition_is_told(registry: Registry) -> None:
    task = await planned_task(registry, layout=ONE_UNIT)
    partitions = [
        a_partition("counted", position=7, initial_end=90, gaps=2, gap="retention"),
        a_partition("expected", position=7, expected=5),
        a_partition("begun", position=None, gaps=1),
        a_partition("idle", position=None),
    ]
    await registry.report([a_report(unit(), await take(registry, unit()), partitions=partitions)])
    assert await registry.reported_positions(task.id, 1, "dump") == {
        ("counted", 0): ReportedPosition(7, "id of counted", 90, 2, "retention"),
        ("expected", 0): ReportedPosition(5, "id of expected"),
        ("begun", 0): ReportedPosition(None, "id of begun", gaps=1),
    }


async def test_positions_of_one_direction_are_not_the_other_ones(registry: Registry) -> None:
    task = await planned_task(registry, layout=PlanLayout(("pull", "push"), 1))
    for prefix, position in (("pull", 100), ("push", 7)):
        name = UnitName(prefix, 1, 0)
        partitions = [a_partition(position=position, direction=prefix)]
        await registry.report([a_report(name, await take(registry, name), partitions=partitions)])
    for prefix, position in (("pull", 100), ("push", 7)):
        found = await registry.reported_positions(task.id, 1, prefix)
        assert {key: reported.offset for key, reported in found.items()} == {("orders", 0): position}
    assert await registry.reported_positions(task.id, 1, "dump") == {}


async def test_partitions_are_paged_in_order_over_all_units(registry: Registry) -> None:
    await planned_task(registry)
    rows = [
        a_partition(topic, number, direction=direction) for topic in "cab" for number in (10, 9) for direction in ("push", "pull")
    ]
    for index in range(2):
        await registry.report([a_report(unit(index), await take(registry, unit(index)), partitions=rows[index::2])])
    page = await shown(registry, offset=3, limit=3)
    assert page.partitions_total == 12
    keys = [(partition.topic, partition.partition, partition.direction) for _, partition in page.partitions]
    assert keys == [("a", 10, "push"), ("b", 9, "pull"), ("b", 9, "push")]
    of_topic = await shown(registry, topic="c", limit=100)
    assert (of_topic.partitions_total, len(of_topic.partitions)) == (4, 4)
    nothing = await shown(registry, topic="d", offset=50, limit=0)
    assert (nothing.partitions_total, nothing.partitions) == (0, [])


_numbers = st.none() | st.integers(0, 2**62)
_partitions = st.builds(
    PartitionProgress,
    topic=st.text(),
    partition=st.integers(0, 2**31 - 1),
    target=st.text(st.characters()),
    state=st.sampled_from(PartitionState),
    start_offset=_numbers,
    position=_numbers,
    end_offset=_numbers,
    lag_records=_numbers,
    lag_ms=_numbers,
    direction=st.none() | st.sampled_from(["pull", "push"]),
    target_position=_numbers,
    records_per_s=st.none() | st.floats(0, 1e12),
    bytes_per_s=st.none() | st.floats(0, 1e12),
    held_by_open_transaction=_numbers,
    gaps=st.integers(0, 9),
    topic_id=st.text(),
    reason=st.none() | st.just(BROKEN),
)


@given(st.lists(_partitions))
def test_packed_partitions_come_out_as_they_went_in(partitions: list[PartitionProgress]) -> None:
    packed = PackedPartitions(pack_partitions(partitions))
    assert [packed[number] for number in range(len(packed))] == partitions


def moved_on(row: PartitionProgress, chance: random.Random) -> PartitionProgress:
    position = (row.position or 0) + chance.randrange(10**6)
    return replace(row, position=position, lag_records=chance.randrange(10**6), lag_ms=chance.randrange(10**4))


async def test_five_thousand_busy_partitions_write_less_than_fifty_kilobytes_a_second(registry: Registry, file: Path) -> None:
    chance = random.Random(7)
    await planned_task(registry, layout=THREE_UNITS)
    epochs = [await take(registry, unit(index)) for index in range(3)]
    rows = [
        a_partition(f"topic-{number % 97}", number, position=chance.randrange(10**12), end_offset=chance.randrange(10**12))
        for number in range(5000)
    ]
    log = Path(f"{file}-wal")
    written = 0
    for second in range(0, 30, 2):
        moved = second in (0, 14)
        rows = [moved_on(row, chance) for row in rows]
        reports = [
            a_report(unit(i), epochs[i], partitions=rows[i::3] if moved else None, progress=a_progress(lag_ms=second))
            for i in range(3)
        ]
        await registry._database.erase_leftovers()
        await registry.report(reports)
        written += log.stat().st_size
    assert (await shown(registry)).partitions_total == 5000
    assert written / 30 < 50_000, f"{written / 30:.0f} bytes a second"
