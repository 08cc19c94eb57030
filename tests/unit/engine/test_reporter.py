"""Reports while the registry is away, lost epochs, and units that have ended."""

from __future__ import annotations

import asyncio
from typing import cast

from smartconnect.domain.clock import Clock
from smartconnect.domain.errors import RegistryUnreachable
from smartconnect.domain.planning import UnitName
from smartconnect.domain.progress import Level, PartitionProgress, PartitionState, Progress, UnitState
from smartconnect.engine.health import RegistryHealth
from smartconnect.engine.ledger import RegistryLedger
from smartconnect.engine.ports import EngineRegistry
from smartconnect.engine.reporter import Reporter
from smartconnect.engine.status import UnitStatus
from smartconnect.engine.unit import StopSignal
from smartconnect.telemetry.meters import Meters
from smartconnect.telemetry.names import REGISTRY_UNREACHABLE, UNITS
from tests.unit.engine.fakes import FakeRegistry
from tests.unit.engine.rows import a_progress, a_task

UNIT = UnitName("toy", 1, 0)


class Case:
    def __init__(self) -> None:
        self.registry = FakeRegistry()
        self.now = 100.0
        self.meters = Meters()
        self.clock = Clock(monotonic=lambda: self.now, wall=lambda: self.now)
        self.health = RegistryHealth(self.clock, self.meters)
        self.workers = 1
        self.reporter = Reporter(
            cast(EngineRegistry, self.registry),
            self.health,
            clock=self.clock,
            meters=self.meters,
            workers=lambda: self.workers,
        )

    def unit(self, epoch: int = 1, name: UnitName = UNIT) -> UnitStatus:
        status = UnitStatus(a_task(), name, owner="o", clock=self.clock, changed=self.reporter.changed)
        self.reporter.watch(status)
        if epoch:
            status.taken(epoch, {})
        return status


async def test_all_units_go_into_one_report() -> None:
    case = Case()
    for index in range(3):
        case.unit(name=UnitName("toy", 1, index))
    await case.reporter.flush()
    assert case.registry.calls == ["report"]
    assert len(case.registry.reports) == 3
    assert case.meters.value(UNITS, ("starting",)) == 3


async def test_outage_is_measured_keeps_one_row_for_each_unit_and_loses_no_event() -> None:
    case = Case()
    status = case.unit()
    case.registry.errors["report"] = [RegistryUnreachable("locked") for _ in range(3)]
    for number in range(3):
        status.outbox.add(Level.WARNING, "code", str(number))
        await case.reporter.flush()
        case.now += 2
    case.health.measure()
    assert case.meters.value(REGISTRY_UNREACHABLE) == 6
    assert case.health.trouble == "locked"
    await case.reporter.flush()
    case.health.measure()
    assert case.meters.value(REGISTRY_UNREACHABLE) == 0
    assert case.health.trouble == ""
    assert [event.message for event in case.registry.reports[0].events] == ["0", "1", "2"]
    await case.reporter.flush()
    assert case.registry.reports[1].events == ()


async def test_reading_again_does_not_hide_that_writing_fails() -> None:
    case = Case()
    case.unit()
    case.registry.errors["report"] = [RegistryUnreachable("locked")]
    await case.reporter.flush()
    from smartconnect.engine.health import Way

    case.health.answered(Way.READ)
    assert case.health.trouble == "locked"


async def test_ended_unit_stays_until_its_last_row_is_stored() -> None:
    case = Case()
    status = case.unit()
    ends: list[bool] = []
    case.reporter.on_told_end = lambda: ends.append(True)
    status.end(UnitState.STOPPED)
    case.registry.errors["report"] = [RegistryUnreachable("away")]
    await case.reporter.flush()
    assert case.reporter.undelivered(status.key())
    assert ends == []
    await case.reporter.flush()
    assert not case.reporter.undelivered(status.key())
    assert ends == [True]
    assert case.registry.reports[-1].state is UnitState.STOPPED
    await case.reporter.flush()
    assert len(case.registry.reports) == 1


async def test_events_of_an_ended_unit_are_told_by_the_next_one_of_the_same_name() -> None:
    case = Case()
    first = case.unit()
    first.outbox.add(Level.ERROR, "last_words", "x")
    first.end(UnitState.STOPPED)
    case.unit(epoch=2)
    await case.reporter.flush()
    assert [[event.code for event in report.events] for report in case.registry.reports] == [["last_words"]]
    assert case.registry.reports[0].epoch == 2


async def test_unit_with_a_lost_epoch_is_told_so_unless_it_was_taken_again_meanwhile() -> None:
    case = Case()
    status = case.unit()
    lost: list[UnitStatus] = []
    case.reporter.on_lost = lost.append
    case.registry.lost = {status.key()}
    waits = asyncio.create_task(status.outbox.stored())
    await asyncio.sleep(0)
    await case.reporter.flush()
    assert lost == [status]
    assert not waits.done(), "nothing of it is stored"
    waits.cancel()


async def test_unit_that_was_never_taken_and_has_ended_is_forgotten() -> None:
    case = Case()
    status = case.unit(epoch=0)
    status.end(UnitState.UNASSIGNED)
    await case.reporter.flush()
    assert not case.reporter.undelivered(status.key())
    assert case.registry.calls == []


async def test_bug_in_the_registry_does_not_end_the_reporter() -> None:
    case = Case()
    case.unit()
    case.registry.errors["report"] = [ZeroDivisionError()]
    await case.reporter.flush()
    await case.reporter.flush()
    assert len(case.registry.reports) == 1


class Rows:
    """A runner with so many partitions, each of which has moved whenever it is asked."""

    def __init__(self, number: int) -> None:
        self._row = PartitionProgress("orders", 0, "", PartitionState.MOVING, 0, 5, 9, 4, 10)
        self._number, self._version = number, 0

    async def run(self, stop: StopSignal) -> None:
        await stop.wait()

    def progress(self) -> Progress:
        self._version += 1
        return a_progress(partitions=(self._row,) * self._number, partitions_version=self._version)


async def reports_with_partitions(number: int, workers: int) -> int:
    """Of the 30 reports of a minute."""
    case = Case()
    case.workers = workers
    status = case.unit()
    status.driving(Rows(number), cast(RegistryLedger, None))
    for _ in range(30):
        await case.reporter.flush()
        case.now += 2
    return sum(report.partitions is not None for report in case.registry.reports)


async def test_few_partitions_are_told_with_each_report_and_many_every_15_s() -> None:
    assert await reports_with_partitions(130, 1) == 30
    assert await reports_with_partitions(500, 1) == 8
    assert await reports_with_partitions(5000, 1) == 4
    assert await reports_with_partitions(500, 10) == 4
