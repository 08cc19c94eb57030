"""Where the parent's children come from, as the parent sees it: it asks one process (`forking`) for each of them. Nobody who lives depends
on that process: when it ends, whoever is still to be born is told, and the next one who is asked for starts another.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from smartconnect.telemetry.logs import get_logger

log = get_logger()

_PR_SET_CHILD_SUBREAPER: Final = 36
_MAX_ANSWER: Final = 64


@dataclass(frozen=True, slots=True)
class Expected:
    """A child that was asked for: its arguments, its end of the link, and who hears of its pid, or of the code with which the nursery
    ended before."""

    arguments: Sequence[str]
    link: socket.socket
    born: Callable[[int], None]
    stillborn: Callable[[int], None]


class Nursery:
    """`command(fd)`: the arguments that start the process. Everything happens in the event loop."""

    def __init__(self, command: Callable[[int], Sequence[str]]) -> None:
        self._command = command
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._outdated = self._asked = False
        self._expected: deque[Expected] = deque()
        _adopt_orphans()

    def ask(self, child: Expected) -> None:
        """One after the other, in this order."""
        self._expected.append(child)
        self._ask_next()

    def renew(self) -> None:
        """Whoever is asked for from now on comes from a new process: the code may be new."""
        self._outdated = True

    def close(self) -> None:
        """End the process; its children live on, and nobody else is born."""
        if self._process is not None:
            self._process.kill()
            self._lost()

    def _ask_next(self) -> None:
        if self._asked or not self._expected:
            return
        if self._outdated and self._process is not None:
            self._process.kill()
            self._end()
        if self._process is None:
            self._start()
        self._asked = True
        child = self._expected[0]
        with contextlib.suppress(ConnectionError):  # it has ended: `_hear` is next
            socket.send_fds(self._socket, [json.dumps(list(child.arguments)).encode()], [child.link.fileno()])

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 our own interpreter and module
                list(self._command(theirs.fileno())), pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL
            )
        self._outdated = False
        self._loop.add_reader(self._socket, self._hear)

    def _hear(self) -> None:
        try:
            answer = self._socket.recv(_MAX_ANSWER)
        except ConnectionError:
            answer = b""
        if answer:
            self._asked = False
            child = self._expected.popleft()
            child.link.close()
            child.born(int(answer))
            self._ask_next()
        else:
            log.warning("the nursery has ended; whoever is asked for next starts another", code=self._lost())

    def _lost(self) -> int:
        code = self._end()
        self._asked = False
        unborn, self._expected = self._expected, deque()
        for child in unborn:
            child.link.close()
            child.stillborn(code)
        return code

    def _end(self) -> int:
        """Of a process that has ended, or will at once."""
        assert self._process is not None
        process, self._process = self._process, None
        self._loop.remove_reader(self._socket)
        self._socket.close()
        return process.wait()


def _adopt_orphans() -> None:
    """From now on a descendant whose parent ends becomes a child of this process. OSError where the system knows no such thing."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
