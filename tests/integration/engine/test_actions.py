"""What users do to a running task, on real worker processes: pause, resume, modify, another number of units, restart, delete, back to
back, and what units do when their job fails. All tests share one service."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from smartconnect.control.progress_view import progress_view
from smartconnect.domain.progress import UnitState
from smartconnect.domain.task import Reason, Status
from smartconnect.sandbox.ports import free_port
from tests.support.toy_job import Trace
from tests.support.toy_service import ToyService, ToyTask, toy_service
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNITS = {"toy-1-0", "toy-1-1"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ToyService]:
    async with toy_service(tmp_path_factory.mktemp("actions"), free_port()) as running:
        yield running


async def _running(service: ToyService, name: str, **behaviour: object) -> ToyTask:
    task = await service.create(name, **behaviour)
    await task.shows(Status.RUNNING)
    await task.beats_again(0, UNITS)
    return task


def _lives(task: ToyTask) -> list[tuple[Trace, Trace | None]]:
    """Each incarnation: its first trace, and its `stopped` (None while it runs, or if it died)."""
    traces = task.traces()
    lives = []
    for start in (t for t in traces if t.what == "started"):
        same = [t for t in traces if (t.unit, t.epoch, t.pid) == (start.unit, start.epoch, start.pid) and t.at >= start.at]
        lives.append((start, next((t for t in same if t.what == "stopped"), None)))
    return lives


async def test_paused_task_stops_moving_and_resumes_in_the_same_run(service: ToyService) -> None:
    task = await _running(service, "pause-resume")
    await task.pause()
    await task.shows(Status.PAUSED)
    beats = len(task.traces("beat"))
    assert {t.unit for t in task.traces("stopped") if t.cause == "pause"} == UNITS
    assert {u.state for u in (await task.units()).values()} == {UnitState.STOPPED}
    resumed_at = time.monotonic()
    await task.resume()
    await task.beats_again(resumed_at, UNITS)
    assert not [t for t in task.traces("beat")[:beats] if t.at > resumed_at]
    assert {t.run for t in task.traces("beat")} == {1}


async def test_modified_task_drains_and_starts_again_with_the_new_revision(service: ToyService) -> None:
    task = await _running(service, "modify", drain_s=0.2)
    await task.modify(other="value")
    await eventually(lambda: {t.unit for t in task.traces("beat") if t.revision == 2} == UNITS, what="units run with revision 2")
    assert {t.cause for t in task.traces("stopped")} == {"modify"}
    for unit in UNITS:
        old, new = [life for life in _lives(task) if life[0].unit == unit]
        assert old[1] is not None
        assert (old[1].revision, new[0].revision) == (1, 2)
        assert old[1].at <= new[0].at
    assert await task.status() is Status.RUNNING


async def test_restart_drains_the_old_run_with_its_own_configuration_then_begins_a_new_one(service: ToyService) -> None:
    task = await _running(service, "restart", drain_s=0.2)
    await task.restart()
    await eventually(lambda: {t.unit for t in task.traces("beat", run=2)} == UNITS, what="units move data in run 2")
    await task.shows(Status.RUNNING)
    assert {(t.run, t.cause) for t in task.traces("stopped")} == {(1, "restart")}
    for unit in UNITS:
        old, new = [life for life in _lives(task) if life[0].unit == unit]
        assert old[1] is not None
        assert old[1].at <= new[0].at


async def test_old_units_are_drained_before_units_of_another_plan_start(service: ToyService) -> None:
    task = await _running(service, "plans", drain_s=0.4)
    await task.modify(units=3)
    three = {"toy-2-0", "toy-2-1", "toy-2-2"}
    await eventually(lambda: {t.unit for t in task.traces("beat")} >= three, what="three units of plan 2 run")
    await task.modify(units=2)
    two = {"toy-3-0", "toy-3-1"}
    await eventually(lambda: {t.unit for t in task.traces("beat")} >= two, what="two units of plan 3 run")
    for older, newer in ((UNITS, three), (three, two)):
        ends = [end.at for start, end in _lives(task) if start.unit in older and end is not None]
        starts = [start.at for start, _ in _lives(task) if start.unit in newer]
        assert len(ends) == len(older)
        assert max(ends) <= min(starts)
    await eventually(lambda: _names(task), what="older plans are retired")


async def _names(task: ToyTask) -> bool:
    return set(await task.units()) == {"toy-3-0", "toy-3-1"}


async def test_deleted_task_is_drained_cleaned_and_removed(service: ToyService) -> None:
    task = await _running(service, "delete", drain_s=0.2)
    await task.delete()
    await eventually(lambda: (task.folder / "task cleaned").exists(), what="what belongs to the whole task is cleaned")
    assert {t.unit for t in task.traces("stopped") if t.cause == "delete"} == UNITS
    assert {t.unit for t in task.traces("cleaned")} == UNITS
    stopped = {t.unit: t.at for t in task.traces("stopped")}
    assert all(stopped[t.unit] <= t.at for t in task.traces("cleaned"))

    async def gone() -> bool:
        return not any(w.task.id == task.id for w in await service.registry.wanted())

    await eventually(gone, what="its rows are gone")
    assert len(task.traces("cleaned")) == 2


async def test_actions_back_to_back_end_in_what_was_asked_last(service: ToyService) -> None:
    task = await service.create("back-to-back", drain_s=0.1)
    await task.restart()
    await task.pause()
    await task.resume()
    await task.modify(units=1)
    await task.restart()
    await eventually(lambda: bool(task.traces("beat", run=3)), 25, what="run 3 moves data")
    await task.shows(Status.RUNNING)
    await task.pause()
    await task.delete()
    await eventually(lambda: (task.folder / "task cleaned").exists(), 25, what="it is cleaned")


async def test_failing_unit_retries_with_its_reason_and_is_cured(service: ToyService) -> None:
    task = await _running(service, "retry")
    task.mood("retry")

    async def retrying() -> bool:
        units = (await task.units()).values()
        return all(u.state is UnitState.RETRYING and u.reason and u.reason.attempts >= 2 for u in units)

    await eventually(retrying, 20, what="both units show retrying")
    unit = (await task.units())["toy-1-0"]
    assert unit.reason is not None
    assert unit.reason.code == "retrying"
    assert unit.reason.message == "the toy is told to retry"
    assert await task.status() is Status.RUNNING
    task.mood("")
    await task.beats_again(time.monotonic(), UNITS, within_s=40)

    async def cured() -> bool:
        return all(u.state is UnitState.RUNNING and u.reason is None for u in (await task.units()).values())

    await eventually(cured, what="reasons are gone")


async def test_refused_credentials_are_tried_again_at_once_when_the_task_is_modified(service: ToyService) -> None:
    task = await _running(service, "refused")
    task.mood("refuse")

    async def refused() -> bool:
        return all(u.reason and u.reason.code == "target_refused" for u in (await task.units()).values())

    await eventually(refused, what="both units are refused")
    task.mood("")
    modified_at = time.monotonic()
    await task.modify(other="keys")
    await task.beats_again(modified_at, UNITS, within_s=10)
    assert min(t.at for t in task.traces("beat") if t.at > modified_at) - modified_at < 10


async def test_bug_in_a_job_is_an_internal_error_that_is_retried_and_logged_once(service: ToyService) -> None:
    task = await _running(service, "crash")
    task.mood("crash")

    async def shown() -> bool:
        return all(u.reason and u.reason.code == "internal_error" for u in (await task.units()).values())

    await eventually(shown, what="internal_error is shown")
    task.mood("")
    await task.beats_again(time.monotonic(), UNITS, within_s=40)
    tracebacks = [line for line in service.log if line.get("task") == task.id and "ZeroDivisionError" in line.get("exception", "")]
    assert tracebacks


async def test_fatal_error_of_one_unit_fails_the_task_and_drains_the_others(service: ToyService) -> None:
    task = await _running(service, "fatal")
    task.mood("fatal")
    await task.shows(Status.FAILED)
    task.mood("")
    failure = (await task.task()).failure
    assert failure is not None
    assert (failure.code, failure.message) == ("failed", "the toy is told to fail")

    async def none_moves() -> bool:
        return {u.state for u in (await task.units()).values()} <= {UnitState.FAILED, UnitState.STOPPED}

    await eventually(none_moves, what="no unit moves")
    resumed_at = time.monotonic()
    await task.resume()
    await task.beats_again(resumed_at, UNITS)
    await task.shows(Status.RUNNING)


async def test_hanging_unit_is_cancelled_after_its_drain_time_and_delays_no_other_task(service: ToyService) -> None:
    hanging = await _running(service, "hang")
    hanging.mood("hang")
    await eventually(lambda: _quiet(hanging), what="both units hang")
    asked_at = time.monotonic()
    await hanging.pause()
    other = await _running(service, "beside-hang")
    assert time.monotonic() - asked_at < 6
    await hanging.shows(Status.PAUSED, 30)
    assert time.monotonic() - asked_at > 6.5  # 2 s to drain, 5 s of grace
    hanging.mood("")
    await other.beats_again(time.monotonic(), UNITS)


async def test_task_whose_planning_hangs_delays_no_other_task(service: ToyService) -> None:
    stuck = await service.create("hang-planning", files={"mood": "hang planning"})
    other = await _running(service, "beside-planning")
    assert await other.status() is Status.RUNNING
    assert await stuck.status() is Status.CREATING
    assert stuck.traces() == []


async def test_why_planning_fails_is_shown_until_it_succeeds(service: ToyService) -> None:
    task = await service.create("refuse-planning", files={"mood": "refuse planning"})

    async def reason() -> Reason | None:
        rows = await service.registry.progress(task.id, offset=0, limit=0, topic=None)
        assert rows is not None
        return progress_view(rows, rows.task.create_time).reason

    async def tried_again() -> bool:
        shown = await reason()
        return shown is not None and shown.attempts > 1 and shown.message == "the toy cannot be planned"

    await eventually(tried_again, what="the reason of the second attempt is shown")
    assert await task.status() is Status.CREATING
    task.mood("")
    await task.shows(Status.RUNNING)
    assert await reason() is None


def _quiet(task: ToyTask) -> bool:
    return time.monotonic() - max(t.at for t in task.traces("beat")) > 0.5
