"""What must be let go of is let go of whole, whoever cancels meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from smartconnect.jobs.undisturbed import undisturbed


class Work:
    """Goes on when it is told to; `done` once it has come to its end."""

    def __init__(self, error: Exception | None = None) -> None:
        self.go_on, self.done, self._error = asyncio.Event(), False, error

    async def run(self) -> None:
        await self.go_on.wait()
        self.done = True
        if self._error is not None:
            raise self._error


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_its_end_is_waited_for() -> None:
    work = Work()
    task = asyncio.create_task(undisturbed(work.run()))
    await turns(3)
    assert not task.done()
    work.go_on.set()
    await task
    assert work.done


@pytest.mark.parametrize("times", [1, 3])
async def test_a_cancellation_comes_after_the_end(times: int) -> None:
    work = Work()
    task = asyncio.create_task(undisturbed(work.run()))
    for _ in range(times):
        await turns(3)
        task.cancel()
    await turns(3)
    assert not task.done()
    work.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.done


async def test_an_error_outweighs_a_cancellation() -> None:
    work = Work(ValueError("broken"))
    task = asyncio.create_task(undisturbed(work.run()))
    await turns(3)
    task.cancel()
    await turns(3)
    work.go_on.set()
    with pytest.raises(ValueError, match="broken"):
        await task
