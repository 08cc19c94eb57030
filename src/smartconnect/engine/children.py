"""One child process as its parent holds it: asked for from the nursery (never a fork of a running loop), with one end of a socket pair; its
death is seen at once through a pidfd, its silence by its last heartbeat. Used by the parent for workers and for the API process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from smartconnect.engine.nursery import Expected, Nursery
from smartconnect.engine.protocol import MAX_LINE, Fleet, Heartbeat, Hello, Message, ProtocolError, Stop, decode, encode
from smartconnect.telemetry.logs import get_logger

log = get_logger()

_STUCK_BYTES: Final = 4 * MAX_LINE


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """`name`: "worker-0", "api". `arguments`: its role and options; never a secret. `worker`: its number, None for the front."""

    name: str
    arguments: Sequence[str]
    worker: int | None = None


@dataclass(frozen=True, slots=True)
class ChildEvents:
    """Called in the loop: the process is there; a message came; it has ended, or could not be started (with its return code, negative for a
    signal)."""

    born: Callable[[Child], None]
    message: Callable[[Child, Message], None]
    ended: Callable[[Child, int], None]


class Child:
    """One process, from its start to its end; a new one is a new object. `pid` is 0 until it is there."""

    def __init__(self, spec: ChildSpec, nursery: Nursery, events: ChildEvents, now: Callable[[], float]) -> None:
        self.spec = spec
        self.pid = 0
        self.started_at = now()
        self.heard_at = self.started_at
        self.ready = False
        self.killed = False
        self.end_by: float | None = None
        self.last = Heartbeat(meters=())
        self._events = events
        self._now = now
        self._loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        self._pidfd = -1
        self._signalled: signal.Signals | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading = self._loop.create_task(self._read(ours), name=f"pipe of {spec.name}")
        nursery.ask(Expected(spec.arguments, theirs, self._born, self._stillborn))

    def send(self, message: Message) -> None:
        """Dropped if it does not read: a frozen child must not cost us memory. What matters is told again after its restart."""
        writer = self._writer
        if writer is None or writer.is_closing():
            return
        waiting = writer.transport.get_write_buffer_size()
        if waiting > _STUCK_BYTES or (waiting and isinstance(message, Fleet)):
            return
        writer.write(encode(message))

    def silent_for(self, now: float) -> float:
        """Seconds since its last word."""
        return now - self.heard_at

    def terminate(self) -> None:
        """For a child that has not said hello yet, and so does not read."""
        self._signal(signal.SIGTERM)

    def replace(self, within_s: float, end_by: float) -> None:
        """Ask it to drain and end; a new process follows. `end_by`: when it is killed if it has not."""
        self.end_by = end_by
        self.send(Stop(within_s))

    def kill(self) -> None:
        """SIGKILL: also ends what is stopped. `ended` follows, and `killed` tells that it was us."""
        self.killed = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        self._signalled = number
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):  # it has ended: `_reap` is next
                signal.pidfd_send_signal(self._pidfd, number)

    def _born(self, pid: int) -> None:
        self.pid, self._pidfd = pid, os.pidfd_open(pid)
        self._loop.add_reader(self._pidfd, self._reap)
        self._events.born(self)
        if self._signalled is not None:
            self._signal(self._signalled)

    def _stillborn(self, code: int) -> None:
        self._reading.cancel()
        self._events.ended(self, code)

    def _reap(self) -> None:
        reaped, status = os.waitpid(self.pid, os.WNOHANG)
        if not reaped:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self._reading.cancel()
        self._events.ended(self, os.waitstatus_to_exitcode(status))

    async def _read(self, ours: socket.socket) -> None:
        reader, self._writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_LINE)
        try:
            while True:
                message = decode(await reader.readuntil(b"\n"))
                self.heard_at = self._now()
                if isinstance(message, Hello):
                    self.ready = True
                elif isinstance(message, Heartbeat):
                    self.last = message
                if message is not None:
                    self._events.message(self, message)
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # it is ending: the pidfd tells when it has
        except (ProtocolError, asyncio.LimitOverrunError) as error:
            log.error("a child speaks another protocol and is killed", child=self.spec.name, error=str(error))
            self.kill()
        finally:
            self._writer.close()
