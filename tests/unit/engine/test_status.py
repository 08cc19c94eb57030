"""What a unit's row says: state, reason, counters over owners, and partitions only when worth it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from smartconnect.domain.clock import Clock
from smartconnect.domain.planning import UnitName
from smartconnect.domain.progress import Level, PartitionProgress, PartitionState, Progress, UnitState
from smartconnect.domain.task import Reason
from smartconnect.engine.ledger import MAX_EVENTS, Outbox, RegistryLedger
from smartconnect.engine.ports import UnitReport
from smartconnect.engine.rates import Throughput
from smartconnect.engine.status import UnitStatus
from smartconnect.engine.unit import StopSignal
from tests.unit.engine.rows import REASON, a_progress, a_task

UNIT = UnitName("toy", 1, 0)
ROW = PartitionProgress("orders", 0, "", PartitionState.MOVING, 0, 5, 9, 4, 10)


class FakeTime:
    def __init__(self) -> None:
        self.now = 1000.0

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, wall=lambda: self.now)


class FakeRunner:
    def __init__(self, progress: Progress) -> None:
        self.shown = progress

    async def run(self, stop: StopSignal) -> None:
        """Not needed here."""

    def progress(self) -> Progress:
        return self.shown


class Unit:
    """A status, its runner and its ledger, with time in our hands."""

    def __init__(self, progress: Progress | None = None) -> None:
        self.time = FakeTime()
        self.changes = 0
        self.status = UnitStatus(a_task(), UNIT, owner="host/worker-0", clock=self.time.clock(), changed=self._changed)
        self.runner = FakeRunner(progress or a_progress())

    def _changed(self) -> None:
        self.changes += 1

    def taken(self, epoch: int = 1, base: Mapping[str, int] | None = None) -> RegistryLedger:
        self.status.taken(epoch, base or {})
        registry: object = None
        ledger = RegistryLedger(registry, a_task(), UNIT, epoch=epoch, base=self.status.base, outbox=self.status.outbox)  # type: ignore[arg-type] # not asked
        self.status.driving(self.runner, ledger)
        return ledger

    def report(self) -> UnitReport:
        report = self.status.report(15.0)
        assert report is not None
        return report

    def partitions(self) -> Sequence[PartitionProgress] | None:
        return self.report().partitions


def test_unit_that_was_never_taken_reports_nothing() -> None:
    assert Unit().status.report(15.0) is None


@pytest.mark.parametrize(
    ("phase", "own_reason", "shown"),
    [("starting", None, UnitState.STARTING), ("dumping", None, UnitState.RUNNING), ("dumping", REASON, UnitState.RETRYING)],
)
def test_state_follows_the_phase_and_the_units_own_reason(phase: str, own_reason: Reason | None, shown: UnitState) -> None:
    unit = Unit(a_progress(phase, reason=own_reason))
    unit.taken()
    assert (unit.report().state, unit.report().reason) == (shown, own_reason)


def test_starting_again_after_an_error_still_shows_retrying_until_work_is_reached() -> None:
    unit = Unit(a_progress("starting"))
    unit.taken()
    unit.status.retrying(REASON)
    assert (unit.report().state, unit.report().reason) == (UnitState.RETRYING, REASON)
    unit.taken(2)
    assert (unit.report().state, unit.report().reason) == (UnitState.RETRYING, REASON)
    unit.runner.shown = a_progress("dumping")
    assert (unit.report().state, unit.report().reason) == (UnitState.RUNNING, None)
    assert unit.status.reached_work()


def test_counters_go_on_from_earlier_owners_whether_the_job_asks_for_them_or_not() -> None:
    unit = Unit(a_progress(counters={"records_out": 3}))
    unit.taken(base={"records_out": 100, "objects": 2})
    report = unit.report()
    assert report.progress is not None
    assert report.progress.counters == {"records_out": 103, "objects": 2}


async def test_counters_never_fall_while_a_job_takes_over_the_earlier_ones() -> None:
    unit = Unit(a_progress(counters={"records_out": 0}))
    ledger = unit.taken(base={"records_out": 100})
    told = [unit.report().progress]
    assert await ledger.counters() == {"records_out": 100}
    told.append(unit.report().progress)
    unit.runner.shown = a_progress(counters={"records_out": 104})
    told.append(unit.report().progress)
    assert [progress.counters["records_out"] for progress in told if progress] == [100, 100, 104]


def test_counters_that_the_registry_missed_are_not_lost_with_the_next_incarnation() -> None:
    unit = Unit(a_progress(counters={"records_out": 50}))
    unit.taken()
    unit.status.retrying(REASON)
    unit.runner.shown = a_progress(counters={"records_out": 0})
    unit.taken(2, base={"records_out": 20})
    report = unit.report()
    assert report.progress is not None
    assert report.progress.counters["records_out"] == 50


def test_partitions_are_sent_at_first_then_only_when_changed_and_every_15_s() -> None:
    unit = Unit(a_progress(partitions=(ROW,), partitions_version=1))
    unit.taken()
    assert unit.partitions() == (ROW,)
    unit.time.now += 60
    assert unit.partitions() is None
    unit.runner.shown = a_progress(partitions=(ROW,), partitions_version=2)
    assert unit.partitions() == (ROW,)
    unit.runner.shown = a_progress(partitions=(ROW,), partitions_version=3)
    unit.time.now += 14
    assert unit.partitions() is None
    unit.time.now += 2
    assert unit.partitions() == (ROW,)


def test_partitions_stay_told_while_an_incarnation_of_the_same_epoch_does_not_know_them_yet() -> None:
    """A unit that was fenced although it is ours begins again without being taken: an empty list would make the registry forget all."""
    blocked = a_progress(partitions=(ROW,), partitions_version=1, blocked_version=1)
    unit = Unit(blocked)
    ledger = unit.taken()
    assert unit.partitions() == (ROW,)
    unit.status.retrying(REASON)
    unit.runner = FakeRunner(a_progress("starting"))
    unit.status.driving(unit.runner, ledger)
    unit.time.now += 60
    assert unit.partitions() is None
    unit.runner.shown = a_progress("starting", partitions=(ROW,), partitions_version=2, blocked_version=1)
    assert unit.partitions() == (ROW,)
    unit.runner.shown = a_progress(partitions_version=3)
    unit.time.now += 60
    assert unit.partitions() == ()


def test_blocked_partition_and_a_units_end_are_told_at_once() -> None:
    unit = Unit(a_progress(partitions=(ROW,), partitions_version=1))
    unit.taken()
    unit.report()
    unit.runner.shown = a_progress(partitions=(ROW,), partitions_version=2, blocked_version=1)
    assert unit.partitions() == (ROW,)
    unit.runner.shown = a_progress(partitions=(ROW,), partitions_version=3, blocked_version=1)
    unit.status.end(UnitState.STOPPED)
    assert unit.partitions() == (ROW,)


def test_partitions_of_a_report_that_was_refused_are_sent_again() -> None:
    unit = Unit(a_progress(partitions=(ROW,), partitions_version=1))
    unit.taken()
    unit.report()
    unit.status.refused()
    assert unit.partitions() == (ROW,)


async def test_who_waits_for_a_report_gets_one_with_partitions_and_hears_when_it_is_stored() -> None:
    unit = Unit(a_progress(partitions=(ROW,), partitions_version=1))
    ledger = unit.taken()
    unit.report()
    before, waits = unit.changes, asyncio.create_task(ledger.report())
    await asyncio.sleep(0)
    assert unit.changes == before + 1
    assert unit.report().partitions == (ROW,)
    unit.status.refused()
    later = asyncio.create_task(ledger.report())
    report = unit.report()
    assert report.partitions == (ROW,) and not waits.done()
    await asyncio.sleep(0)
    unit.status.delivered(report)
    await waits
    assert not later.done(), "it has asked after that report was made"
    unit.status.delivered(unit.report())
    await later
    assert unit.partitions() is None


def test_ended_unit_keeps_its_last_values_with_throughput_zero() -> None:
    unit = Unit(a_progress(counters={"records_out": 10}, lag_records=4))
    unit.taken()
    unit.report()
    unit.time.now += 1
    unit.runner.shown = a_progress(counters={"records_out": 110}, lag_records=4)
    assert unit.report().throughput["records_per_s"] == 100
    unit.status.end(UnitState.STOPPED)
    report = unit.report()
    assert report.state is UnitState.STOPPED
    assert report.progress is not None
    assert report.progress.lag_records == 4
    assert report.throughput["records_per_s"] == 0


def test_every_change_of_state_wakes_the_reporter() -> None:
    unit = Unit()
    unit.taken()
    unit.status.draining()
    unit.status.end(UnitState.STOPPED)
    assert unit.changes == 3


def test_outbox_keeps_the_newest_events_and_forgets_what_was_delivered() -> None:
    outbox = Outbox(UNIT, FakeTime().clock())
    for number in range(MAX_EVENTS + 10):
        outbox.add(Level.INFO, "code", str(number))
    waiting = outbox.waiting()
    assert [event.message for event in waiting] == [str(number) for number in range(10, MAX_EVENTS + 10)]
    outbox.add(Level.ERROR, "late", "late")
    outbox.delivered(waiting)
    assert [event.code for event in outbox.waiting()] == ["late"]
    assert outbox.waiting()[0].unit == "toy-1-0"


def test_rates_are_of_the_last_ten_seconds() -> None:
    throughput = Throughput()
    assert throughput.rates()["records_per_s"] == 0
    for second in range(30):
        throughput.note(float(second), {"records_out": 0 if second < 15 else (second - 15) * 100, "bytes_in": second})
    rates = throughput.rates()
    assert rates["window_ms"] == 10_000
    assert rates["records_per_s"] == pytest.approx(100, rel=0.15)
    assert rates["bytes_in_per_s"] == pytest.approx(1)
    throughput.note(31.0, {"records_out": 0})
    assert throughput.rates()["records_per_s"] == 0
