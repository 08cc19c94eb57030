"""Whose batch it is and which number it has (kafka-replication.md §6.1, points 7 and 8)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from smartconnect.kafka.codes import KafkaCode
from tests.support.broker_rules.asking import Asker, Owner, Part, submit
from tests.support.broker_rules.making import NOBODY, NOW_MS, made, torn
from tests.support.broker_rules.registry import both_deliveries, rule
from tests.support.broker_rules.writing import begin, writer

OUT_OF_ORDER = Part(KafkaCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1, -1)
OLD_EPOCH = Part(KafkaCode.INVALID_PRODUCER_EPOCH, -1, -1)
LAST = 2**31 - 1


def stored(offset: int) -> Part:
    return Part(KafkaCode.NONE, offset, -1)


def is_repeat(answer: Part, offset: int) -> bool:
    """Success, with the offset of the first time, and a time of the broker's although the topic has CreateTime."""
    return answer.error is KafkaCode.NONE and answer.base_offset == offset and answer.append_time >= NOW_MS


@both_deliveries
async def next_number_is_the_last_plus_one(ask: Asker, transactional: bool) -> None:
    tp = await ask.part()
    owner = await writer(ask, transactional, tp)
    assert await ask.one(tp, made(owner, 0, 3), owner) == stored(0)
    assert await ask.one(tp, made(owner, 3, 2), owner) == stored(3)
    for wrong in (6, 100, 2, LAST):
        assert await ask.one(tp, made(owner, wrong), owner) == OUT_OF_ORDER
    assert await ask.one(tp, made(owner, 5), owner) == stored(5)
    assert await ask.last_sequences(tp) == {owner.producer_id: 5}


@both_deliveries
async def repeat_of_one_of_the_last_five_is_answered_as_the_first_time(ask: Asker, transactional: bool) -> None:
    tp = await ask.part()
    owner = await writer(ask, transactional, tp)
    for number in range(7):
        assert await ask.one(tp, made(owner, 2 * number, 2), owner) == stored(2 * number)
    for number in range(2, 7):
        repeat = made(owner, 2 * number, 2, value=b"nobody compares this")
        assert is_repeat(await ask.one(tp, repeat, owner), 2 * number)
    for wrong in (made(owner, 0, 2), made(owner, 2, 2), made(owner, 12, 1), made(owner, 10, 4), made(owner, 11, 2)):
        assert await ask.one(tp, wrong, owner) == OUT_OF_ORDER, "too long ago, or no repeat of a whole batch"
    assert (await ask.log(tp)).high_watermark == 14


@both_deliveries
async def unknown_producer_begins_with_any_number_and_numbers_wrap(ask: Asker, transactional: bool) -> None:
    even, across = await ask.parts(2)
    owner = await writer(ask, transactional, even, across)
    assert await ask.one(even, made(owner, LAST - 2, 3), owner) == stored(0)
    assert await ask.one(even, made(owner, 0), owner) == stored(3)
    assert await ask.one(across, made(owner, LAST - 1, 4), owner) == stored(0)
    assert await ask.one(across, made(owner, 1), owner) == OUT_OF_ORDER
    assert await ask.one(across, made(owner, 2), owner) == stored(4)
    assert is_repeat(await ask.one(across, made(owner, LAST - 1, 4), owner), 0)


@both_deliveries
async def what_is_behind_a_refused_batch_is_out_of_order_and_all_may_come_again(ask: Asker, transactional: bool) -> None:
    """Five requests on one connection: they run one after the other."""
    tp, connection = await ask.part(), await ask.leader()
    owner = await writer(ask, transactional, tp)
    batches = [made(owner, 2 * number, 2) for number in range(5)]
    answers = [await submit(connection, [(tp, batch)], owner.name) for batch in (batches[0], torn(batches[1]), *batches[2:])]
    found = [(await answer)[tp] for answer in answers]
    assert found == [stored(0), Part(KafkaCode.CORRUPT_MESSAGE, -1, -1), *[OUT_OF_ORDER] * 3]
    answers = [await submit(connection, [(tp, batch)], owner.name) for batch in batches]
    found = [(await answer)[tp] for answer in answers]
    assert is_repeat(found[0], 0) and found[1:] == [stored(2 * number) for number in range(1, 5)]
    connection.close()


@both_deliveries
async def first_batch_that_is_refused_is_overtaken_outside_of_transactions_only(ask: Asker, transactional: bool) -> None:
    """Why `ProduceChannel` sends the first batch of a partition alone."""
    tp = await ask.part()
    owner = await writer(ask, transactional, tp)
    first, second = made(owner, 0), made(owner, 1)
    assert (await ask.one(tp, torn(first), owner)).error is KafkaCode.CORRUPT_MESSAGE
    assert await ask.one(tp, second, owner) == (OUT_OF_ORDER if transactional else stored(0))
    assert await ask.one(tp, first, owner) == (stored(0) if transactional else OUT_OF_ORDER)


@both_deliveries
async def new_epoch_begins_with_0_and_the_older_one_is_refused(ask: Asker, transactional: bool) -> None:
    tp = await ask.part()
    old = await writer(ask, transactional, tp)
    assert await ask.one(tp, made(old, 0, 2), old) == stored(0)
    if transactional:
        assert await ask.ended(old, commit=True) is KafkaCode.NONE
        new = await ask.renew(old)
        await begin(ask, new, tp)
    else:
        new = replace(old, epoch=old.epoch + 3)
    at = 3 if transactional else 2
    assert await ask.one(tp, made(new, 2), new) == OUT_OF_ORDER
    assert await ask.one(tp, made(new, 0), new) == stored(at)
    assert is_repeat(await ask.one(tp, made(new, 0), new), at)
    for sequence in (0, 1, 2):
        assert await ask.one(tp, made(old, sequence), old) == OLD_EPOCH


@rule
async def made_up_producer_is_taken_and_fenced_by_nobody_but_a_later_epoch_of_its_own(ask: Asker) -> None:
    tp, one, other = await ask.part(), Owner(None, 987_654_321, 7), Owner(None, 987_654_322, 0)
    assert await ask.one(tp, made(one, 77)) == stored(0)
    assert await ask.one(tp, made(other, 5)) == stored(1)
    assert await ask.one(tp, made(one, 78)) == stored(2)
    assert await ask.one(tp, made(replace(one, epoch=6), 0)) == OLD_EPOCH
    assert await ask.one(tp, made(replace(one, epoch=-1), 79)) == OLD_EPOCH
    assert await ask.last_sequences(tp) == {one.producer_id: 78, other.producer_id: 5}


@rule
async def number_without_a_producer_means_nothing(ask: Asker) -> None:
    tp = await ask.part()
    for number in range(3):
        assert await ask.one(tp, made(NOBODY, 7)) == stored(number)
    assert await ask.last_sequences(tp) == {}


async def killed_broker_remembers_the_last_batch_of_each_producer_only(
    ask: Asker, kill_and_start: Callable[[], Awaitable[None]]
) -> None:
    """Of a broker of its own. Why an answer that is lost with its broker ends a transaction, and what tells the idempotent delivery."""
    tp, owner = await ask.part(), await ask.producer()
    for number in range(3):
        assert await ask.one(tp, made(owner, number), owner) == stored(number)
    await kill_and_start()
    await ask.served([tp])
    assert await ask.one(tp, made(owner, 1), owner) == OUT_OF_ORDER, "although it is stored"
    assert is_repeat(await ask.one(tp, made(owner, 2), owner), 2)
    assert await ask.last_sequences(tp) == {owner.producer_id: 2}
    assert await ask.one(tp, made(owner, 3), owner) == stored(3)
