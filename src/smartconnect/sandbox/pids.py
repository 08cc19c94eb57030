"""Processes named by pid and start time, so that a pid that the kernel has given to somebody else is never signalled.

Called by `stack`, which must end servers that another process started, perhaps days ago.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from smartconnect.domain.errors import SandboxFailed

_POLL_S = 0.05
_KILL_DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """`started` is the start time of `/proc/<pid>/stat`, in clock ticks since boot."""

    pid: int
    started: int


def identify(pid: int) -> ProcessIdentity:
    """The identity of a process that runs now; raises `SandboxFailed` if it does not."""
    started = _start_time(pid)
    if started is None:
        raise SandboxFailed(f"Process {pid} has ended already.")
    return ProcessIdentity(pid, started)


def is_running(process: ProcessIdentity) -> bool:
    """Whether exactly this process still runs; one that has ended and was not waited for does not."""
    return _start_time(process.pid) == process.started


def stands_still(pid: int) -> bool:
    """Whether every thread of a process is stopped (SIGSTOP works in each of them for itself), or it has ended."""
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            stat = thread.read_text()
        except OSError:
            continue  # ended meanwhile
        if stat.rpartition(")")[2].split()[0] not in "TtZX":
            return False
    return True


async def end(process: ProcessIdentity, deadline_s: float = 30.0) -> None:
    """SIGTERM (after SIGCONT), SIGKILL after the deadline; returns when it is gone. Fine if it is gone already."""
    for number in (signal.SIGCONT, signal.SIGTERM):
        _signal(process, number)
    if not await _gone_within(process, deadline_s):
        _signal(process, signal.SIGKILL)
        if not await _gone_within(process, _KILL_DEADLINE_S):
            raise SandboxFailed(f"Process {process.pid} survives SIGKILL; look for a stuck disk.")


def _signal(process: ProcessIdentity, number: signal.Signals) -> None:
    if is_running(process):
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return  # it ended between the look and the signal, which is what was wanted


async def _gone_within(process: ProcessIdentity, deadline_s: float) -> bool:
    deadline = time.monotonic() + deadline_s
    while is_running(process):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True


def _start_time(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *others = stat.rpartition(")")[2].split()  # the name before it may hold spaces and parentheses
    return None if state in "ZX" else int(others[18])
