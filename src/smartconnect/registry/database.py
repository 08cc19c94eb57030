"""Transactions on the registry, and what their failures mean to the caller: whatever keeps the database from answering is
`RegistryUnreachable`, within about twice the busy time-out, and never carries a statement or a value. Every part of the registry
works through `read()` and `write()`.

One connection of the process writes, so its writers queue here, in order, and processes queue in the database. What reads is a plain
function that a thread runs from its first statement to its last: the event loop, which may be busy, is asked once for each look.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection

from smartconnect.domain.backoff import Backoff
from smartconnect.domain.errors import RegistryBusy, RegistryUnreachable, SmartConnectError
from smartconnect.registry import dialect
from smartconnect.telemetry.logs import get_logger

log = get_logger()

Result = TypeVar("Result")
_OPENING: Final = Backoff(first_s=0.05, cap_s=2.0)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long to wait: for another writer, and at open for one that keeps us from migrating. `readers`: connections that read."""

    busy_timeout_ms: int = 5_000
    open_timeout_s: float = 30
    readers: int = 4


class Database:
    """The file, its one writing connection and its reading ones."""

    def __init__(self, path: Path, timing: Timing) -> None:
        self.path = path
        self.timing = timing
        self._writer, self._reader = dialect.make_engines(path, busy_timeout_ms=timing.busy_timeout_ms, readers=timing.readers)
        self._readers = ThreadPoolExecutor(timing.readers, thread_name_prefix="registry")
        self._leftovers = False
        self._running: set[asyncio.Task[Any]] = set()

    async def read(self, look: Callable[[sa.Connection], Result]) -> Result:
        """What `look` makes of one snapshot: all that it reads is of one moment. It runs in a thread: it may take its time, and touches
        nothing but its connection."""
        with self._translated():
            return await asyncio.get_running_loop().run_in_executor(self._readers, self._look, look)

    def _look(self, look: Callable[[sa.Connection], Result]) -> Result:
        with self._reader.begin() as connection:
            return look(connection)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction that nobody else's writes come between; rolled back when anything is raised inside."""
        with self._translated():
            async with self._writer.begin() as connection:
                yield connection

    async def prepare(self) -> None:
        """Before the first transaction: let readers and the writer work beside each other."""
        with self._translated():
            await dialect.use_wal(self._writer)

    async def patiently(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """What nobody can do without, such as a migration: tried again, with growing pauses and a line in the log for each, while
        another process holds the file. RegistryUnreachable after the open time-out."""
        began, failures = time.monotonic(), 0
        while True:
            try:
                return await work()
            except RegistryBusy as busy:
                waited_s, limit_s = time.monotonic() - began, self.timing.open_timeout_s
                if waited_s >= limit_s:
                    raise RegistryUnreachable(
                        f"the registry {self.path} has been held by another process for {waited_s:.0f} s: end the process that holds it "
                        "(a frozen one of an earlier service?), then try again"
                    ) from None
                log.warning("registry is busy, it is tried again", error=str(busy), waited_s=round(waited_s, 1), limit_s=limit_s)
            await asyncio.sleep(_OPENING.ceiling(failures))
            failures += 1

    async def erase_leftovers(self) -> None:
        """After a secret was erased or replaced: take the old bytes out of the files. What a reader keeps it from doing stays due (see
        `erase_due`): the change itself is made, so nothing is raised."""
        self._leftovers = True
        await self.erase_due()

    async def erase_due(self) -> None:
        """Try again what a reader kept `erase_leftovers` from doing. Costs nothing when nothing is due."""
        if self._leftovers:
            with suppress(RegistryUnreachable), self._translated():
                self._leftovers = not await dialect.erase_leftovers(self._writer)

    async def to_its_end(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Await `work`; when the caller is cancelled meanwhile it goes on, and `close` waits for it."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # A caller that was cancelled does not ask; asyncio would complain that nobody did.

    async def close(self) -> None:
        if self._running:
            await asyncio.wait(self._running)
        self._readers.shutdown()
        self._reader.dispose()
        await self._writer.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (IntegrityError, ProgrammingError) as error:
            raise SmartConnectError(f"the registry {self.path} refused a change: {error.orig}; please report this") from None
        except PoolTimeout:
            raise self._unreachable("other writes of this process are waiting for it") from None
        except DBAPIError as error:
            raise self._unreachable(error.orig) from None
        except sqlite3.Error as error:
            raise self._unreachable(error) from None

    def _unreachable(self, cause: object) -> RegistryUnreachable:
        kind = RegistryBusy if dialect.is_busy(cause) else RegistryUnreachable
        return kind(f"the registry {self.path} does not answer: {cause}; running units go on, it is tried again")
