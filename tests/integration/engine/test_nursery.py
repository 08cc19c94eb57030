"""Where a service's processes come from: one process that forks them, on which nobody who lives depends."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from smartconnect.domain.task import Status
from tests.integration.engine.conftest import StartService
from tests.support.toy_service import ToyService, alive
from tests.support.waiting import eventually

UNITS = {"toy-1-0", "toy-1-1"}


def title(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode().split()


def nurseries(service: ToyService) -> list[int]:
    """Those of the parent that live."""
    children = Path(f"/proc/{service.parent.pid}/task/{service.parent.pid}/children").read_text().split()
    return [int(pid) for pid in children if title(int(pid))[:2] == ["smart-connect", "nursery"]]


async def test_processes_are_the_parents_and_say_who_they_are(start_service: StartService) -> None:
    async with start_service() as service:
        config = str(service.folder / "smart-connect.toml")
        assert title(service.parent.pid) == ["smart-connect", "parent", config]
        for name in ("status", "worker-0", "worker-1"):
            pid = service.pid_of(name)
            assert title(pid) == ["smart-connect", name, config]
            assert f"PPid:\t{service.parent.pid}\n" in Path(f"/proc/{pid}/status").read_text()


async def test_without_the_nursery_units_go_on_and_a_worker_that_dies_is_replaced(start_service: StartService) -> None:
    async with start_service() as service:
        task = await service.create(units=2)
        await task.shows(Status.RUNNING)
        await task.beats_again(0, UNITS)
        (nursery,) = nurseries(service)
        os.kill(nursery, signal.SIGKILL)
        await eventually(lambda: not nurseries(service), 10, what="it is gone")
        await task.beats_again(time.monotonic(), UNITS)
        os.kill(service.pid_of("worker-0"), signal.SIGKILL)
        await eventually(lambda: service.starts_of("worker-0") == 2, what="a new worker is started")
        await task.beats_again(time.monotonic(), UNITS)
        assert [service.starts_of(name) for name in ("status", "worker-1")] == [1, 1]
        assert len(nurseries(service)) == 1


async def test_replaced_workers_come_from_a_new_nursery(start_service: StartService) -> None:
    async with start_service() as service:
        before = nurseries(service)
        service.parent.send_signal(signal.SIGUSR1)
        await eventually(lambda: service.starts_of("worker-1") == 2, 60, what="both are replaced")
        assert len(nurseries(service)) == 1
        assert nurseries(service) != before


async def test_the_nursery_ends_with_the_parent(start_service: StartService) -> None:
    async with start_service() as service:
        (nursery,) = nurseries(service)
        service.parent.kill()
        await eventually(lambda: not alive(nursery), 10, what="it ends by itself")
