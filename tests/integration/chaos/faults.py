"""The faults, each aimed at a step of the protocol (obs-dump.md §4): crashes at a row, zombies that wake after the take-over, and
trouble that a worker has to live through. Called by the chaos run; every play ends with the dump at work again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from tests.integration.chaos.field import Field
from tests.support.kafka_proxy import Exchange as KafkaExchange
from tests.support.rules import Gate
from tests.support.s3_answers import COMPLETE_FAILED_WITH_200, SERVICE_UNAVAILABLE, SLOW_DOWN
from tests.support.s3_operations import Operation
from tests.support.s3_proxy import Exchange as StoreExchange
from tests.support.waiting import eventually

Play = Callable[[Field], Awaitable[None]]

ADD_OFFSETS, END_TXN, TXN_OFFSET_COMMIT = 25, 26, 28
_AIM_S = 45.0


class Aim:
    """What happens when the step comes: once, at the exchange, before it goes on."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act, self._struck = act, asyncio.Event()

    def __call__(self, _exchange: object) -> None:
        if not self._struck.is_set():
            self._act()
            self._struck.set()

    async def struck(self) -> None:
        async with asyncio.timeout(_AIM_S):
            await self._struck.wait()


async def _crash(field: Field, arm: Callable[[Aim], object]) -> None:
    aim = Aim(field.kill_workers)
    arm(aim)
    await aim.struck()
    await _revive(field)


async def _revive(field: Field) -> None:
    """The parent starts killed workers again, but ever more slowly; so every third time it dies as well."""
    dead = field.tail.follow().begun()
    field.done["crashes"] += 1
    if field.done["crashes"] % 3 == 0:
        field.forget_faults()
        await field.replace_everything()
    await field.recovered(dead)


async def crash_at_create(field: Field) -> None:
    await _crash(field, lambda aim: field.store.on_request(Operation.CREATE_MULTIPART_UPLOAD, aim))


async def crash_at_part(field: Field) -> None:
    await _crash(field, lambda aim: field.store.on_request(Operation.UPLOAD_PART, aim))


async def crash_at_offset_commit(field: Field) -> None:
    await _crash(field, lambda aim: field.kafka.on_request(TXN_OFFSET_COMMIT, aim))


async def crash_at_end_before_the_broker(field: Field) -> None:
    await _crash(field, lambda aim: field.kafka.on_request(END_TXN, aim))


async def crash_at_end_after_the_broker(field: Field) -> None:
    await _crash(field, lambda aim: field.kafka.on_answer(END_TXN, aim))


async def crash_before_complete(field: Field) -> None:
    """Completes are held until the places for control requests are used up: others are committed and not yet sent."""
    gate = field.store.hold_request(Operation.COMPLETE_MULTIPART_UPLOAD, None)
    await _stands(field, "5")
    field.kill_workers()
    gate.release()
    await _revive(field)


async def crash_at_complete(field: Field) -> None:
    await _crash(field, lambda aim: field.store.on_answer(Operation.COMPLETE_MULTIPART_UPLOAD, aim))


async def crash_after_complete(field: Field) -> None:
    """No transaction may begin after a Complete: the entry stays."""
    gates: list[Gate[KafkaExchange]] = []

    def hold(_exchange: object) -> None:
        gates.append(field.kafka.hold_request(ADD_OFFSETS, None))

    field.store.on_answer(Operation.COMPLETE_MULTIPART_UPLOAD, hold)
    await _stands(field, "7")
    field.kill_workers()
    for gate in gates:
        gate.release()
    await _revive(field)


async def crash_at_random(field: Field) -> None:
    """Whatever they are doing."""
    await asyncio.sleep(Random().random())
    field.kill_workers()
    await _revive(field)


async def zombie_before_end(field: Field) -> None:
    """Frozen with a transaction open; it wakes when its successor is at work, and finds itself fenced."""
    aim = Aim(field.freeze_workers)
    field.kafka.on_answer(TXN_OFFSET_COMMIT, aim)
    await aim.struck()
    await _wake_late(field, "z1", None)


async def zombie_at_complete(field: Field) -> None:
    """Frozen while its Complete is on the wire; that arrives after the successor has completed the same upload."""
    await _zombie_at(field, Operation.COMPLETE_MULTIPART_UPLOAD, "z2")


async def zombie_at_part(field: Field) -> None:
    """Frozen while a part is on the wire; it arrives after the take-over."""
    await _zombie_at(field, Operation.UPLOAD_PART, "z3")


async def _zombie_at(field: Field, operation: Operation, row: str) -> None:
    gate = field.store.hold_request(operation, None)
    await gate.reached(1, _AIM_S)
    field.freeze_workers()
    await _wake_late(field, row, gate)


async def _wake_late(field: Field, row: str, gate: Gate[StoreExchange] | None) -> None:
    field.done["zombies"] += 1
    field.forget_faults()
    before, frozen = field.tail.follow().zombies[row], field.tail.begun()
    await field.replace_everything()
    await field.recovered(frozen)
    if gate is not None:
        gate.release()
    woken = field.thaw()
    await field.gone(woken, 30)
    await field.moves_on()
    field.done[f"{row} missed"] += field.tail.follow().zombies[row] == before


async def freeze_for_a_moment(field: Field) -> None:
    """Shorter than the parent's patience: the same incarnations go on."""
    field.freeze_workers()
    await asyncio.sleep(2)
    field.thaw()
    await field.moves_on()


async def freeze_until_replaced(field: Field) -> None:
    """Longer than the parent's patience: it kills them and starts others."""
    frozen = field.tail.follow().begun()
    field.freeze_workers()
    await field.recovered(frozen)
    field.frozen.clear()


async def answers_lost(field: Field) -> None:
    """Every call of the protocol is done and not answered, once; and once an answer says 200 but means an error."""
    store, kafka = field.store, field.kafka
    rules = [
        *(store.drop_answer(step, 1) for step in _STORE_STEPS),
        store.replace_answer(Operation.COMPLETE_MULTIPART_UPLOAD, COMPLETE_FAILED_WITH_200),
        store.refuse(Operation.COMPLETE_MULTIPART_UPLOAD, COMPLETE_FAILED_WITH_200),
        store.reset_request(Operation.UPLOAD_PART, 1000),
    ]
    kafka_rules = [kafka.drop_answer(step, 1) for step in (END_TXN, TXN_OFFSET_COMMIT, ADD_OFFSETS)]
    kafka_rules.append(kafka.close_before(END_TXN, 1))
    for rule in rules:
        await rule.hit(1, _AIM_S)
    for kafka_rule in kafka_rules:
        await kafka_rule.hit(1, _AIM_S)
    field.done["lost answers"] += len(rules) + len(kafka_rules)
    await field.moves_on()


async def store_storm(field: Field) -> None:
    """503 for everything, many times."""
    for answer in (SLOW_DOWN, SERVICE_UNAVAILABLE):
        rule = field.store.refuse(Operation.ANY, answer, 20)
        await rule.hit(10, _AIM_S)
    field.done["503 answers"] += 40
    field.forget_faults()
    await field.moves_on()


async def network_cut(field: Field) -> None:
    """Kafka's connections are reset and refused for two seconds, then the store's."""
    for proxy in (field.kafka, field.store):
        proxy.cut()
        await asyncio.sleep(2)
        proxy.heal()
        field.done["cuts"] += 1
        await field.moves_on()


async def _stands(field: Field, row: str) -> None:
    await eventually(lambda: field.tail.follow().stands_in(row), _AIM_S, what=f"a unit stands in row {row}")


_STORE_STEPS = (Operation.CREATE_MULTIPART_UPLOAD, Operation.UPLOAD_PART, Operation.COMPLETE_MULTIPART_UPLOAD)

CRASHES: tuple[Play, ...] = (
    crash_at_create,
    crash_at_part,
    crash_at_offset_commit,
    crash_at_end_before_the_broker,
    crash_at_end_after_the_broker,
    crash_before_complete,
    crash_at_complete,
    crash_after_complete,
)
ZOMBIES: tuple[Play, ...] = (zombie_before_end, zombie_at_complete, zombie_at_part)
TROUBLE: tuple[Play, ...] = (answers_lost, store_storm, network_cut, freeze_for_a_moment)
LONG_ONLY: tuple[Play, ...] = (crash_at_random, freeze_until_replaced)
