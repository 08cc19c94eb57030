"""One server process: start it and wait until it is ready, kill, stop, freeze, thaw it, start it again.

Guarantees that `start` either returns with a server that answers, or leaves none and raises `SandboxFailed` with the end of
the log; and that a guarded server dies with the process that started it, whatever kills that one (see `guard`). Nothing here
is bound to an event loop, so a server that one loop started can be killed from another (tests have a loop each).
Called by `kafka`, `s3` and `stack`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from smartconnect.domain.errors import SandboxFailed
from smartconnect.sandbox.pids import stands_still

_GUARD = Path(__file__).with_name("guard.py")
_POLL_S = 0.03
_KILL_DEADLINE_S = 10.0


class Lifetime(Enum):
    """How long a server lives when nobody stops it."""

    STARTER = "starter"
    """Until the process that started it ends."""
    DETACHED = "detached"
    """Until it is stopped by its pid (`smart-connect sandbox up` / `down`)."""


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """What to run and how to know that it answers.

    `ready` is asked until it is true; it is given the log written since this start. `removed_after_crash` are the folders
    to remove when the starter dies without stopping the server.
    """

    name: str
    argv: tuple[str, ...]
    folder: Path
    log_file: Path
    ready: Callable[[str], Awaitable[bool]]
    environment: Mapping[str, str] = field(default_factory=dict)
    deadline_s: float = 90.0
    removed_after_crash: tuple[Path, ...] = ()


class ServerProcess:
    """A server that can be started again and again with the same command, folder and port."""

    def __init__(self, command: ServerCommand, lifetime: Lifetime = Lifetime.STARTER) -> None:
        self.command = command
        self._lifetime = lifetime
        self._child: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._log_start = 0

    @property
    def log_file(self) -> Path:
        return self.command.log_file

    @property
    def pid(self) -> int:
        """The pid of the server itself; raises `SandboxFailed` while it does not run."""
        if self._pid is None or not self.alive:
            raise SandboxFailed(f"{self.command.name} does not run. {self._log_tail()}")
        return self._pid

    @property
    def alive(self) -> bool:
        """Whether the process exists (frozen counts as alive)."""
        return self._child is not None and self._child.poll() is None

    async def start(self) -> None:
        """Start and wait until ready. Raises `SandboxFailed` when the deadline passes or the server ends by itself."""
        if self.alive:
            raise SandboxFailed(f"{self.command.name} runs already, as process {self._pid}.")
        try:
            self._spawn()
            await self._learn_pid()
            await self._until_ready()
        except BaseException:
            await self.kill()
            raise

    async def kill(self) -> None:
        """SIGKILL, as by an out-of-memory killer; returns when the process is gone. Fine if it is gone already."""
        if self._pid is None and self._child is not None:
            self._child.kill()  # a start that was broken off; the guard takes a server it has just made with it
        self._signal(signal.SIGKILL)
        if not await self._gone_within(_KILL_DEADLINE_S):
            raise SandboxFailed(f"{self.command.name} (process {self._pid}) survives SIGKILL; look for a stuck disk.")
        self._release()

    async def stop(self, deadline_s: float = 30.0) -> None:
        """SIGTERM and wait for a clean end; SIGKILL after the deadline. Thaws a frozen server first."""
        self.thaw()
        self._signal(signal.SIGTERM)
        if await self._gone_within(deadline_s):
            self._release()
        else:
            await self.kill()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers, as on a machine that swaps. Returns when every thread stands still: one that
        is in the middle of an answer gives it first."""
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + _KILL_DEADLINE_S
        while self.alive and self._pid is not None and not stands_still(self._pid):
            if time.monotonic() > deadline:
                raise SandboxFailed(f"{self.command.name} (process {self._pid}) does not stop on SIGSTOP.")
            time.sleep(_POLL_S / 30)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _spawn(self) -> None:
        command = self.command
        command.folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **command.environment}
        with command.log_file.open("ab") as log:
            self._log_start = log.tell()
            if self._lifetime is Lifetime.DETACHED:
                self._child = subprocess.Popen(
                    command.argv,
                    cwd=command.folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
                return
            folders = [str(folder) for folder in command.removed_after_crash]
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARD), *folders, "--", *command.argv],
                cwd=command.folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    async def _learn_pid(self) -> None:
        assert self._child is not None
        if self._child.stdout is None:
            self._pid = self._child.pid
            return
        answer = await asyncio.to_thread(self._child.stdout.readline)
        if not answer.strip().isdigit():
            raise SandboxFailed(f"{self.command.name} cannot be run ({self.command.argv[0]}). {self._log_tail()}")
        self._pid = int(answer)

    async def _until_ready(self) -> None:
        command = self.command
        deadline = time.monotonic() + command.deadline_s
        while time.monotonic() < deadline:
            if not self.alive:
                raise SandboxFailed(f"{command.name} ended while it started. {self._log_tail()}")
            if await command.ready(self._log_since_start()):
                return
            await asyncio.sleep(_POLL_S)
        raise SandboxFailed(f"{command.name} did not get ready within {command.deadline_s:.0f} s. {self._log_tail()}")

    def _signal(self, number: signal.Signals) -> None:
        if self._pid is not None and self.alive:
            try:
                os.kill(self._pid, number)
            except ProcessLookupError:
                return  # it ended between the look and the signal, which is what every caller can live with

    async def _gone_within(self, deadline_s: float) -> bool:
        deadline = time.monotonic() + deadline_s
        while self.alive:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_POLL_S / 3)
        return True

    def _release(self) -> None:
        if self._child is not None:
            for pipe in (self._child.stdin, self._child.stdout):
                if pipe is not None:
                    pipe.close()
        self._child = None
        self._pid = None

    def _log_since_start(self) -> str:
        try:
            with self.log_file.open("rb") as log:
                log.seek(self._log_start)
                return log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def _log_tail(self) -> str:
        return log_tail(self.log_file)


async def together(*starts: Coroutine[Any, Any, None]) -> None:
    """Await all; the first that fails ends the others, and its error is raised when they have cleaned up."""
    try:
        async with asyncio.TaskGroup() as group:
            for start in starts:
                group.create_task(start)
    except* SandboxFailed as failures:
        raise failures.exceptions[0] from None


def log_tail(log_file: Path, lines: int = 15) -> str:
    """The sentence with which an error message about a server ends: where its log is and how it ends."""
    try:
        with log_file.open("rb") as log:
            log.seek(max(0, log_file.stat().st_size - 16384))
            end = log.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return f"It wrote no log ({log_file})."
    return f"The end of its log, {log_file}:\n" + "\n".join(f"    {line}" for line in end)


async def answers(port: int) -> bool:
    """Whether somebody accepts connections on this loopback port."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
