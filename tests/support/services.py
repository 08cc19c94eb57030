"""The services that all tests of one session share, and how a test finds its own place in them.

Guarantees that a service starts when the first test asks for it and ends with the session, and that names never collide,
also with an earlier session's. Used by `tests/conftest.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@contextlib.contextmanager
def shared(service: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Hold an async context open around a plain one, on a thread and loop of its own, so that no loop of a test is touched.

    For servers only: they are processes, bound to no loop, so what this gives may be used from any.
    """
    started: Future[T] = Future()
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()

    async def hold() -> None:
        async with service as value:
            started.set_result(value)
            await ended.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            try:
                runner.run(hold())
            except BaseException as error:
                if started.done():
                    raise
                started.set_exception(error)

    thread = threading.Thread(target=run, name="shared service")
    thread.start()
    try:
        yield started.result()
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(ended.set)
        thread.join()


@dataclass(frozen=True, slots=True)
class Names:
    """Names that belong to one test: readable in logs, and never used before."""

    base: str

    @classmethod
    def of_test(cls, test_name: str) -> Names:
        readable = "".join(char if char.isalnum() else "-" for char in test_name.lower()).strip("-")
        return cls(f"{readable[:30].strip('-')}-{secrets.token_hex(4)}")

    def topic(self, suffix: str = "topic") -> str:
        return f"{self.base}.{suffix}"

    def group(self, suffix: str = "group") -> str:
        return f"{self.base}.{suffix}"

    def bucket(self, suffix: str = "") -> str:
        return f"{self.base}-{suffix}" if suffix else self.base
