"""Shared memory and places: everybody has a guaranteed share, whoever else is greedy or stuck."""

from __future__ import annotations

import asyncio

from smartconnect.jobs.memory_budget import MemoryBudget
from smartconnect.jobs.obs_dump.places import UploadPlaces


async def test_a_greedy_unit_leaves_the_others_their_guarantee() -> None:
    budget = MemoryBudget(1000)
    greedy, modest = budget.join(), budget.join()
    await greedy.acquire(700)
    waiting = asyncio.ensure_future(greedy.acquire(100))
    await asyncio.wait({waiting}, timeout=0.01)
    assert not waiting.done()
    await asyncio.wait_for(modest.acquire(250), 1)
    greedy.release(700)
    await asyncio.wait_for(waiting, 1)


async def test_a_unit_that_holds_nothing_is_always_let_in() -> None:
    budget = MemoryBudget(1000)
    share = budget.join()
    await asyncio.wait_for(share.acquire(5000), 1)
    assert share.pressure() > 1


async def test_what_an_ended_unit_held_is_free_at_once_and_never_counted_twice() -> None:
    budget = MemoryBudget(1000)
    ended, other = budget.join(), budget.join()
    await ended.acquire(600)
    ended.leave()
    ended.credit(600)
    await asyncio.wait_for(other.acquire(1000), 1)
    assert budget.used == 1000


async def test_room_comes_when_another_unit_lets_go() -> None:
    budget = MemoryBudget(1000)
    share, other = budget.join(), budget.join()
    await other.acquire(500)
    share.charge(500)
    waiting = asyncio.ensure_future(share.room())
    await asyncio.wait({waiting}, timeout=0.01)
    assert not waiting.done()
    other.release(500)
    await asyncio.wait_for(waiting, 1)


async def test_no_unit_is_pressed_while_the_budget_is_at_ease() -> None:
    budget = MemoryBudget(1000)
    shares = [budget.join() for _ in range(5)]
    for step in range(60):
        shares[step % 7 % 5].charge(7)
        if budget.at_ease:
            assert max(share.pressure() for share in shares) <= 0.5
    assert not budget.at_ease


async def test_a_unit_whose_uploads_hang_keeps_nobody_from_uploading() -> None:
    places = UploadPlaces(2)
    stuck, other = places.join(), places.join()
    held = [stuck.place() for _ in range(3)]
    for place in held:
        await asyncio.wait_for(place.__aenter__(), 1)
    another = stuck.place()
    more = asyncio.ensure_future(another.__aenter__())
    async with asyncio.timeout(1), other.place():
        pass
    assert not more.done()
    await held[0].__aexit__(None, None, None)
    await asyncio.wait_for(more, 1)


async def test_shared_places_go_round_in_turns() -> None:
    places = UploadPlaces(1)
    first, second = places.join(), places.join()
    own = [unit.place() for unit in (first, second)]
    for place in own:
        await place.__aenter__()
    shared = first.place()
    await shared.__aenter__()
    order: list[str] = []

    async def use(name: str, unit: object) -> None:
        async with unit.place():  # type: ignore[attr-defined]
            order.append(name)

    waiting = [asyncio.ensure_future(use(name, unit)) for name, unit in (("a1", first), ("a2", first), ("b1", second))]
    await asyncio.sleep(0)
    await shared.__aexit__(None, None, None)
    await asyncio.wait_for(asyncio.gather(*waiting), 1)
    assert order.index("b1") < 2


async def test_a_cancelled_wait_gives_its_place_back() -> None:
    places = UploadPlaces(0)
    unit = places.join()
    held = unit.place()
    await held.__aenter__()
    another = unit.place()
    waiting = asyncio.ensure_future(another.__aenter__())
    await asyncio.sleep(0)
    await held.__aexit__(None, None, None)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(1), unit.place():
        assert True
