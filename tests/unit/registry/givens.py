"""What the registry's tests are given: tasks, reports and a plan, with only what a test cares about spelled out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smartconnect.control.ports import TaskChange
from smartconnect.domain.planning import PlanLayout, Planned, Start, UnitName
from smartconnect.domain.progress import Event, PartitionProgress, PartitionState, Progress, UnitState
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Desired, Kind, Reason, Status, Task, TaskConfig
from smartconnect.engine.ports import UnitReport, WantedTask
from smartconnect.registry import Registry

INSTANCE = "instance-1"
NOW = 1_767_322_000_000
CONFIG = TaskConfig(
    topics="orders",
    sink_type="OBS_SINK",
    sink_task={"obs_bucket_name": "lake", "task_num": "2", "odd": "\ud800\0é"},
    options={"jitter": 0.5},
)
TWO_UNITS = PlanLayout(("dump",), 2)
THREE_UNITS = PlanLayout(("dump",), 3)
BROKEN = Reason("failed", "bucket lake: gone", NOW, attempts=3, next_try_at=NOW + 1, unit="dump-1-0")


def a_task(task_id: str = "task-1", **changes: Any) -> Task:
    """A dump that was just created: run 1 is wanted and shows CREATING."""
    values: dict[str, Any] = {
        "id": task_id,
        "project_id": "project-1",
        "instance_id": INSTANCE,
        "name": f"name of {task_id}",
        "kind": Kind.OBS_DUMP,
        "config": CONFIG,
        "desired": Desired.RUNNING,
        "run": 1,
        "revision": 1,
        "create_time": NOW,
        "run_started_at": NOW,
        "pending_status": Status.CREATING,
    }
    return Task(**(values | changes))


async def insert(
    registry: Registry,
    task: Task,
    *,
    secrets: Mapping[str, Secret] | None = None,
    max_tasks: int = 100,
    waits_for: Sequence[str] = (),
    events: Sequence[Event] = (),
) -> Task:
    """Insert a task into an enabled instance."""
    await registry.connector(task.instance_id, True)
    await registry.insert_task(task, secrets or {}, max_tasks=max_tasks, waits_for=waits_for, events=events)
    return task


async def planned_task(
    registry: Registry, task: Task | None = None, layout: PlanLayout = TWO_UNITS, starts: Sequence[Start] = ()
) -> Task:
    """A task with its first plan stored."""
    task = await insert(registry, task or a_task())
    assert await registry.store_plan(task, Planned(layout, starts))
    return task


async def change(registry: Registry, task: Task, **changes: Any) -> Task:
    return await registry.update_task(task, TaskChange(**changes))


async def delete(registry: Registry, task: Task) -> Task:
    return await change(registry, task, desired=Desired.DELETED)


async def the_task(registry: Registry, task_id: str = "task-1") -> tuple[Task, bool]:
    found = await registry.find_task(INSTANCE, task_id)
    assert found is not None
    return found


async def the_wanted(registry: Registry, task_id: str = "task-1") -> WantedTask:
    return next(wanted for wanted in await registry.wanted() if wanted.task.id == task_id)


def unit(index: int = 0, plan: int = 1) -> UnitName:
    return UnitName("dump", plan, index)


def a_progress(**changes: Any) -> Progress:
    values: dict[str, Any] = {
        "phase": "dumping",
        "phase_started_at": NOW,
        "percent": 41.7,
        "eta_ms": None,
        "counters": {"records_in": 10, "objects": 1},
        "lag_records": 5,
        "lag_ms": 100,
        "position": {"partition": 3, "offset": 7},
        "reason": BROKEN,
    }
    return Progress(**(values | changes))


def a_partition(topic: str = "orders", partition: int = 0, position: int | None = 290_000, **changes: Any) -> PartitionProgress:
    values: dict[str, Any] = {
        "topic": topic,
        "partition": partition,
        "target": f"lake/dump/{topic}",
        "state": PartitionState.MOVING,
        "start_offset": 0,
        "position": position,
        "end_offset": 696_000,
        "lag_records": 406_000,
        "lag_ms": 214_000,
        "records_per_s": 60_000.25,
        "topic_id": f"id of {topic}",
    }
    return PartitionProgress(**(values | changes))


def a_report(name: UnitName, epoch: int, *, task_id: str = "task-1", **changes: Any) -> UnitReport:
    values: dict[str, Any] = {
        "task_id": task_id,
        "unit": name,
        "epoch": epoch,
        "run": 1,
        "revision": 1,
        "state": UnitState.RUNNING,
        "owner": "host-a/worker-1",
        "reported_at": NOW + 2000,
        "progress": a_progress(),
        "reason": None,
        "throughput": {"records_per_s": 120_000.0},
        "partitions": None,
        "events": (),
    }
    return UnitReport(**(values | changes))


async def take(registry: Registry, name: UnitName, task_id: str = "task-1") -> int:
    return await registry.take_unit(task_id, name, "host-a/worker-1")
