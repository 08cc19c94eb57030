"""The one retry helper: what it repeats, how fast, what ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from smartconnect.domain.backoff import Backoff
from smartconnect.domain.clock import Clock
from smartconnect.objectstore.errors import BadDigest, BusyKind, KeyRefused, NoSuchUpload, StoreBusy, StoreRefused
from smartconnect.objectstore.retry import Changed, Retry, RetryPolicy, until_done

BUSY = StoreBusy("busy", kind=BusyKind.SERVER_ERROR, store_code="InternalError")
REFUSED = StoreRefused("refused", store_code="AccessDenied")
QUICK = Backoff(first_s=0.0, cap_s=0.0)
AN_HOUR = 3600.0


class Script:
    """Raises what it is told, one after the other, then returns "done"."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return "done"


def policy(*, backoff: Backoff = QUICK, refused_every_s: float = AN_HOUR, now: Callable[[], float] = lambda: 0.0) -> RetryPolicy:
    return RetryPolicy(random=lambda: 0.5, clock=Clock(monotonic=now), backoff=backoff, refused_every_s=refused_every_s)


async def test_busy_is_tried_again_until_it_is_done() -> None:
    call, told = Script(*[BUSY] * 5), list[Retry]()
    assert await until_done(call, policy=policy(), stop=asyncio.Event(), on_retry=told.append) == "done"
    assert [note.failures for note in told] == [1, 2, 3, 4, 5]


async def test_waits_follow_the_backoff_and_tell_for_how_long_it_has_been_failing() -> None:
    moments = iter([100.0, 131.0])
    told = list[Retry]()
    slow = policy(backoff=Backoff(first_s=0.002, cap_s=0.003), now=lambda: next(moments))
    await until_done(Script(BUSY, BUSY), policy=slow, stop=asyncio.Event(), on_retry=told.append)
    assert [note.delay_s for note in told] == [0.001, 0.0015]
    assert [note.failing_s for note in told] == [0.0, 31.0]


async def test_refused_is_tried_again_at_its_own_pace() -> None:
    call, told = Script(REFUSED, REFUSED), list[Retry]()
    await until_done(call, policy=policy(refused_every_s=0.001), stop=asyncio.Event(), on_retry=told.append)
    assert [note.delay_s for note in told] == [0.001, 0.001]


async def test_refused_is_tried_again_at_once_when_something_was_changed() -> None:
    slow = policy()
    waiting = [asyncio.Event(), asyncio.Event()]
    calls = [
        asyncio.create_task(
            until_done(Script(REFUSED), policy=slow, stop=asyncio.Event(), on_retry=lambda _, event=event: event.set())
        )
        for event in waiting
    ]
    for event in waiting:
        await event.wait()
    slow.changed.set()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*calls) == ["done", "done"]


async def test_a_change_during_the_call_that_is_refused_is_not_missed() -> None:
    slow = policy()
    call = Script(REFUSED)

    async def changed_meanwhile() -> str:
        if call.failures:
            slow.changed.set()
        return await call()

    async with asyncio.timeout(5):
        assert await until_done(changed_meanwhile, policy=slow, stop=asyncio.Event(), on_retry=lambda _: None) == "done"


async def test_a_change_does_not_hurry_a_store_that_is_busy() -> None:
    slow = policy(backoff=Backoff(first_s=AN_HOUR, cap_s=AN_HOUR))
    waiting, stop = asyncio.Event(), asyncio.Event()
    call = Script(BUSY)
    task = asyncio.create_task(until_done(call, policy=slow, stop=stop, on_retry=lambda _: waiting.set()))
    await waiting.wait()
    slow.changed.set()
    await asyncio.wait([task], timeout=0.05)
    assert not task.done()
    stop.set()
    with pytest.raises(StoreBusy):
        await task
    assert call.calls == 1


async def test_a_damaged_part_is_sent_again_twice_at_once_and_then_slowly() -> None:
    told = list[Retry]()
    call = Script(*[BadDigest("damaged")] * 3)
    await until_done(call, policy=policy(refused_every_s=0.001), stop=asyncio.Event(), on_retry=told.append)
    assert [note.delay_s for note in told] == [0.0, 0.0, 0.001]


@pytest.mark.parametrize("error", [NoSuchUpload("gone"), KeyRefused("no", store_code="KeyTooLongError"), ValueError("bug")])
async def test_what_the_caller_must_decide_is_raised(error: Exception) -> None:
    call = Script(error)
    with pytest.raises(type(error)):
        await until_done(call, policy=policy(), stop=asyncio.Event(), on_retry=lambda _: None)
    assert call.calls == 1


async def test_stop_ends_the_wait_with_the_last_error() -> None:
    stop, waiting = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(until_done(Script(REFUSED), policy=policy(), stop=stop, on_retry=lambda _: waiting.set()))
    await waiting.wait()
    stop.set()
    with pytest.raises(StoreRefused):
        await task


async def test_one_try_is_made_even_after_stop() -> None:
    stop = asyncio.Event()
    stop.set()
    assert await until_done(Script(), policy=policy(), stop=stop, on_retry=lambda _: None) == "done"
    with pytest.raises(StoreBusy):
        await until_done(Script(BUSY), policy=policy(), stop=stop, on_retry=lambda _: None)


async def test_cancelling_ends_it_and_leaves_no_task() -> None:
    waiting = asyncio.Event()
    before = asyncio.all_tasks()
    task = asyncio.create_task(until_done(Script(REFUSED), policy=policy(), stop=asyncio.Event(), on_retry=lambda _: waiting.set()))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_waiter_that_comes_after_the_change_does_not_wait() -> None:
    changed = Changed()
    changed.set()
    async with asyncio.timeout(1):
        await changed.wait_beyond(0)
    assert changed.version == 1
