"""What a broker looks at in a batch before it asks whose it is (kafka-replication.md §6.1, points 1 to 6, and the table of forwarded
batches)."""

from __future__ import annotations

import secrets

import cramjam
import pytest

from smartconnect.kafka import messages
from smartconnect.kafka.batch import parse_header
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.errors import ConnectionLost
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import Codec, encode
from smartconnect.kernels.batch import CONTROL
from smartconnect.kernels.encode import Frame, Record
from tests.support.broker_rules.asking import Asker, Owner, Part
from tests.support.broker_rules.making import (
    COMPRESSED,
    NOBODY,
    NOW_MS,
    changed,
    compacted,
    framed,
    made,
    padded,
    records,
    refolded,
    sealed,
    section,
    torn,
)
from tests.support.broker_rules.registry import both_deliveries, rule
from tests.support.broker_rules.writing import writer

LOG_APPEND_TIME = 0x08
DELETE_HORIZON = 0x40
ATTRIBUTES_AT = 21
DAMAGED = Part(KafkaCode.UNKNOWN_SERVER_ERROR, -1, -1)
INVALID = Part(KafkaCode.INVALID_RECORD, -1, -1)
TOO_LARGE = Part(KafkaCode.MESSAGE_TOO_LARGE, -1, -1)


@both_deliveries
async def good_batch_is_stored_in_place(ask: Asker, transactional: bool) -> None:
    tp = await ask.part()
    owner = await writer(ask, transactional, tp)
    sent = [made(owner, 3 * number, 3, codec=codec) for number, codec in enumerate(Codec)]
    for number, batch in enumerate(sent):
        assert await ask.one(tp, batch, owner) == Part(KafkaCode.NONE, 3 * number, -1)
    stored = (await ask.log(tp)).batches
    assert [parse_header(batch).base_offset for batch in stored] == [0, 3, 6, 9, 12]
    assert [batch[17:] for batch in stored] == [batch[17:] for batch in sent]


@rule
async def partition_listed_twice_keeps_the_last_without_an_error(ask: Asker) -> None:
    tp = await ask.part()
    answer = await ask.produce_listed([(tp, made(NOBODY, -1, 2)), (tp, made(NOBODY, -1, 5))])
    assert answer == {tp: Part(KafkaCode.NONE, 0, -1)}
    assert [parse_header(batch).record_count for batch in (await ask.log(tp)).batches] == [5]


@rule
async def partition_takes_exactly_one_batch_of_magic_2(ask: Asker) -> None:
    tp, good = await ask.part(), made(NOBODY, -1, 3)
    old = bytearray(good)
    old[16] = 1
    for wrong in (good + good, b"", good[:40], bytes(old)):
        assert await ask.one(tp, wrong) == INVALID
    assert await ask.one(tp, good + good[:40]) == Part(KafkaCode.NONE, 0, -1), "a piece behind the batch is cut off"
    assert [len(batch) for batch in (await ask.log(tp)).batches] == [len(good)]


@rule
async def partitions_of_a_request_fare_each_for_itself(ask: Asker) -> None:
    tp, keyed = await ask.part(), await ask.part(cleanup_policy="compact")
    gone, beyond = TopicPartition("not-there", 0), TopicPartition(tp.topic, 7)
    good, keyless = made(NOBODY, -1), encode.batch([*records(1), *records(1, key=None, first=1)])
    unknown = Part(KafkaCode.UNKNOWN_TOPIC_OR_PARTITION, -1, -1)
    for number, version in enumerate(range(7, 12)):
        answer = await ask.produce({tp: good, keyed: keyless, gone: good, beyond: good}, version=version)
        refused = INVALID._replace(record_errors=(1,)) if version >= 8 else INVALID
        assert answer == {tp: Part(KafkaCode.NONE, number, -1), keyed: refused, gone: unknown, beyond: unknown}


@rule
async def oldest_versions_close_the_connection(ask: Asker) -> None:
    connection = await ask.leader()
    assert connection.versions[messages.PRODUCE.key][0] == 0, "they are advertised all the same"
    with pytest.raises(ConnectionLost):
        await connection.exchange(messages.PRODUCE, 2, [b"\xff\xff" + bytes(8)])


@rule
async def header_of_a_batch_is_right(ask: Asker) -> None:
    tp, good = await ask.part(), made(NOBODY, -1, 3)
    somebody = Owner(None, 4711, 0)
    assert await ask.one(tp, changed(good, ">q", 0, 5)) == INVALID, "base offset 5"
    assert await ask.one(tp, torn(good)) == Part(KafkaCode.CORRUPT_MESSAGE, -1, -1)
    assert await ask.one(tp, framed(b"", 0, last_delta=0)) == INVALID, "no records"
    assert await ask.one(tp, framed(b"", 0, last_delta=-1)) == INVALID, "an honest count of none"
    assert await ask.one(tp, made(NOBODY, -1, attributes=CONTROL)) == INVALID, "a marker"
    assert await ask.one(tp, made(somebody, -1)) == INVALID, "a producer without a sequence number"
    assert (await ask.log(tp)).high_watermark == 0


@rule
async def batch_is_at_most_as_large_as_the_topic_allows(ask: Asker) -> None:
    tp = await ask.part(max_message_bytes="200")
    room = 200 - len(made(NOBODY, -1, value=bytes(100)))
    assert await ask.one(tp, made(NOBODY, -1, value=bytes(100 + room + 1))) == TOO_LARGE
    assert await ask.one(tp, made(NOBODY, -1, value=bytes(100 + room))) == Part(KafkaCode.NONE, 0, -1)


@rule
async def each_record_is_looked_at(ask: Asker) -> None:
    tp, three = await ask.part(), section(records(3))
    for codec in Codec:
        assert await ask.one(tp, framed(three, 4, codec=codec)) == INVALID, "fewer records than the count says"
        assert await ask.one(tp, framed(three, 2, codec=codec)) == INVALID, "more"
        assert await ask.one(tp, framed(three + b"xx", 3, codec=codec)) == INVALID, "bytes behind the last record"
        assert await ask.one(tp, framed(three[:-2], 3, codec=codec)) == INVALID, "a record that is cut off"
        assert await ask.one(tp, framed(padded(three), 3, codec=codec)) == INVALID, "a record that is longer than what it holds"
    assert (await ask.log(tp)).high_watermark == 0


@rule
async def one_bad_record_refuses_the_batch_and_is_named(ask: Asker) -> None:
    tp, keyed = await ask.part(), await ask.part(cleanup_policy="compact")
    recent = await ask.part(message_timestamp_before_max_ms="1800000")
    late = [*records(1), Record(1, b"value", b"key", NOW_MS + 2 * 3600_000)]
    old = [*records(1), Record(1, b"value", b"key", NOW_MS - 3600_000)]
    for codec in Codec:
        keyless = encode.batch([*records(1), *records(1, key=None, first=1)], Frame(codec))
        assert await ask.one(keyed, keyless) == INVALID._replace(record_errors=(1,))
        invalid_time = Part(KafkaCode.INVALID_TIMESTAMP, -1, -1, (1,))
        assert await ask.one(tp, encode.batch(late, Frame(codec))) == invalid_time
        kept = encode.batch(late, Frame(codec, attributes=LOG_APPEND_TIME))
        assert await ask.one(tp, kept) == invalid_time._replace(record_errors=(0, 1)), "the newest time is that of all"
        assert await ask.one(recent, encode.batch(old, Frame(codec))) == invalid_time
        both = encode.batch([*records(1, key=None), *late[1:]], Frame(codec))
        assert await ask.one(keyed, both) == Part(KafkaCode.INVALID_TIMESTAMP, -1, -1, (0, 1)), "its code goes for all"
    assert (await ask.one(tp, encode.batch(old))).error is KafkaCode.NONE
    assert (await ask.one(tp, encode.batch([Record(0, b"v", b"k", NOW_MS + 3000_000)]))).error is KafkaCode.NONE


@rule
async def damaged_body_is_an_error_of_the_server(ask: Asker) -> None:
    tp, three = await ask.part(), section(records(3))
    for codec in COMPRESSED:
        body = bytearray(encode.compress(codec, three))
        body[:10] = b"\xa5" * 10
        assert await ask.one(tp, refolded(body, 3, codec, 2)) == DAMAGED
    linked = bytes(cramjam.lz4.compress(section(records(3, value=secrets.token_bytes(100_000)))))
    assert await ask.one(tp, refolded(linked, 3, Codec.LZ4, 2)) == DAMAGED, "lz4 whose blocks depend on each other"
    assert (await ask.log(tp)).high_watermark == 0


@rule
async def compressed_batch_numbers_its_records_from_0(ask: Asker) -> None:
    tp, swapped = await ask.part(), section([*records(1, first=1), *records(1)])
    for codec in COMPRESSED:
        assert await ask.one(tp, framed(swapped, 2, codec=codec)) == DAMAGED
    assert await ask.one(tp, framed(swapped, 2)) == Part(KafkaCode.NONE, 0, -1), "nobody looks where nothing is compressed"


@rule
async def other_codec_than_the_topics_is_recompressed_and_may_become_too_large(ask: Asker) -> None:
    gzip = await ask.part(compression_type="gzip")
    small = await ask.part(compression_type="uncompressed", max_message_bytes="200")
    same, other = made(NOBODY, -1, 3, codec=Codec.GZIP), made(NOBODY, -1, 3, codec=Codec.ZSTD)
    assert (await ask.one(gzip, same)).error is (await ask.one(gzip, other)).error is KafkaCode.NONE
    stored = (await ask.log(gzip)).batches
    assert [parse_header(batch).attributes & 0x07 for batch in stored] == [Codec.GZIP, Codec.GZIP]
    assert stored[0][17:] == same[17:] and parse_header(stored[1]).record_count == 3
    folded = made(NOBODY, -1, codec=Codec.ZSTD, value=bytes(1000))
    assert len(folded) < 200 and await ask.one(small, folded) == TOO_LARGE


@rule
async def compacted_batch_with_an_honest_header_is_refused(ask: Asker) -> None:
    tp = await ask.part()
    for codec in Codec:
        assert await ask.one(tp, compacted(codec, 4)) == INVALID
    assert (await ask.log(tp)).high_watermark == 0


@rule
async def compacted_batch_with_a_mended_header_makes_the_log_corrupt_or_is_an_error_of_the_server(ask: Asker) -> None:
    tp = await ask.part()
    for codec in COMPRESSED:
        assert await ask.one(tp, compacted(codec, 3)) == DAMAGED
    for number in range(2):
        assert await ask.one(tp, compacted(Codec.NONE, 3)) == Part(KafkaCode.NONE, 4 * number, -1)
    stored = (await ask.log(tp)).batches
    assert [(parse_header(batch).base_offset, parse_header(batch).last_offset) for batch in stored] == [(0, 3), (4, 7)]
    assert stored[0][61:] == compacted(Codec.NONE, 3)[61:], "whose last record has offset 4, as the next batch's first"


@rule
async def log_append_time_bit_is_refused_by_a_topic_that_sets_it(ask: Asker) -> None:
    ours, brokers = await ask.part(), await ask.part(message_timestamp_type="LogAppendTime")
    for codec in Codec:
        kept, cleared = made(NOBODY, -1, 2, codec=codec, attributes=LOG_APPEND_TIME), made(NOBODY, -1, 2, codec=codec)
        assert await ask.one(brokers, kept) == Part(KafkaCode.INVALID_TIMESTAMP, -1, -1, (0, 1))
        taken = await ask.one(brokers, cleared)
        assert taken.error is KafkaCode.NONE and taken.append_time >= NOW_MS, "the broker's own time"
        assert (await ask.one(ours, kept)).error is (await ask.one(ours, cleared)).error is KafkaCode.NONE
    bits = [parse_header(batch).attributes & LOG_APPEND_TIME for batch in (await ask.log(brokers)).batches]
    assert bits == [LOG_APPEND_TIME] * len(Codec)
    bits = [parse_header(batch).attributes & LOG_APPEND_TIME for batch in (await ask.log(ours)).batches]
    assert bits == [0] * (2 * len(Codec)), "a topic of CreateTime clears it"


@rule
async def delete_horizon_bit_persists(ask: Asker) -> None:
    tp = await ask.part()
    batch = sealed(changed(made(NOBODY, -1), ">h", ATTRIBUTES_AT, DELETE_HORIZON))
    assert await ask.one(tp, batch) == Part(KafkaCode.NONE, 0, -1)
    assert (await ask.log(tp)).batches[0][17:] == batch[17:]
