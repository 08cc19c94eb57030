"""Transactions: which batches belong to one, and how it ends (kafka-replication.md §6.1, point 2, and §6.4)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

from smartconnect.kafka.batch import parse_header
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.connection import Connection
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels.batch import CONTROL
from tests.support.broker_rules.asking import Asker, Part, submit
from tests.support.broker_rules.making import NOBODY, made, torn
from tests.support.broker_rules.registry import rule
from tests.support.broker_rules.sequences import OUT_OF_ORDER, is_repeat, stored
from tests.support.broker_rules.writing import begin, writer
from tests.support.waiting import eventually

READ_COMMITTED = 1
NOT_VERIFIED = Part(KafkaCode.TRANSACTION_ABORTABLE, -1, -1)


@rule
async def transactional_batch_needs_its_partition_in_the_transaction(ask: Asker) -> None:
    inside, outside = await ask.parts(2)
    owner = await ask.owner()
    assert await ask.one(inside, made(owner, 0), owner) == NOT_VERIFIED, "no transaction at all"
    await begin(ask, owner, inside)
    assert await ask.one(inside, made(owner, 0), owner) == stored(0)
    for version in range(7, 11):
        old = await ask.produce({outside: made(owner, 0)}, owner, version=version)
        assert old == {outside: Part(KafkaCode.INVALID_TXN_STATE, -1, -1)}, "the name of it before version 11"
    assert await ask.one(outside, made(owner, 0), owner) == NOT_VERIFIED
    for _ in ("commit", "its markers are written"):
        assert await ask.ended(owner, commit=True) is KafkaCode.NONE
    assert await ask.one(inside, made(owner, 1), owner) == NOT_VERIFIED, "it is over"
    assert (await ask.log(inside)).high_watermark == 2 and (await ask.log(outside)).high_watermark == 0


@rule
async def transactional_batch_needs_the_transactional_id_in_the_request(ask: Asker) -> None:
    tp, other = await ask.parts(2)
    owner = await writer(ask, True, tp)
    refused = Part(KafkaCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, -1, -1)
    assert await ask.produce({tp: made(owner, 0), other: made(NOBODY, -1)}) == {tp: refused, other: refused}
    assert (await ask.log(other)).high_watermark == 0


@rule
async def plain_batch_in_the_request_of_a_transaction_is_not_part_of_it(ask: Asker) -> None:
    tp = await ask.part()
    owner = await writer(ask, True, tp)
    assert await ask.one(tp, made(NOBODY, -1), owner) == stored(0)
    log = await ask.log(tp)
    assert log.last_stable == log.high_watermark == 1


@rule
async def request_of_a_transaction_holds_one_producer(ask: Asker) -> None:
    one, two = await ask.parts(2)
    owner, stranger = await writer(ask, True, one, two), await ask.owner()
    refused = Part(KafkaCode.INVALID_PRODUCER_ID_MAPPING, -1, -1)
    mixed = await ask.produce({one: made(owner, 0), two: made(stranger, 0)}, owner)
    assert mixed == {one: refused, two: refused}
    assert await ask.one(one, made(stranger, 0), owner) == refused, "a producer that the id does not have"
    assert await ask.one(one, made(owner, 0), owner) == stored(0)


@rule
async def commit_counts_with_its_marker_and_hides_everything_behind_its_first_batch_until_then(ask: Asker) -> None:
    tp = await ask.part()
    assert await ask.one(tp, made(NOBODY, -1)) == stored(0)
    owner = await writer(ask, True, tp)
    assert await ask.one(tp, made(owner, 0, 2), owner) == stored(1)
    assert await ask.one(tp, made(NOBODY, -1)) == stored(3)
    log = await ask.log(tp, READ_COMMITTED)
    assert (len(log.batches), log.last_stable, log.high_watermark) == (1, 1, 4)
    assert await ask.ended(owner, commit=True) is KafkaCode.NONE

    async def all_seen() -> bool:
        return (await ask.log(tp, READ_COMMITTED)).last_stable == 5

    await eventually(all_seen)
    log = await ask.log(tp, READ_COMMITTED)
    marker = parse_header(log.batches[-1])
    assert (marker.base_offset, marker.attributes & CONTROL, marker.producer_id) == (4, CONTROL, owner.producer_id)
    assert (marker.producer_epoch, marker.base_sequence, marker.last_offset_delta) == (owner.epoch, -1, 0)
    assert log.aborted == []


@rule
async def abort_is_told_to_readers_and_numbers_go_on(ask: Asker) -> None:
    tp = await ask.part()
    owner = await writer(ask, True, tp)
    assert await ask.one(tp, made(owner, 0, 2), owner) == stored(0)
    assert await ask.ended(owner, commit=False) is KafkaCode.NONE
    await begin(ask, owner, tp)
    assert await ask.one(tp, made(owner, 2), owner) == stored(3)
    assert is_repeat(await ask.one(tp, made(owner, 0, 2), owner), 0), "also of a batch that was aborted"
    assert (await ask.log(tp)).aborted == [], "who reads uncommitted does not ask"
    assert await ask.ended(owner, commit=True) is KafkaCode.NONE
    await begin(ask, owner, tp)
    log = await ask.log(tp, READ_COMMITTED)
    assert log.aborted == [(owner.producer_id, 0)] and log.high_watermark == 5


@rule
async def first_number_that_is_tried_in_a_transaction_is_stored_first(ask: Asker) -> None:
    """Until then the partition is being verified, and nothing overtakes."""
    tp, again = await ask.parts(2)
    owner = await writer(ask, True, tp, again)
    for part in (tp, again):
        assert await ask.one(part, made(owner, 0), owner) == stored(0)
    assert await ask.ended(owner, commit=True) is KafkaCode.NONE
    await begin(ask, owner, tp, again)
    assert is_repeat(await ask.one(again, made(owner, 0), owner), 0), "a repeat is a try"
    assert await ask.one(again, made(owner, 1), owner) == OUT_OF_ORDER, "although it is next"
    assert await ask.one(tp, made(owner, 1), owner) == stored(2)
    assert await ask.one(tp, made(owner, 2), owner) == stored(3)
    assert await ask.ended(owner, commit=False) is KafkaCode.NONE
    await begin(ask, owner, again)
    assert await ask.one(again, made(owner, 1), owner) == stored(3), "each transaction begins anew"


@rule
async def lowest_number_that_is_tried_counts_and_only_that_of_the_newest_epoch(ask: Asker) -> None:
    tp, other = await ask.parts(2)
    old = await writer(ask, True, tp)
    for sequence in (1, 0):
        assert (await ask.one(tp, torn(made(old, sequence)), old)).error is KafkaCode.CORRUPT_MESSAGE
    assert await ask.one(tp, made(old, 1), old) == OUT_OF_ORDER
    assert await ask.one(tp, made(old, 0), old) == stored(0)
    assert await ask.one(other, made(old, 0), old) == NOT_VERIFIED, "a try of the older epoch"
    assert await ask.ended(old, commit=True) is KafkaCode.NONE
    new = await ask.renew(old)
    await begin(ask, new, other)
    assert await ask.one(other, made(new, 7), new) == stored(0)


@rule
async def two_connections_that_begin_parts_of_one_transaction_collide_and_one_does_not(ask: Asker) -> None:
    """Why there is one produce connection for each unit and leader: one verification at a time for each id, the older one loses."""
    parts = await ask.parts(8)
    one, two = await ask.leader(), await ask.leader()
    for _ in range(5):
        assert await _begin_all(ask, [one], parts) == {KafkaCode.NONE}
    seen: set[KafkaCode] = set()
    for _ in range(100):
        seen |= await _begin_all(ask, [one, two], parts)
        if KafkaCode.NOT_ENOUGH_REPLICAS in seen:
            break
    assert seen == {KafkaCode.NONE, KafkaCode.NOT_ENOUGH_REPLICAS}
    one.close()
    two.close()


async def _begin_all(ask: Asker, connections: Sequence[Connection], parts: Sequence[TopicPartition]) -> set[KafkaCode]:
    """The codes of first batches in all parts, over these connections in turn; what is refused is stored when it comes again alone."""
    owner = await writer(ask, True, *parts)
    asked = [
        (tp, await submit(connection, [(tp, made(owner, 0))], owner.name)) for tp, connection in zip(parts, cycle(connections))
    ]
    codes = {tp: (await answer)[tp].error for tp, answer in asked}
    for tp, code in codes.items():
        if code is not KafkaCode.NONE:
            assert (await ask.one(tp, made(owner, 1), owner)).error is KafkaCode.OUT_OF_ORDER_SEQUENCE_NUMBER
            assert (await ask.one(tp, made(owner, 0), owner)).error is KafkaCode.NONE
    assert await ask.ended(owner, commit=False) is KafkaCode.NONE
    return set(codes.values())


@rule
async def partition_without_a_batch_gets_its_marker_all_the_same(ask: Asker) -> None:
    tp = await ask.part()
    owner = await writer(ask, True, tp)
    assert await ask.ended(owner, commit=True) is KafkaCode.NONE
    await begin(ask, owner, tp)
    assert [parse_header(batch).attributes & CONTROL for batch in (await ask.log(tp)).batches] == [CONTROL]


@rule
async def end_of_no_transaction_is_invalid(ask: Asker) -> None:
    owner = await ask.owner()
    for commit in (True, False):
        assert await ask.end(owner, commit=commit) is KafkaCode.INVALID_TXN_STATE


@rule
async def same_end_again_is_answered_the_same_and_the_other_one_is_invalid(ask: Asker) -> None:
    tp = await ask.part()
    owner = await ask.owner()
    for commit in (True, False):
        await begin(ask, owner, tp)
        assert await ask.end(owner, commit=commit) is KafkaCode.NONE
        again = [await ask.end(owner, commit=commit) for _ in range(3)]
        assert set(again) <= {KafkaCode.NONE, KafkaCode.CONCURRENT_TRANSACTIONS}, "while markers are written, and then"
        assert await ask.ended(owner, commit=commit) is KafkaCode.NONE
        assert await ask.ended(owner, commit=not commit) is KafkaCode.INVALID_TXN_STATE
    assert len((await ask.log(tp)).batches) == 2, "one marker each"


@rule
async def batch_that_begins_a_part_while_markers_are_written_is_told_to_come_again(ask: Asker) -> None:
    """Too late for the transaction that has ended: the right answer for a moment only, so that a round may miss it. The moment is long
    where many markers are to be written."""
    written, begun, *others = await ask.parts(256)
    for _ in range(100):
        owner = await writer(ask, True, written, begun, *others)
        assert (await ask.one(written, made(owner, 0), owner)).error is KafkaCode.NONE
        assert await ask.end(owner, commit=True) is KafkaCode.NONE
        code = (await ask.one(begun, made(owner, 0), owner)).error
        assert code in (KafkaCode.NOT_ENOUGH_REPLICAS, KafkaCode.TRANSACTION_ABORTABLE)
        if code is KafkaCode.NOT_ENOUGH_REPLICAS:
            return
    raise AssertionError("no batch came while markers were written")


@rule
async def late_copy_of_a_commit_commits_half_of_the_next_transaction(ask: Asker) -> None:
    """Why `TransactionalId` renews its epoch after an answer that did not come."""
    tp = await ask.part()
    owner = await writer(ask, True, tp)
    assert await ask.one(tp, made(owner, 0), owner) == stored(0)
    assert await ask.ended(owner, commit=True) is KafkaCode.NONE
    await begin(ask, owner, tp)
    assert await ask.one(tp, made(owner, 1), owner) == stored(2)
    assert await ask.end(owner, commit=True) is KafkaCode.NONE, "the copy"
    assert await ask.ended(owner, commit=True) is KafkaCode.NONE, "the true end, which tells nothing of it"
    assert await ask.one(tp, made(owner, 2), owner) == NOT_VERIFIED, "the other half comes too late"
    assert (await ask.log(tp, READ_COMMITTED)).last_stable == 4


@rule
async def late_copy_of_a_commit_is_fenced_after_a_renewal(ask: Asker) -> None:
    tp = await ask.part()
    owner = await writer(ask, True, tp)
    assert await ask.one(tp, made(owner, 0), owner) == stored(0)
    assert await ask.ended(owner, commit=True) is KafkaCode.NONE
    renewed = await ask.renew(owner)
    await begin(ask, renewed, tp)
    assert await ask.one(tp, made(renewed, 0), renewed) == stored(2)
    assert await ask.end(owner, commit=True) is KafkaCode.PRODUCER_FENCED, "the copy"
    assert await ask.one(tp, made(renewed, 1), renewed) == stored(3)
    assert (await ask.log(tp, READ_COMMITTED)).last_stable == 2


@rule
async def unknown_partition_keeps_all_others_out_of_the_transaction(ask: Asker) -> None:
    tp, owner = await ask.part(), await ask.owner()
    gone, beyond = TopicPartition("not-there", 0), TopicPartition(tp.topic, 9)
    unknown = KafkaCode.UNKNOWN_TOPIC_OR_PARTITION
    added = await ask.add_once(owner, tp, gone, beyond)
    assert added == {tp: KafkaCode.OPERATION_NOT_ATTEMPTED, gone: unknown, beyond: unknown}
    assert await ask.one(tp, made(owner, 0), owner) == NOT_VERIFIED
    assert await ask.end(owner, commit=True) is KafkaCode.INVALID_TXN_STATE
