"""Trouble that a worker has to live through: answers lost after the effect, answers that lie, storms, resets, cuts, a broker that dies.
Called by the chaos run; every play ends with everything passing again and objects appearing.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.integration.chaos.crashes import ADD_OFFSETS, END_TXN, TXN_OFFSET_COMMIT, Aim, Play
from tests.integration.chaos.field import AIM_S, Field
from tests.support.kafka_proxy import KafkaRule
from tests.support.s3_answers import COMPLETE_FAILED_WITH_200, SERVICE_UNAVAILABLE, SLOW_DOWN
from tests.support.s3_operations import Operation
from tests.support.s3_proxy import S3Rule

_STORE_STEPS = (Operation.CREATE_MULTIPART_UPLOAD, Operation.UPLOAD_PART, Operation.COMPLETE_MULTIPART_UPLOAD)
_BURSTS_MEANWHILE = 5
_TRANSACTION_STEPS = (END_TXN, TXN_OFFSET_COMMIT, ADD_OFFSETS)


async def answers_lost(field: Field) -> None:
    """Every call of the protocol is done and not answered, once; and once an answer says 200 but means an error."""
    store, kafka = field.store, field.kafka
    lost: list[S3Rule | KafkaRule] = [store.drop_answer(step) for step in _STORE_STEPS]
    lost += [kafka.drop_answer(step) for step in _TRANSACTION_STEPS]
    lost.append(kafka.close_before(END_TXN))
    lies: list[S3Rule | KafkaRule] = [
        store.replace_answer(Operation.COMPLETE_MULTIPART_UPLOAD, COMPLETE_FAILED_WITH_200),
        store.refuse(Operation.COMPLETE_MULTIPART_UPLOAD, COMPLETE_FAILED_WITH_200),
    ]
    resets: list[S3Rule | KafkaRule] = [store.reset_request(Operation.UPLOAD_PART, 1000)]
    for what, rules in (("lost answers", lost), ("200 with an error inside", lies), ("resets in a body", resets)):
        await _hit_each(rules)
        field.done[what] += sum(rule.hits for rule in rules)
    await field.moves_on()


async def _hit_each(rules: Sequence[S3Rule | KafkaRule]) -> None:
    for rule in rules:
        await rule.hit(1, AIM_S)


async def store_storm(field: Field) -> None:
    """503 for everything, many times."""
    for answer in (SLOW_DOWN, SERVICE_UNAVAILABLE):
        rule = field.store.refuse(Operation.ANY, answer, 20)
        await rule.hit(10, AIM_S)
        rule.remove()
        field.done["503 answers"] += rule.hits
    await field.moves_on()


async def kafka_cut(field: Field) -> None:
    """Kafka's connections are reset when a transaction ends, and refused while the producers go on."""
    aim = Aim(field.kafka.cut)
    field.kafka.on_request(END_TXN, aim)
    await _cut(field, aim)


async def store_cut(field: Field) -> None:
    """The same with the store, when a part is on its way."""
    aim = Aim(field.store.cut)
    field.store.on_request(Operation.UPLOAD_PART, aim)
    await _cut(field, aim)


async def _cut(field: Field, aim: Aim) -> None:
    await aim.struck()
    await field.losses(1)
    for _ in range(_BURSTS_MEANWHILE):
        await field.load.burst()
    field.forget_faults()
    field.done["cuts"] += 1
    await field.moves_on()


async def freeze_for_a_moment(field: Field) -> None:
    """Shorter than the parent's patience, while the producers go on."""
    field.freeze_workers()
    for _ in range(_BURSTS_MEANWHILE):
        await field.load.burst()
    field.thaw()
    field.done["moments of standing still"] += 1
    await field.moves_on()


async def resets(field: Field) -> None:
    """Every connection is reset, at three moments that chance chooses; new ones are welcome."""
    for _ in range(3):
        await field.steps(field.random.randint(1, 40))
        for proxy in (field.kafka, field.store):
            proxy.cut()
            proxy.heal()
        field.done["resets of all connections"] += 1
    await field.moves_on()


async def broker_restart(field: Field) -> None:
    """kill -9 of the broker when a transaction ends, before or after it has decided; it comes back on the same ports and data."""
    hold = field.random.choice((field.kafka.hold_request, field.kafka.hold_answer))
    gate = hold(END_TXN)
    await gate.reached(1, AIM_S)
    await field.kafka.cluster.kill()
    gate.release()
    await field.kafka.cluster.start()
    field.done["broker restarts"] += 1
    await field.moves_on()


TROUBLE: tuple[Play, ...] = (answers_lost, store_storm, kafka_cut, store_cut, freeze_for_a_moment)
