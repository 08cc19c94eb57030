"""Who owns a transactional id: taking it over, renewing its epoch, and what everybody else hears (kafka-replication.md §6.4)."""

from __future__ import annotations

from dataclasses import replace

from smartconnect.kafka import messages
from smartconnect.kafka.codes import KafkaCode
from tests.support.broker_rules.asking import Asker, Owner
from tests.support.broker_rules.making import made
from tests.support.broker_rules.registry import rule
from tests.support.broker_rules.sequences import OLD_EPOCH, stored
from tests.support.broker_rules.writing import begin, writer
from tests.support.waiting import eventually

READ_COMMITTED = 1


@rule
async def taking_an_id_over_aborts_what_is_open_and_fences_its_owner_everywhere(ask: Asker) -> None:
    tp = await ask.part()
    old = await writer(ask, True, tp)
    assert await ask.one(tp, made(old, 0), old) == stored(0)
    first = await ask.init(replace(old, producer_id=-1, epoch=-1))
    assert first.error_code == KafkaCode.CONCURRENT_TRANSACTIONS, "the abort comes first"
    new = await ask.owner(old.name or "")
    assert (new.producer_id, new.epoch) == (old.producer_id, old.epoch + 2), "one epoch for the abort, one for us"
    assert (await ask.log(tp, READ_COMMITTED)).aborted == [(old.producer_id, 0)]
    assert await ask.one(tp, made(old, 1), old) == OLD_EPOCH
    assert await ask.one(tp, made(replace(old, name=None), 1)) == OLD_EPOCH, "the marker tells the partition"
    assert await ask.add_once(old, tp) == {tp: KafkaCode.PRODUCER_FENCED}
    for commit in (True, False):
        assert await ask.end(old, commit=commit) is KafkaCode.PRODUCER_FENCED
    assert (await ask.init(old)).error_code == KafkaCode.PRODUCER_FENCED


@rule
async def renewal_is_answered_the_same_again_until_a_transaction_begins(ask: Asker) -> None:
    tp = await ask.part()
    old = await ask.owner()
    new = await ask.renew(old)
    assert (new.producer_id, new.epoch) == (old.producer_id, old.epoch + 1)
    assert await ask.renew(old) == new, "a copy of the same call"
    await begin(ask, new, tp)
    assert await ask.one(tp, made(new, 0), new) == stored(0)
    assert (await ask.init(old)).error_code == KafkaCode.CONCURRENT_TRANSACTIONS, "a copy that comes later aborts the transaction"

    async def fenced() -> bool:
        return await ask.end(new, commit=True) is KafkaCode.PRODUCER_FENCED

    await eventually(fenced)


@rule
async def renewal_of_somebody_older_never_succeeds_but_aborts_what_the_owner_has_open(ask: Asker) -> None:
    tp, old = await ask.part(), await ask.owner()
    for _ in range(2):
        owner = await ask.owner(old.name or "")
        assert (await ask.init(old)).error_code == KafkaCode.PRODUCER_FENCED, "while nothing is open"
    await begin(ask, owner, tp)
    assert await ask.one(tp, made(owner, 0), owner) == stored(0)
    assert (await ask.init(old)).error_code == KafkaCode.CONCURRENT_TRANSACTIONS

    async def fenced() -> bool:
        return bool((await ask.init(old)).error_code == KafkaCode.PRODUCER_FENCED)

    await eventually(fenced)
    assert await ask.end(owner, commit=True) is KafkaCode.PRODUCER_FENCED
    assert (await ask.log(tp, READ_COMMITTED)).aborted == [(owner.producer_id, 0)]


@rule
async def renewal_inside_a_transaction_aborts_it(ask: Asker) -> None:
    tp = await ask.part()
    old = await writer(ask, True, tp)
    assert await ask.one(tp, made(old, 0), old) == stored(0)
    new = await ask.renew(old)
    assert new.producer_id == old.producer_id and new.epoch > old.epoch
    assert (await ask.log(tp, READ_COMMITTED)).aborted == [(old.producer_id, 0)]
    await begin(ask, new, tp)
    assert await ask.one(tp, made(new, 0), new) == stored(2)


@rule
async def stranger_gets_nothing_from_a_coordinator(ask: Asker) -> None:
    tp = await ask.part()
    owner = await ask.owner()
    other_id = replace(owner, producer_id=owner.producer_id + 1_000_000)
    ahead = replace(owner, epoch=owner.epoch + 5)
    never = replace(owner, name=f"{owner.name}-never")
    for stranger, code in (
        (other_id, KafkaCode.INVALID_PRODUCER_ID_MAPPING),
        (never, KafkaCode.INVALID_PRODUCER_ID_MAPPING),
        (ahead, KafkaCode.PRODUCER_FENCED),
    ):
        assert await ask.add_once(stranger, tp) == {tp: code}
        assert await ask.end(stranger, commit=True) is code
    for stranger in (other_id, ahead):
        assert (await ask.init(stranger)).error_code == KafkaCode.PRODUCER_FENCED


@rule
async def init_refuses_what_makes_no_sense(ask: Asker) -> None:
    owner = await ask.owner()
    for wrong, timeout_ms, code in (
        (replace(owner, epoch=-1), 30_000, KafkaCode.INVALID_REQUEST),
        (replace(owner, name=""), 30_000, KafkaCode.INVALID_REQUEST),
        (owner, 10**9, KafkaCode.INVALID_TRANSACTION_TIMEOUT),
        (owner, 0, KafkaCode.INVALID_TRANSACTION_TIMEOUT),
    ):
        assert (await ask.init(wrong, timeout_ms)).error_code == code


async def coordinator_has_to_be_found_once_before_it_is_one(ask: Asker) -> None:
    """Of a cluster that nobody has used for transactions yet."""
    anybody = Owner("rules-first", -1, -1)
    connection = await ask.leader()
    for _ in range(3):
        answer = await connection.call(messages.INIT_PRODUCER_ID, anybody.fields | {"transaction_timeout_ms": 30_000})
        assert answer.error_code == KafkaCode.NOT_COORDINATOR
    assert (await ask.owner("rules-first")).epoch == 0
    connection.close()
