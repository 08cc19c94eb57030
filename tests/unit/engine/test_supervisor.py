"""What comes after each end of an incarnation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from smartconnect.domain.errors import AuthenticationFailed, Fatal, Fenced, RegistryUnreachable, Retryable
from smartconnect.domain.planning import UnitName
from smartconnect.domain.progress import UnitState
from smartconnect.engine.chores import UnitChore
from smartconnect.engine.decide import Duty
from smartconnect.engine.parts import EngineParts
from smartconnect.engine.status import UnitStatus
from smartconnect.engine.supervisor import UnitSupervisor, UnitWork
from smartconnect.engine.unit import StopCause, StopSignal, UnitContext
from smartconnect.telemetry.names import INCARNATIONS, UNIT_ERRORS
from tests.support.waiting import eventually
from tests.unit.engine.fakes import FakeJob, FakeRegistry, Life, hang, parts_of, raising, until_stopped
from tests.unit.engine.rows import a_task

UNIT = UnitName("toy", 1, 0)


class Case:
    """A supervisor on fakes."""

    def __init__(self, *lives: Life, registry: FakeRegistry | None = None, owned: Callable[[], bool] = lambda: True) -> None:
        self.registry = registry or FakeRegistry()
        self.job = FakeJob(*lives)
        self.parts: EngineParts = parts_of(self.registry, self.job)
        self.work = UnitWork(a_task(), UNIT, 2, owned)
        self.status = UnitStatus(a_task(), UNIT, owner="o", clock=self.parts.clock, changed=lambda: None)
        self.supervisor = UnitSupervisor(self.work, self.parts, self.status)
        self.running = asyncio.create_task(self.supervisor.run())

    async def lived(self, times: int) -> None:
        await eventually(lambda: len(self.job.contexts) >= times, 5, what=f"{times} incarnations")

    async def stopped(self, cause: StopCause = StopCause.PAUSE) -> UnitState:
        self.supervisor.stop(cause)
        async with asyncio.timeout(5):
            await self.running
        return self.status.final_state()


async def test_unit_gets_all_it_needs_and_its_secrets_cannot_be_logged() -> None:
    case = Case(until_stopped)
    await case.lived(1)
    context = case.job.contexts[0]
    assert (context.unit, context.units_each, context.epoch, context.shared) == (UNIT, 2, 1, "shared")
    assert case.parts.redactor.clean_text("x canary-of-the-task") == "x ***"
    assert await case.stopped() is UnitState.STOPPED


@pytest.mark.parametrize(
    ("cause", "state", "kept"),
    [
        (StopCause.PAUSE, UnitState.STOPPED, True),
        (StopCause.MODIFY, UnitState.STOPPED, False),
        (StopCause.HAND_OVER, UnitState.UNASSIGNED, False),
        (StopCause.SHUTDOWN, UnitState.UNASSIGNED, False),
    ],
)
async def test_stopped_unit_shows_why_and_a_resting_one_counts_as_kept_alive(
    cause: StopCause, state: UnitState, kept: bool
) -> None:
    case = Case(until_stopped)
    await case.lived(1)
    assert await case.stopped(cause) is state
    assert ("mark_kept_alive" in case.registry.calls) is kept


async def test_retryable_error_is_shown_and_tried_again_with_a_new_epoch() -> None:
    with capture_logs() as logged:
        case = Case(raising(Retryable("the broker is away", code="cluster_unreachable")), until_stopped)
        await case.lived(2)
        await eventually(lambda: "unit works again" in [line["event"] for line in logged], 5, what="the log tells the cure")
        await case.stopped()
    told = ["unit taken", "unit retries", "unit taken", "unit works again", "unit stopped"]
    assert [line["event"] for line in logged if line["log_level"] != "debug"] == told
    assert (logged[-1]["cause"], logged[-1]["log_level"]) == ("pause", "info")
    assert [context.epoch for context in case.job.contexts] == [1, 2]
    assert case.parts.meters.value(UNIT_ERRORS, ("t1", "toy-1-0", "cluster_unreachable")) == 1
    assert case.parts.meters.value(INCARNATIONS, ("t1", "toy-1-0")) == 2
    assert [event.code for event in case.status.outbox.waiting()] == ["cluster_unreachable"]


async def test_refused_credentials_wait_30_s_unless_settings_change_or_the_unit_is_stopped() -> None:
    case = Case(raising(AuthenticationFailed("wrong key")), raising(AuthenticationFailed("wrong key")), until_stopped)
    await eventually(lambda: case.status.report(15.0) and case.status.report(15.0).reason, 5, what="the reason")  # type: ignore[union-attr] # just asked
    reason = case.status.report(15.0).reason  # type: ignore[union-attr] # it reported
    assert reason is not None
    assert reason.next_try_at is not None
    assert 29_000 < reason.next_try_at - reason.since <= 31_000
    case.supervisor.renew()
    await case.lived(2)
    assert await case.stopped() is UnitState.STOPPED


async def test_fatal_error_fails_the_task_even_if_the_registry_is_away_at_first() -> None:
    registry = FakeRegistry(errors={"fail_task": [RegistryUnreachable("away"), RegistryUnreachable("away")]})
    case = Case(raising(Fatal("bucket gone", code="bucket_gone")), registry=registry)
    async with asyncio.timeout(5):
        await case.running
    assert [(reason.code, reason.message, reason.unit) for reason in registry.failed] == [("bucket_gone", "bucket gone", "toy-1-0")]
    assert case.status.final_state() is UnitState.FAILED


async def test_fenced_unit_goes_on_with_its_epoch_if_the_registry_says_it_is_ours() -> None:
    case = Case(raising(Fenced("stale starter")), until_stopped)
    await case.lived(2)
    assert [context.epoch for context in case.job.contexts] == [1, 1]
    await case.stopped()


async def test_fenced_unit_is_taken_again_if_the_epoch_is_lost_but_the_slot_is_ours() -> None:
    case = Case(raising(Fenced("somebody newer")), until_stopped, registry=FakeRegistry(current=False))
    await case.lived(2)
    assert [context.epoch for context in case.job.contexts] == [1, 2]
    await case.stopped()


async def test_fenced_unit_ends_if_the_slot_is_not_ours_any_more() -> None:
    owned = [True, False]
    case = Case(raising(Fenced("somebody newer")), registry=FakeRegistry(current=False), owned=lambda: owned.pop(0))
    async with asyncio.timeout(5):
        await case.running
    assert len(case.job.contexts) == 1
    assert case.status.final_state() is UnitState.UNASSIGNED


async def test_sleeper_that_takes_a_unit_whose_slot_has_moved_does_not_start_it() -> None:
    case = Case(until_stopped, owned=lambda: False)
    async with asyncio.timeout(5):
        await case.running
    assert case.registry.calls == ["take_unit"]
    assert case.job.contexts == []


async def test_lost_epoch_cuts_the_incarnation_at_once() -> None:
    cut: list[str] = []

    async def life(_stop: StopSignal, _context: UnitContext) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cut.append("cut")
            raise

    case = Case(life, until_stopped, registry=FakeRegistry(current=False))
    await case.lived(1)
    case.supervisor.lose()
    await case.lived(2)
    assert cut == ["cut"]
    await case.stopped()


async def test_unit_that_does_not_drain_is_cancelled_and_that_is_told() -> None:
    case = Case(hang)
    await case.lived(1)
    assert await case.stopped() is UnitState.STOPPED
    assert [event.code for event in case.status.outbox.waiting()] == ["drain_cut_short"]
    assert "mark_kept_alive" not in case.registry.calls


async def test_unit_that_ignores_even_its_cancellation_does_not_hold_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smartconnect.engine.supervisor._CANCEL_WAIT_S", 0.05)
    released = asyncio.Event()

    async def deaf(_stop: StopSignal, _context: UnitContext) -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    case = Case(deaf)
    await case.lived(1)
    assert await case.stopped() is UnitState.STOPPED
    released.set()


async def test_bug_is_an_internal_error_without_its_text() -> None:
    case = Case(raising(KeyError("secret detail")), until_stopped)
    await case.lived(2)
    event = case.status.outbox.waiting()[0]
    assert event.code == "internal_error"
    assert "secret detail" not in event.message
    await case.stopped()


async def test_registry_that_is_away_delays_the_take_over_and_nothing_else() -> None:
    registry = FakeRegistry(errors={"take_unit": [RegistryUnreachable("away")] * 3})
    case = Case(until_stopped, registry=registry)
    await case.lived(1)
    assert registry.calls.count("take_unit") == 4
    await case.stopped()


async def test_changed_settings_drain_the_unit_and_begin_a_new_incarnation_of_the_same_task() -> None:
    causes: list[StopCause | None] = []

    async def life(stop: StopSignal, _context: UnitContext) -> None:
        await stop.wait()
        causes.append(stop.cause)

    case = Case(life)
    await case.lived(1)
    case.supervisor.renew()
    await case.lived(2)
    await case.stopped(StopCause.SHUTDOWN)
    assert causes == [StopCause.MODIFY, StopCause.SHUTDOWN]


async def test_fatal_error_while_draining_does_not_fail_a_task_that_was_paused() -> None:
    async def life(stop: StopSignal, _context: UnitContext) -> None:
        await stop.wait()
        raise Fatal("too late to matter")

    case = Case(life)
    await case.lived(1)
    assert await case.stopped() is UnitState.STOPPED
    assert case.registry.failed == []


async def test_chore_is_retried_until_it_is_done_and_reports_that_the_unit_stands_still() -> None:
    async def once(_stop: StopSignal, _context: UnitContext) -> None:
        """Kept."""

    registry, job = FakeRegistry(), FakeJob(raising(Retryable("cluster away")), raising(ValueError("bug")), once)
    chore = UnitChore(Duty.KEEP, UnitWork(a_task(), UNIT, 2, lambda: True), parts_of(registry, job))
    async with asyncio.timeout(5):
        await chore.run()
    assert registry.calls[-2:] == ["mark_kept_alive", "report"]
    assert [report.state for report in registry.reports] == [UnitState.STOPPED]
    assert [event.code for event in registry.reports[0].events] == ["retrying"]


async def test_hanging_chore_that_is_not_wanted_any_more_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smartconnect.engine.chores.STOP_GRACE_S", 0.05)
    registry, job = FakeRegistry(), FakeJob(hang)
    chore = UnitChore(Duty.CLEAN, UnitWork(a_task(), UNIT, 2, lambda: True), parts_of(registry, job))
    doing = asyncio.create_task(chore.run())
    await eventually(lambda: job.contexts, 5, what="it hangs")
    chore.stop(StopCause.HAND_OVER)
    async with asyncio.timeout(5):
        await doing
    assert "mark_gone" not in registry.calls
