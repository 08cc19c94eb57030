"""SIGUSR1: all workers are replaced, one after the other, while units go on."""

from __future__ import annotations

import itertools
import signal
import time

from smartconnect.domain.task import Status
from tests.integration.engine.conftest import StartService
from tests.support.toy_service import ToyService
from tests.support.waiting import eventually

UNITS = {"toy-1-0", "toy-1-1"}
REPLACED = ["worker is replaced", "process ended and is started again", "process started"]


async def test_workers_are_replaced_one_after_the_other_and_units_go_on(start_service: StartService) -> None:
    async with start_service() as service:
        task = await service.create()
        await task.shows(Status.RUNNING)
        await task.beats_again(0, UNITS)
        begun = len(service.log)
        service.parent.send_signal(signal.SIGUSR1)
        await eventually(lambda: service.starts_of("worker-1") == 2, 60, what="both workers are new")
        await task.beats_again(time.monotonic(), UNITS)

        of_workers = [line for line in service.log[begun:] if line["process"] == "parent" and "child" in line]
        steps = [(line["event"], line["child"]) for line in of_workers if line["event"] in REPLACED]
        assert steps == [(event, worker) for worker in ("worker-0", "worker-1") for event in REPLACED]
        second = [line["event"] for line in of_workers].index(REPLACED[0], 1)
        shares = {line["child"]: line["buckets"] for line in of_workers[:second] if line["event"] == "slots handed out"}
        assert shares == {"worker-0": [0], "worker-1": [1]}, "the first holds its own share before the second goes"
        assert not [line for line in service.log if line["level"] in ("warning", "error")]
        beats = [trace.at for trace in task.traces("beat") if trace.unit == "toy-1-0"]
        assert max(after - before for before, after in itertools.pairwise(beats)) < 3


async def test_where_a_new_worker_cannot_start_the_others_stay_until_it_can(start_service: StartService) -> None:
    async with start_service() as service:
        await eventually(lambda: _working(service) == {"worker-0", "worker-1"}, what="both workers work")
        file = service.folder / "smart-connect.toml"
        good = file.read_text()
        file.write_text("nonsense = 1\n" + good)
        service.parent.send_signal(signal.SIGUSR1)
        await eventually(lambda: service.starts_of("worker-0") >= 4, 30, what="the new worker fails again and again")
        assert service.starts_of("worker-1") == 1
        file.write_text(good)
        await eventually(lambda: service.starts_of("worker-1") == 2, 60, what="the other one follows when it can")


def _working(service: ToyService) -> set[str]:
    return {line["child"] for line in service.log if line["event"] == "slots handed out"}
