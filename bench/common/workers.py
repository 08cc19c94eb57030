"""The worker processes of our service, as it shows them itself: who owns a task's unit (progress), their pids and their shares of the slots
(the parent's log)."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any, Final

from bench.common.service import Service
from smartconnect.domain.errors import SandboxFailed

_BACK_WITHIN_S: Final = 60.0
_POLL_S: Final = 0.1

Line = dict[str, Any]


async def worker_of(service: Service, task: str) -> int:
    """The number of the worker that owns the first unit of the task. Raises SandboxFailed if nobody does."""
    deadline = time.monotonic() + _BACK_WITHIN_S
    while True:
        units = (await service.api.call("GET", f"{task}/progress"))["units"]
        if units and units[0]["state"] == "running":
            return int(units[0]["owner"].rpartition("-")[2])
        if time.monotonic() > deadline:
            raise SandboxFailed(f"the unit does not run: {json.dumps(units)[:2000]}")
        await asyncio.sleep(_POLL_S)


async def replacing(service: Service, task: str, worker: int, number: signal.Signals, *, unit_returns: bool) -> float:
    """Send the worker the signal; return when its successor holds its share of the slots again, and the unit of the task if it
    `unit_returns`. Gives the time (epoch seconds) when others began to give the share back. Raises SandboxFailed."""
    name, before = f"worker-{worker}", len(_told(service))
    pid = [line["pid"] for line in _told(service) if line["event"] == "process started" and line["child"] == name][-1]
    os.kill(pid, number)
    away = await _line(
        service, before, f"{name}'s slots do not go to others", lambda one: _gets(one, worker) and one["child"] != name
    )
    shared_out = _told(service).index(away) + 1
    back = await _line(service, shared_out, f"{name} does not come back", lambda one: _gets(one, worker) and one["child"] == name)
    deadline = time.monotonic() + _BACK_WITHIN_S
    while unit_returns and await worker_of(service, task) != worker:
        if time.monotonic() > deadline:
            raise SandboxFailed(f"the unit does not return to {name} within {_BACK_WITHIN_S:.0f} s")
    taken = [one for one in _told(service)[shared_out:] if one["event"] == "slots handed out" and one["child"] == away["child"]]
    return _epoch_s(taken[0] if taken else back)


def _gets(line: Line, bucket: int) -> bool:
    return line["event"] == "slots handed out" and bucket in line["buckets"]


async def _line(service: Service, start: int, why: str, wanted: Callable[[Line], bool]) -> Line:
    """The first such line of the parent's log behind the first `start`."""
    deadline = time.monotonic() + _BACK_WITHIN_S
    while True:
        for line in _told(service)[start:]:
            if wanted(line):
                return line
        if time.monotonic() > deadline:
            raise SandboxFailed(f"{why} within {_BACK_WITHIN_S:.0f} s")
        await asyncio.sleep(_POLL_S)


def _told(service: Service) -> list[Line]:
    """Whole lines of the parent, so far."""
    lines = service.log.read_text(errors="replace").splitlines(keepends=True)
    found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
    return [line for line in found if line.get("process") == "parent"]


def _epoch_s(line: Line) -> float:
    return datetime.datetime.fromisoformat(line["timestamp"]).timestamp()
