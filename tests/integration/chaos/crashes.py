"""Crashes, each aimed at a row of the crash table (obs-dump.md §4): every worker dies with kill -9 at that step. Called by the chaos run;
every play ends with new incarnations at work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.integration.chaos.field import AIM_S, Field
from tests.support.kafka_proxy import Exchange as KafkaExchange
from tests.support.rules import Gate
from tests.support.s3_operations import Operation
from tests.support.waiting import eventually

Play = Callable[[Field], Awaitable[None]]

FETCH, ADD_OFFSETS, END_TXN, TXN_OFFSET_COMMIT = 1, 25, 26, 28
_PARENT_DIES_EVERY = 3
_TRIES = 3


class Aim:
    """What happens when the step comes: once, at the first exchange at which `when` holds, before it goes on."""

    def __init__(self, act: Callable[[], None], when: Callable[[], bool] = lambda: True) -> None:
        self._act, self._when, self._struck = act, when, asyncio.Event()

    def __call__(self, _exchange: object) -> None:
        if not self._struck.is_set() and self._when():
            self._act()
            self._struck.set()

    async def struck(self) -> None:
        async with asyncio.timeout(AIM_S):
            await self._struck.wait()


async def revive(field: Field) -> None:
    """The parent starts killed workers again, but ever more slowly; so every third time it is killed as well."""
    dead = field.tail.follow().begun()
    field.done["crashes"] += 1
    if field.done["crashes"] % _PARENT_DIES_EVERY == 0:
        field.forget_faults()
        await field.replace_everything()
    await field.recovered(dead)


async def _crash(field: Field, aim: Aim) -> None:
    await aim.struck()
    await revive(field)


async def crash_at_create(field: Field) -> None:
    """Row 1."""
    aim = Aim(field.kill_workers)
    field.store.on_request(Operation.CREATE_MULTIPART_UPLOAD, aim)
    await _crash(field, aim)


async def crash_at_part(field: Field) -> None:
    """Row 2."""
    aim = Aim(field.kill_workers)
    field.store.on_request(Operation.UPLOAD_PART, aim)
    await _crash(field, aim)


async def crash_at_offset_commit_of_several(field: Field) -> None:
    """Rows 3 and m."""
    aim = Aim(field.kill_workers, when=lambda: field.tail.follow().stands_in("m"))
    field.kafka.on_request(TXN_OFFSET_COMMIT, aim, None)
    await _crash(field, aim)


async def crash_at_end_before_the_broker(field: Field) -> None:
    """Row 4: the broker has not seen the EndTxn when the worker dies."""
    aim = Aim(field.kill_workers)
    field.kafka.on_request(END_TXN, aim)
    await _crash(field, aim)


async def crash_at_end_after_the_broker(field: Field) -> None:
    """Row 4: the broker has decided, and nobody has heard of it."""
    aim = Aim(field.kill_workers)
    field.kafka.on_answer(END_TXN, aim)
    await _crash(field, aim)


async def crash_before_complete(field: Field) -> None:
    """Row 5. Completes are held until the places for control requests are used up: others are committed and not yet sent. Where there are
    no others, because it is Creates that wait for the places, those that are held go on, and the next ones are held."""
    for left in reversed(range(_TRIES)):
        gate = field.store.hold_request(Operation.COMPLETE_MULTIPART_UPLOAD, None)
        try:
            await field.strike("5", AIM_S / _TRIES)
            break
        except AssertionError:
            if not left:
                raise
        finally:
            gate.release()
    await revive(field)


async def crash_at_complete(field: Field) -> None:
    """Row 6."""
    aim = Aim(field.kill_workers)
    field.store.on_answer(Operation.COMPLETE_MULTIPART_UPLOAD, aim)
    await _crash(field, aim)


async def crash_after_complete(field: Field) -> None:
    """Row 7. No transaction may begin after a Complete: the entry stays."""
    gates: list[Gate[KafkaExchange]] = []

    def hold(_exchange: object) -> None:
        gates.append(field.kafka.hold_request(ADD_OFFSETS, None))

    field.store.on_answer(Operation.COMPLETE_MULTIPART_UPLOAD, hold)
    await field.strike("7")
    for gate in gates:
        gate.release()
    await revive(field)


async def crash_when_idle_and_while_buffering(field: Field) -> None:
    """Row 8, then row 0. While nobody writes, every entry is dropped soon; the next owners read what is left, too little for an object."""
    async with field.load.quiet():
        for _ in range(_TRIES):
            await _everything_is_read(field)
            await field.strike("8", idle=True)
            field.done["crashes"] += 1
            dead = field.tail.begun()
            await field.replace_everything()
            await field.replaced(dead)
            await _everything_is_read(field)
            if field.tail.follow().stands_in("0"):
                await field.strike("0", idle=True)
                break
    await revive(field)


async def _everything_is_read(field: Field) -> None:
    """While nobody writes: until as many fetches as there are units were answered and not one step followed, and nothing is on its way."""
    answered = field.kafka.on_answer(FETCH, lambda _exchange: None, None)
    before = -1
    while before != field.tail.follow().lines:
        before = field.tail.lines
        await answered.hit(answered.hits + len(field.tail.begun()), AIM_S)
    await eventually(lambda: field.tail.follow().is_idle(), AIM_S, what="nothing is on its way")


CRASHES: tuple[Play, ...] = (
    crash_at_create,
    crash_at_part,
    crash_at_offset_commit_of_several,
    crash_at_end_before_the_broker,
    crash_at_end_after_the_broker,
    crash_before_complete,
    crash_at_complete,
    crash_after_complete,
    crash_when_idle_and_while_buffering,
)
