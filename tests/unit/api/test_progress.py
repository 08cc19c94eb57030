"""The progress resource over the registry's own rows (api.md §7). The roll-up itself is tested in `tests/unit/control`."""

from __future__ import annotations

from typing import Any

import pytest

from smartconnect.domain.planning import PlanLayout, Planned
from smartconnect.domain.progress import Event, Level, PartitionProgress, PartitionState, Progress, UnitState
from smartconnect.domain.task import Reason
from smartconnect.engine.ports import UnitReport
from tests.unit.api.kit import INSTANCE, NOW_MS, Client, Service, dump, task_url, tasks_url


def partition(topic: str, number: int, state: PartitionState = PartitionState.MOVING) -> PartitionProgress:
    return PartitionProgress(
        topic=topic,
        partition=number,
        target=f"lake/{topic}",
        state=state,
        start_offset=0,
        position=50,
        end_offset=100,
        lag_records=50,
        lag_ms=1000,
        records_per_s=5.0,
        bytes_per_s=500.0,
    )


@pytest.fixture
async def task(client: Client, service: Service) -> str:
    """A running task of two units that have reported."""
    created = (await client.post(tasks_url(), dump())).json()["id"]
    found = await service.registry.find_task(INSTANCE, created)
    assert found is not None
    await service.registry.store_plan(found[0], Planned(layout=PlanLayout(prefixes=("dump",), units_each=2)))
    await report(service, created, reported_at=NOW_MS)
    return str(created)


async def report(service: Service, task: str, *, reported_at: int, reason: Reason | None = None) -> None:
    wanted = next(each for each in await service.registry.wanted() if each.task.id == task)
    reports = []
    for unit in wanted.units:
        epoch = await service.registry.take_unit(task, unit.name, "host-a/worker-1")
        progress = Progress(
            phase="initial_copy",
            phase_started_at=NOW_MS,
            percent=50.0,
            eta_ms=1000,
            counters={"records_in": 10, "objects": 1},
            lag_records=50,
            lag_ms=1000,
        )
        reports.append(
            UnitReport(
                task_id=task,
                unit=unit.name,
                epoch=epoch,
                run=wanted.task.run,
                revision=wanted.task.revision,
                state=UnitState.RETRYING if reason else UnitState.RUNNING,
                owner="host-a/worker-1",
                reported_at=reported_at,
                progress=progress,
                reason=reason,
                throughput={"records_per_s": 5.0, "bytes_in_per_s": 500.0, "bytes_out_per_s": 400.0},
                partitions=[partition(f"t{unit.name.index}", number) for number in range(3)],
                events=[Event(reported_at, Level.WARNING, "gap", f"of {unit.name}", str(unit.name))],
            )
        )
    await service.registry.report(reports)


async def progress_of(client: Client, task: str, query: str = "") -> dict[str, Any]:
    answer = await client.get(task_url(task, "progress") + query)
    assert answer.status == 200
    return dict(answer.json())


async def test_a_running_task_shows_the_sum_of_its_units(client: Client, task: str) -> None:
    progress = await progress_of(client, task)
    assert (progress["status"], progress["health"], progress["run"]) == ("RUNNING", "ok", 1)
    assert (progress["phase"], progress["percent"], progress["eta_ms"]) == ("initial_copy", 50.0, 1000)
    assert progress["counters"]["records_in"] == 20
    assert progress["counters"]["bytes_in"] == 0
    assert progress["throughput"] == {"window_ms": 10000, "records_per_s": 10.0, "bytes_in_per_s": 1000.0, "bytes_out_per_s": 800.0}
    assert (progress["lag_records"], progress["lag_ms"], progress["lag_bytes"]) == (100, 1000, None)
    assert [unit["name"] for unit in progress["units"]] == ["dump-1-0", "dump-1-1"]
    assert progress["partitions_total"] == 6
    assert progress["partitions"][0]["unit"] == "dump-1-0"
    assert len(progress["events"]) == 2


async def test_partitions_are_paged_and_chosen_by_topic(client: Client, task: str) -> None:
    page = await progress_of(client, task, "?offset=2&limit=2")
    assert [(row["topic"], row["partition"]) for row in page["partitions"]] == [("t0", 2), ("t1", 0)]
    one_topic = await progress_of(client, task, "?topic=t1")
    assert [row["topic"] for row in one_topic["partitions"]] == ["t1"] * 3
    assert one_topic["partitions_total"] == 3
    assert (await progress_of(client, task, "?limit=0"))["partitions"] == []


@pytest.mark.parametrize("query", ["limit=5001", "limit=-1", "limit=x", "offset=-1", "offset=2147483648"])
async def test_bad_paging_is_invalid(client: Client, task: str, query: str) -> None:
    answer = await client.get(task_url(task, "progress") + f"?{query}")
    assert (answer.status, answer.code) == (400, "DMS.00400062")


async def test_after_15_seconds_without_a_report_units_are_unowned(client: Client, service: Service, task: str) -> None:
    service.clock.now_ms = NOW_MS + 15_000
    assert (await progress_of(client, task))["health"] == "ok"
    service.clock.now_ms = NOW_MS + 15_001
    progress = await progress_of(client, task)
    assert (progress["health"], progress["status"]) == ("unowned", "RUNNING")
    assert [unit["state"] for unit in progress["units"]] == ["unassigned"] * 2
    assert {row["state"] for row in progress["partitions"]} == {"unassigned"}
    assert progress["throughput"]["records_per_s"] == 0.0
    assert progress["as_of"] == NOW_MS


async def test_a_retrying_unit_shows_its_reason_in_the_task(client: Client, service: Service, task: str) -> None:
    reason = Reason("target_unreachable", "bucket lake: connection refused", since=NOW_MS, attempts=3, next_try_at=NOW_MS + 4000)
    await report(service, task, reported_at=NOW_MS + 1, reason=reason)
    progress = await progress_of(client, task)
    assert (progress["status"], progress["health"]) == ("RUNNING", "retrying")
    assert progress["reason"] == {
        "code": "target_unreachable",
        "message": "bucket lake: connection refused",
        "unit": "dump-1-0",
        "since": NOW_MS,
        "attempts": 3,
        "next_try_at": NOW_MS + 4000,
    }


async def test_a_new_run_does_not_show_the_old_runs_values(client: Client, task: str) -> None:
    await client.put(task_url(task, "restart"))
    progress = await progress_of(client, task)
    assert (progress["status"], progress["run"], progress["phase"]) == ("RESTARTING", 2, "starting")
    assert progress["counters"]["records_in"] == 0
    assert progress["lag_records"] is None
    assert progress["partitions"] == []
    assert [unit["reported_at"] for unit in progress["units"]] == [None, None]


async def test_a_restarted_task_is_running_when_its_units_have_reported(client: Client, service: Service, task: str) -> None:
    await client.put(task_url(task, "restart"))
    found = await service.registry.find_task(INSTANCE, task)
    assert found is not None
    await service.registry.store_plan(found[0], Planned(layout=PlanLayout(prefixes=("dump",), units_each=2)))
    await report(service, task, reported_at=NOW_MS + 1)
    assert (await progress_of(client, task))["status"] == "RUNNING"


async def test_unknown_tasks_have_no_progress(client: Client, task: str) -> None:
    await client.delete(task_url(task))
    assert (await client.get(task_url(task, "progress"))).code == "DMS.00404026"
