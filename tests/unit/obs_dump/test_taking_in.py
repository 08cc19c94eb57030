"""The loop between its steps: a partition that is dropped and made ready again while one of its frames is being taken in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from smartconnect.jobs.memory_budget import MemoryBudget
from smartconnect.jobs.obs_dump.assembler import Intake, Verdict
from smartconnect.jobs.obs_dump.buffer import PagedPool
from smartconnect.jobs.obs_dump.incarnation import Incarnation
from smartconnect.jobs.obs_dump.meter import Meter
from smartconnect.jobs.obs_dump.naming import ObjectNames
from smartconnect.jobs.obs_dump.runner import MovingUnit
from smartconnect.jobs.obs_dump.uploads import Leaving
from smartconnect.kafka.fetch_types import FetchedPartition, Frame
from smartconnect.kafka.timing import Timing
from smartconnect.settings import ObsDumpSettings
from tests.support.dump_spec import a_spec
from tests.unit.obs_dump.givens import ORDERS_3, HandClock, a_partition, fetched, one_batch, values


class Taken:
    """A unit with one partition, and what its joining does instead of joining."""

    def __init__(self) -> None:
        self.partition = a_partition()
        self.memory = MemoryBudget(1 << 20).join()
        spec, clock = a_spec(), HandClock().clock()
        incarnation = SimpleNamespace(
            spec=spec,
            clock=clock,
            memory=self.memory,
            pool=PagedPool(),
            cluster=SimpleNamespace(clock=clock.monotonic, timing=Timing()),
            txn=None,
            group="smartconnect.t.r1",
            steps=None,
            names=ObjectNames(spec.path, spec.time_format, spec.timezone),
            uploads=SimpleNamespace(leaving=Leaving()),
            resources=SimpleNamespace(directory=SimpleNamespace(obs_dump=ObsDumpSettings)),
        )
        self.unit = MovingUnit(cast(Incarnation, incarnation), cast(Meter, None))
        self.unit._roster = cast(Any, SimpleNamespace(partitions={ORDERS_3: self.partition}))
        self.unit._ready_to_fetch(self.partition)

    @property
    def fetched_from(self) -> int:
        return self.unit._fetcher.view(ORDERS_3).position

    def frame(self) -> Frame:
        part: FetchedPartition = fetched([one_batch(values(0, 50))], self.partition.read)
        state = self.unit._fetcher.state(ORDERS_3)
        assert state is not None
        part.generation = state.generation
        return Frame([part], 0, self.memory)


async def test_a_partition_made_ready_while_it_is_taken_in_is_fetched_from_behind_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetched from where it was read up to at that moment, its frames would never again begin where it is read: it stood still for ever."""
    given = Taken()

    def append(intake: Intake) -> Verdict:
        given.unit._pause(intake.partition)
        given.unit._committed(intake.partition, [])
        assert not intake.partition.fetching
        intake.partition.read = 50
        return Verdict.DONE

    monkeypatch.setattr(given.unit._assembler, "append", append)
    await given.unit._take_in(given.frame())
    assert given.partition.fetching
    assert given.fetched_from == 50
    await given.unit.close()


async def test_a_frame_that_was_fetched_before_its_partition_was_dropped_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Taken()
    frame = given.frame()
    given.unit._pause(given.partition)
    given.unit._ready_to_fetch(given.partition)

    def append(_intake: Intake) -> Verdict:
        raise AssertionError("the fetcher delivers these records once more")

    monkeypatch.setattr(given.unit._assembler, "append", append)
    await given.unit._take_in(frame)
    assert given.fetched_from == 0
    await given.unit.close()


async def test_no_more_is_taken_in_while_the_store_has_all_that_it_takes_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Taken()
    frame = given.frame()

    async def deliver(_timeout_s: float) -> Frame:
        return frame

    monkeypatch.setattr(given.unit._fetcher, "next", deliver)
    leaving = given.unit._inc.uploads.leaving
    leaving.begin(given.unit._relief._most_leaving)
    given.unit._deadlines.add(0.0, given.partition)  # so that it waits for a moment only
    assert await given.unit._next_frame() is None
    leaving.end(1)
    assert await given.unit._next_frame() is frame
    await given.unit.close()
