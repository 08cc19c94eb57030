"""Children that are asked for are the parent's own, come in order, and are told of where they cannot come."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from smartconnect.coordination.board import BucketBoard
from smartconnect.engine.children import ChildSpec
from smartconnect.engine.nursery import Expected, Nursery
from smartconnect.engine.parent import Parent, ParentTiming
from tests.support.waiting import eventually

_PR_SET_CHILD_SUBREAPER = 36
_CHILD = """
import contextlib, json, os, socket, sys
from smartconnect.engine.forking import fork_on_demand
born = fork_on_demand(int(sys.argv[1]))
if born is not None:
    link = socket.socket(fileno=born.link)
    threads = len(os.listdir("/proc/self/task"))
    link.sendall(json.dumps([*born.arguments, os.getpid(), threads]).encode())
    with contextlib.suppress(ConnectionError):
        link.recv(1)
    sys.exit(7)
"""


@pytest.fixture(autouse=True)
def no_orphans_of_other_tests() -> Iterator[None]:
    yield
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@dataclass
class Asking:
    """Who was asked for, and what became of it."""

    nursery: Nursery
    born: list[int] = field(default_factory=list)
    stillborn: list[int] = field(default_factory=list)

    def ask(self, role: str = "worker") -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.settimeout(20)
        self.nursery.ask(Expected((role, "{}"), theirs, self.born.append, self.stillborn.append))
        return ours

    async def children(self, number: int) -> None:
        await eventually(lambda: len(self.born) == number, 20, what=f"{number} children")


def forking(fd: int) -> list[str]:
    return [sys.executable, "-c", _CHILD, str(fd)]


def hanging(_fd: int) -> list[str]:
    """It never answers."""
    return [sys.executable, "-c", "import signal; signal.pause()"]


def said(link: socket.socket) -> list[Any]:
    found: list[Any] = json.loads(link.recv(1000))
    return found


def pids_of_children() -> set[int]:
    """Of this process."""
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def test_children_are_the_parents_own_and_come_in_order() -> None:
    asking = Asking(Nursery(forking))
    links = [asking.ask(f"worker-{number}") for number in range(5)]
    await asking.children(5)
    for number, (pid, link) in enumerate(zip(asking.born, links, strict=True)):
        assert said(link) == [f"worker-{number}", "{}", pid, 1], "its role, itself, its threads"
        assert f"PPid:\t{os.getpid()}\n" in Path(f"/proc/{pid}/status").read_text()
    asking.nursery.close()
    for pid, link in zip(asking.born, links, strict=True):
        link.close()
        assert ended(pid) == 7


async def test_a_child_lives_on_without_the_nursery_and_the_next_one_comes_from_another() -> None:
    asking = Asking(Nursery(forking))
    first = asking.ask()
    await asking.children(1)
    assert asking.nursery._process is not None
    killed = asking.nursery._process.pid
    os.kill(killed, signal.SIGKILL)
    await eventually(lambda: asking.nursery._process is None, 10, what="its end is seen")
    assert said(first)[2] == asking.born[0]
    second = asking.ask()
    await asking.children(2)
    assert asking.stillborn == []
    asking.nursery.close()
    for pid, link in zip(asking.born, (first, second), strict=True):
        link.close()
        assert ended(pid) == 7


async def test_after_renew_children_come_from_a_new_process() -> None:
    asking = Asking(Nursery(forking))
    links = [asking.ask()]
    await asking.children(1)
    old = asking.nursery._process
    asking.nursery.renew()
    links += [asking.ask(), asking.ask()]
    await asking.children(3)
    new = asking.nursery._process
    assert old is not None and new is not None and (old.pid, old.returncode) != (new.pid, None)
    assert old.returncode == -signal.SIGKILL
    asking.nursery.close()
    for pid, link in zip(asking.born, links, strict=True):
        link.close()
        assert ended(pid) == 7


async def test_a_process_that_cannot_start_is_told_to_everybody_who_waits() -> None:
    asking = Asking(Nursery(lambda fd: [sys.executable, "-c", "raise SystemExit(78)"]))
    links = [asking.ask(), asking.ask()]
    await eventually(lambda: len(asking.stillborn) == 2, 20, what="both are told")
    assert asking.stillborn == [78, 78] and asking.born == []
    for link in links:
        assert link.recv(1) == b"", "nobody has its other end"
        link.close()


async def test_closing_tells_who_is_still_to_be_born() -> None:
    asking = Asking(Nursery(hanging))
    link = asking.ask()
    await asyncio.sleep(0)
    asking.nursery.close()
    assert asking.stillborn == [-signal.SIGKILL]
    link.close()


async def test_a_process_that_hangs_is_replaced_by_one_that_does_not() -> None:
    """As the parent sees it: nobody is born in time, so it kills what does not answer and asks once more."""
    started: list[list[str]] = []

    def first_hangs(fd: int) -> list[str]:
        started.append(forking(fd) if started else hanging(fd))
        return started[-1]

    specs = [ChildSpec(f"worker-{number}", ("worker", "{}"), number) for number in range(2)]
    timing = ParentTiming(start_within_s=2.0, stop_within_s=5.0)
    others = pids_of_children()
    parent = Parent(specs, Nursery(first_hangs), BucketBoard(2), timing, time.monotonic)
    running = asyncio.create_task(parent.run())
    await eventually(lambda: len(started) == 2 and len(pids_of_children() - others) == 3, 20, what="the second one has forked both")
    parent.stop()
    await asyncio.wait_for(running, 20)
    assert pids_of_children() <= others


async def test_who_is_forked_has_one_thread() -> None:
    """Also where the parent has several."""
    stop = threading.Event()
    beside = threading.Thread(target=stop.wait)
    beside.start()
    try:
        asking = Asking(Nursery(forking))
        link = asking.ask()
        await asking.children(1)
        assert said(link)[3] == 1
        asking.nursery.close()
        link.close()
        assert ended(asking.born[0]) == 7
    finally:
        stop.set()
        beside.join()
