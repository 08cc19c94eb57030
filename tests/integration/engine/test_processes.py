"""What happens when processes die, freeze, or lose their parent or the registry: real processes, real signals, real SQLite."""

from __future__ import annotations

import os
import signal
import sqlite3
import time

import pytest

from smartconnect.domain.progress import UnitState
from smartconnect.domain.task import Status
from tests.integration.engine.conftest import StartService
from tests.support.toy_service import ToyService, ToyTask, alive
from tests.support.waiting import eventually

UNITS = {"toy-1-0", "toy-1-1", "toy-1-2"}


async def _running(service: ToyService, **behaviour: object) -> ToyTask:
    task = await service.create(units=3, **behaviour)
    await task.shows(Status.RUNNING)
    await task.beats_again(0, UNITS)
    return task


def _told(service: ToyService, event: str, child: str) -> bool:
    return any(line["event"] == event and line.get("child") == child for line in service.log)


def _owner_of(task: ToyTask, unit: str) -> int:
    return [trace.pid for trace in task.traces("started") if trace.unit == unit][-1]


async def test_killed_worker_is_replaced_and_its_units_run_elsewhere_within_3_s(start_service: StartService) -> None:
    async with start_service() as service:
        task = await _running(service)
        victim = _owner_of(task, "toy-1-0")
        killed_at = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        await task.beats_again(killed_at + 0.05, UNITS, within_s=10)
        started = [t for t in task.traces("started") if t.at > killed_at]
        assert {t.unit for t in started} == {"toy-1-0", "toy-1-2"}
        assert max(t.at for t in started) - killed_at < 3
        assert all(t.pid != victim and t.epoch == 2 for t in started)
        await eventually(lambda: service.starts_of("worker-0") == 2, what="a new worker is started")
        assert service.parent.poll() is None


async def test_buckets_go_home_to_the_new_worker_and_its_unit_never_runs_twice_at_once(start_service: StartService) -> None:
    async with start_service() as service:
        task = await _running(service, drain_s=0.3)
        os.kill(service.pid_of("worker-0"), signal.SIGKILL)
        await eventually(lambda: service.starts_of("worker-0") == 2, what="a new worker is started")
        home = service.pid_of("worker-0")
        await eventually(
            lambda: {t.unit for t in task.traces("started") if t.pid == home} == {"toy-1-0", "toy-1-2"},
            30,
            what="units at home again",
        )
        handed_over = [t for t in task.traces("stopped") if t.unit == "toy-1-0"][-1]
        came_home = [t for t in task.traces("started") if t.unit == "toy-1-0"][-1]
        assert handed_over.cause == "hand_over"
        assert handed_over.at <= came_home.at
        assert came_home.epoch == 3


async def test_frozen_worker_is_killed_and_its_units_move(start_service: StartService) -> None:
    async with start_service(frozen_after_s=2.0) as service:
        task = await _running(service)
        victim = _owner_of(task, "toy-1-1")
        frozen_at = time.monotonic()
        os.kill(victim, signal.SIGSTOP)
        await task.beats_again(frozen_at + 0.2, {"toy-1-1"}, within_s=15)
        taken = [t for t in task.traces("started") if t.unit == "toy-1-1"][-1]
        assert taken.pid != victim
        assert 1.0 < taken.at - frozen_at < 8
        await eventually(lambda: not alive(victim), what="the frozen worker is killed")
        ends = [(line["level"], line["event"]) for line in service.log if line.get("pid") == victim][1:]
        assert ends == [
            ("error", "process does not answer and is killed"),
            ("info", "process ended and is started again"),
        ], "the error is told once"


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (signal.SIGTERM, ("warning", "process was stopped from outside and is started again", None)),
        (signal.SIGKILL, ("error", "process ended unexpectedly and is started again", "Killed")),
        (signal.SIGRTMIN + 1, ("error", "process ended unexpectedly and is started again", "Real-time signal 1")),
    ],
)
async def test_the_log_tells_a_worker_that_was_stopped_from_one_that_died(
    start_service: StartService, number: int, told: tuple[str, str, str | None]
) -> None:
    async with start_service() as service:
        victim = service.pid_of("worker-0")
        await eventually(lambda: _told(service, "slots handed out", "worker-0"), what="the worker has said hello")
        os.kill(victim, number)
        await eventually(lambda: service.starts_of("worker-0") == 2, what="a new worker is started")
        ends = [(line["level"], line["event"], line.get("signal")) for line in service.log if line.get("pid") == victim][1:]
        assert ends == [told]
        service.parent.terminate()
        await eventually(lambda: service.parent.poll() == 0, 30, what="the service ends")
        assert service.log[-1]["event"] == "stopped"


async def test_children_stop_by_themselves_when_the_parent_is_killed(start_service: StartService) -> None:
    async with start_service() as service:
        task = await _running(service)
        children = [service.pid_of(name) for name in ("status", "worker-0", "worker-1")]
        service.parent.kill()
        await eventually(lambda: not any(alive(pid) for pid in children), 15, what="all children are gone")
        assert {t.unit for t in task.traces("stopped") if t.cause == "shutdown"} == UNITS


async def test_no_unit_notices_that_the_front_process_was_killed(start_service: StartService) -> None:
    async with start_service() as service:
        task = await _running(service)
        starts = len(task.traces("started"))
        os.kill(service.pid_of("status"), signal.SIGKILL)
        await eventually(lambda: service.starts_of("status") == 2, what="the front is started again")
        await service.ready()
        killed_at = time.monotonic()
        await task.beats_again(killed_at, UNITS)
        assert len(task.traces("started")) == starts
        assert (await service.get("/healthz"))[0] == 200


async def test_units_run_on_while_the_registry_is_locked_and_report_afterwards(start_service: StartService) -> None:
    async with start_service() as service:
        task = await _running(service)
        with sqlite3.connect(service.folder / "registry.db", isolation_level=None) as other:
            other.execute("BEGIN EXCLUSIVE")
            locked_at = time.monotonic()

            async def outage_is_seen() -> bool:
                lines = (await service.get("/metrics"))[1].splitlines()
                seen = [line for line in lines if line.startswith("smartconnect_registry_unreachable_seconds")]
                return len(seen) == 2 and all(float(line.split()[-1]) > 0 for line in seen)

            await eventually(outage_is_seen, 30, what="the metric shows the outage")
            now = time.monotonic()
            await task.beats_again(now, UNITS)
            other.execute("ROLLBACK")
        assert not [t for t in task.traces("started") if t.at > locked_at]
        beats = len(task.traces("beat"))

        async def told() -> bool:
            units = await task.units()
            return sum(u.progress.counters["records_out"] for u in units.values() if u.progress) >= beats

        await eventually(told, 15, what="the registry knows what was moved meanwhile")
        await service.ready()


async def test_stopping_the_parent_drains_every_unit(start_service: StartService) -> None:
    async with start_service() as service:
        task = await _running(service, drain_s=0.5)
        service.parent.terminate()
        await eventually(lambda: service.parent.poll() is not None, 20, what="the parent has ended")
        assert service.parent.returncode == 0
        assert {t.unit for t in task.traces("stopped") if t.cause == "shutdown"} == UNITS
        assert {u.state for u in (await task.units()).values()} == {UnitState.UNASSIGNED}


async def test_counters_continue_after_the_owner_was_killed(start_service: StartService) -> None:
    async with start_service() as service:
        task = await _running(service)

        async def reported() -> int:
            unit = (await task.units())["toy-1-0"]
            return unit.progress.counters["records_out"] if unit.progress else 0

        before = await eventually(lambda: _at_least(reported, 20), 20, what="20 records are reported")
        os.kill(_owner_of(task, "toy-1-0"), signal.SIGKILL)
        assert await reported() >= before
        after = await eventually(lambda: _at_least(reported, before + 5), 20, what="the counter goes on")
        assert after > before


async def _at_least(reported: object, wanted: int) -> int:
    value = await reported()  # type: ignore[operator] # an async function
    return value if value >= wanted else 0
