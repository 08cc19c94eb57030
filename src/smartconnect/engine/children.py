"""One child process as its parent holds it: started clean (exec, never a fork of a running loop), with one end of a socket pair; its
death is seen at once through a pidfd, its silence by its last heartbeat. Used by the parent for workers and for the API process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from smartconnect.engine.protocol import MAX_LINE, Fleet, Heartbeat, Hello, Message, ProtocolError, Stop, decode, encode
from smartconnect.telemetry.logs import get_logger

log = get_logger()

_STUCK_BYTES: Final = 4 * MAX_LINE


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """`name`: "worker-0", "api". `command(link_fd)`: its arguments; never a secret. `worker`: its number, None for the front."""

    name: str
    command: Callable[[int], Sequence[str]]
    worker: int | None = None


@dataclass(frozen=True, slots=True)
class ChildEvents:
    """Called in the loop: a message came; the process has ended (with its return code, negative for a signal)."""

    message: Callable[[Child, Message], None]
    ended: Callable[[Child, int], None]


class Child:
    """One process, from its start to its end; a new one is a new object."""

    def __init__(self, spec: ChildSpec, events: ChildEvents, now: Callable[[], float]) -> None:
        self.spec = spec
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
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 our own interpreter and module
                list(spec.command(theirs.fileno())), pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL
            )
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._reap)
        self._writer: asyncio.StreamWriter | None = None
        self._reading = self._loop.create_task(self._read(ours), name=f"pipe of {spec.name}")

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
        if self._process.poll() is None:
            self._process.send_signal(number)

    def _reap(self) -> None:
        code = self._process.poll()
        if code is None:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._reading.cancel()
        self._events.ended(self, code)

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
