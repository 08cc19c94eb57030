"""Records written anew: the same keys, values, headers and times in batches that a broker takes, and where each record came from."""

from __future__ import annotations

import itertools
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.kernels.conftest import compiled_module
from tests.unit.kernels.forward_reference import HOP, batches, expected, mostly, opened, plans, written
from tests.unit.kernels.reference import legacy_message
from tests.unit.kernels.test_legacy import message_set, wrapper

from smartconnect.kernels import Codec, DecompressionBomb, MalformedBatch, RecodePlan, Scratch, encode, twin_rewrite
from smartconnect.kernels.batch import TRANSACTIONAL
from smartconnect.kernels.encode import Frame, Record, marker
from smartconnect.kernels.forward_parts import LOG_APPEND_TIME
from smartconnect.kernels.twin_walk import walk

LARGE = 10 << 20
AS_IT_IS = RecodePlan(LARGE)
COMPRESSED = [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD]


@pytest.fixture(params=["compiled", "python"])
def recode(request):
    """`recode(data, plan, …)` over all rows of `data`, by one implementation."""
    implementation = twin_rewrite if request.param == "python" else compiled_module()

    def call(data, plan=AS_IT_IS, rows=None, scratch=None):
        return implementation.recode(data, walk(data, 0, []) if rows is None else rows, plan, scratch or Scratch())

    return call


def made(first: int, count: int, codec: Codec = Codec.NONE, size: int = 20, **frame) -> bytes:
    """Records whose values differ and compress by half or so."""
    noise = random.Random(first)
    values = [(b"%07d" % i * (size // 7 + 1))[: size // 2] + noise.randbytes(size // 2) for i in range(count)]
    records = [Record(first + i, value, b"k%d" % i, 1_700_000_000_000 + i) for i, value in enumerate(values)]
    return encode.batch(records, Frame(codec=codec, **frame))


@settings(max_examples=120, deadline=None)
@given(st.data())
@pytest.mark.parametrize("implementation", ["compiled", "python"])
def test_records_arrive_as_the_plan_says(implementation, data):
    module = twin_rewrite if implementation == "python" else compiled_module()
    source, plan = data.draw(batches()), data.draw(plans)
    blob = mostly(source)
    rows = walk(blob, 0, [])
    seen = opened(blob, append_time=plan.append_time_is_create_time)

    result = module.recode(blob, rows, plan, Scratch())

    want = expected(seen, plan)
    assert written(result) == [record for record in want if record.offset not in result.oversized]
    assert all(len(batch.data) <= plan.max_bytes for batch in result.batches)
    assert all(too_large(record, plan.max_bytes) for record in want if record.offset in result.oversized)
    considered = [record for record in seen if record.offset >= plan.from_offset]
    assert result.records_in == len(considered)
    assert result.skipped == len([record for record in considered if record.offset in plan.skip])
    assert result.looped + result.far == len(considered) - result.skipped - len(want)
    assert result.next_offset == max(rows[-1].last_offset + 1, plan.from_offset)


def too_large(record: Record, max_bytes: int) -> bool:
    """At least one codec makes a batch of more than `max_bytes` of it alone."""
    alone = [record]
    return any(len(encode.batch(alone, Frame(codec=codec))) > max_bytes for codec in Codec)


@pytest.mark.parametrize("target", [None, *Codec])
@pytest.mark.parametrize("source", Codec)
def test_codec_is_kept_or_changed(recode, source, target):
    data = made(10, 200, source)
    result = recode(data, RecodePlan(LARGE, codec=target))
    (batch,) = result.batches
    (row,) = walk(batch.data, 0, [])
    assert row.codec is (source if target is None else target)
    assert written(result) == opened(data)
    assert batch.stretches == ((10, 200, 0),) and result.next_offset == 210


def test_lz4_has_independent_blocks(recode):
    (batch,) = recode(made(0, 9000), RecodePlan(LARGE, codec=Codec.LZ4)).batches
    assert batch.data[61:65] == b"\x04\x22\x4d\x18" and batch.data[65] & 0x20


@pytest.mark.parametrize("codec", Codec)
def test_position_inside_a_batch_slices_it(recode, codec):
    data = made(100, 50, codec)
    result = recode(data, RecodePlan(LARGE, from_offset=117))
    assert written(result) == opened(data)[17:]
    assert (result.records_in, result.next_offset, result.batches[0].stretches) == (33, 150, ((117, 33, 0),))


def test_position_behind_all_leaves_nothing_and_does_not_go_back(recode):
    result = recode(made(100, 50), RecodePlan(LARGE, from_offset=160))
    assert result.batches == [] and (result.next_offset, result.records_in) == (160, 0)


def test_holes_of_compaction_become_stretches(recode):
    records = [Record(offset, b"v%d" % offset) for offset in (5000, 5001, 5003, 5004, 5009)]
    result = recode(encode.batch(records, Frame(base_offset=4990, last_offset=5020)))
    assert result.batches[0].stretches == ((5000, 2, 0), (5003, 2, 2), (5009, 1, 4))
    assert written(result) == records and result.next_offset == 5021


def test_skipped_records_leave_a_hole(recode):
    result = recode(made(0, 6), RecodePlan(LARGE, skip=frozenset({2, 5, 77})))
    assert result.batches[0].stretches == ((0, 2, 0), (3, 2, 2))
    assert (result.skipped, result.records_in, result.next_offset) == (2, 6, 6)


def test_batch_of_which_nothing_is_left_is_none(recode):
    result = recode(made(0, 2), RecodePlan(LARGE, skip=frozenset({0, 1})))
    assert result.batches == [] and (result.next_offset, result.skipped) == (2, 2)


@pytest.mark.parametrize(("seen", "times"), [(True, [90, 90]), (False, [50, 40])])
def test_append_time_becomes_create_time(recode, seen, times):
    data = bytearray(
        encode.batch([Record(0, b"a", timestamp=50), Record(1, b"b", timestamp=40)], Frame(attributes=LOG_APPEND_TIME))
    )
    struct.pack_into(">q", data, 35, 90)
    sign(data)
    result = recode(data, RecodePlan(LARGE, append_time_is_create_time=seen))
    assert [record.timestamp for record in written(result)] == times


def test_timestamps_are_clamped_but_none_stays_none(recode):
    data = encode.batch([Record(i, b"v", timestamp=time) for i, time in enumerate([5, -1, 10, 11, 99, 2**62])])
    result = recode(data, RecodePlan(LARGE, clamp=(10, 50)))
    assert [record.timestamp for record in written(result)] == [10, -1, 10, 11, 50, 50]


def test_times_at_the_end_of_the_range_wrap_as_in_other_clients(recode):
    data = bytearray(encode.batch([Record(0, b"v", timestamp=0), Record(1, b"w", timestamp=2**62)]))
    struct.pack_into(">q", data, 27, 2**62 + 5)
    sign(data)
    assert [record.timestamp for record in written(recode(data))] == [2**62 + 5, -(2**63) + 5]


def sign(data: bytearray) -> None:
    from fastcrc import crc32

    struct.pack_into(">I", data, 17, crc32.iscsi(bytes(data[21:])))


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.SNAPPY, Codec.LZ4])
def test_old_messages_become_new_batches(recode, magic, codec):
    inner = [20, 21, 24] if magic == 0 else [0, 1, 4]
    data = (
        legacy_message(18, b"plain", None, magic=magic)
        + wrapper(codec, message_set(inner, magic), offset=24, magic=magic)
        + made(30, 3, codec)
    )
    result = recode(data, RecodePlan(LARGE, from_offset=21))
    assert written(result) == opened(data)[2:]
    assert [stretch[:2] for batch in result.batches for stretch in batch.stretches] == [(21, 1), (24, 1), (30, 3)]


def test_append_time_of_an_old_wrapper_is_kept(recode):
    data = wrapper(Codec.GZIP, message_set([0, 1, 2], 1), offset=2, timestamp=777, flags=0x08)
    assert [record.timestamp for record in written(recode(data))] == [777] * 3


def test_control_empty_and_aborted_batches_only_move_the_position(recode):
    aborted = made(2, 2, producer_id=9, attributes=TRANSACTIONAL)
    data = made(0, 2) + aborted + marker(4, 9, commit=False) + encode.batch([], Frame(base_offset=5, last_offset=8)) + made(9, 1)
    result = recode(data, rows=walk(data, 0, [(9, 2)]))
    (batch,) = result.batches
    assert batch.stretches == ((0, 2, 0), (9, 1, 2)) and result.records_in == 3
    only_control = encode.batch([], Frame(base_offset=7, last_offset=7)) + marker(8, 9, commit=True)
    assert recode(only_control).next_offset == 9 and recode(only_control).batches == []


def test_nothing_gives_nothing(recode):
    result = recode(b"", RecodePlan(LARGE, from_offset=12))
    assert result.batches == [] and result.next_offset == 12


@pytest.mark.parametrize("codec", Codec)
def test_small_batches_become_one(recode, codec):
    data = b"".join(made(20 * i, 20, codec) for i in range(50))
    result = recode(data)
    assert [batch.count for batch in result.batches] == [1000]
    assert result.batches[0].stretches == ((0, 1000, 0),) and written(result) == opened(data)


def test_another_codec_begins_another_batch_unless_the_plan_sets_it(recode):
    data = made(0, 5, Codec.LZ4) + made(5, 5, Codec.LZ4) + marker(10, 1, commit=True) + made(11, 5, Codec.ZSTD) + made(16, 5)
    assert [batch.count for batch in recode(data).batches] == [10, 5, 5]
    assert [batch.count for batch in recode(data, RecodePlan(LARGE, codec=Codec.GZIP)).batches] == [20]


@pytest.mark.parametrize("codec", Codec)
def test_batches_grow_to_about_256_kib(recode, codec):
    data = b"".join(made(100 * i, 100, codec, size=400) for i in range(40))
    result = recode(data)
    assert written(result) == opened(data)
    sizes = [len(batch.data) for batch in result.batches]
    assert len(sizes) >= 2 and max(sizes) < 300 << 10 and sum(sizes) / len(sizes) > 100 << 10


def test_single_large_batch_stays_whole(recode):
    data = made(0, 3000, Codec.LZ4, size=1000)
    assert len(data) > 1 << 20 and [batch.count for batch in recode(data).batches] == [3000]


@pytest.mark.parametrize("codec", Codec)
def test_too_large_batch_is_split(recode, codec):
    data = made(0, 1000, codec, size=1000)
    most = len(data) // 7
    result = recode(data, RecodePlan(most))
    assert written(result) == opened(data) and result.oversized == []
    assert 7 <= len(result.batches) <= 12 and all(len(batch.data) <= most for batch in result.batches)
    assert result.records_in == 1000


@pytest.mark.parametrize("codec", Codec)
def test_record_too_large_alone_is_named_and_no_batch_reaches_across_it(recode, codec):
    noise = bytes(b"".join(struct.pack(">I", i * 2654435761 % 2**32) for i in range(1000)))
    values = [b"small", b"small", noise, b"small", noise, noise, b"small"]
    data = encode.batch([Record(i, value) for i, value in enumerate(values)], Frame(codec=codec))
    result = recode(data, RecodePlan(1000))
    assert result.oversized == [2, 4, 5] and result.next_offset == 7 and result.records_in == 7
    assert [batch.stretches for batch in result.batches] == [((0, 2, 0),), ((3, 1, 0),), ((6, 1, 0),)]


@pytest.mark.parametrize("codec", [*COMPRESSED, Codec.NONE])
def test_data_that_compresses_worse_towards_its_end_is_split_all_the_same(recode, codec):
    noise = [struct.pack(">QQ", i * 0x9E3779B97F4A7C15 % 2**64, i**5 % 2**64) * 4 for i in range(1, 2000)]
    values = itertools.chain([b"x" * 1000] * 2000, noise)
    data = encode.batch([Record(i, value) for i, value in enumerate(values)], Frame(codec=Codec.ZSTD))
    result = recode(data, RecodePlan(20_000, codec=codec))
    assert written(result) == opened(data) and all(len(batch.data) <= 20_000 for batch in result.batches)


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.LZ4])
def test_what_is_enough_for_one_call_leaves_the_rest_for_the_next(recode, codec):
    """Small on the wire and large when unfolded: the new batches of one call stay bounded."""
    data = b"".join(made(2000 * i, 2000, Codec.ZSTD, size=1000) for i in range(3)) + marker(6000, 1, commit=True)
    rows, found, calls, position = walk(data, 0, []), [], 0, 0
    while position <= 6000:
        left = [row for row in rows if row.last_offset >= position]
        result = recode(data, RecodePlan(200_000, position, codec, enough_bytes=500_000), rows=left)
        assert sum(len(batch.data) for batch in result.batches) < 700_000 and result.next_offset > position
        found += written(result)
        calls, position = calls + 1, result.next_offset
    assert found == opened(data)[:6000] and calls >= 6


def test_bomb_is_refused(recode):
    data = encode.batch([Record(0, bytes(4 << 20))], Frame(codec=Codec.ZSTD))
    with pytest.raises(DecompressionBomb):
        recode(data, scratch=Scratch(limit=1 << 20))


@pytest.mark.parametrize("broken", [0, 3])
@pytest.mark.parametrize("codec", Codec)
def test_malformed_batch_is_named_and_those_before_it_can_be_recoded(recode, codec, broken):
    parts = [made(10 * i, 10, [codec, Codec.NONE][i % 2]) for i in range(6)]
    bad = [Record(10 * broken + i, b"v") for i in range(9)]
    parts[broken] = bytearray(encode.batch(bad, Frame(codec=codec, base_offset=10 * broken, last_offset=10 * broken + 9)))
    struct.pack_into(">i", parts[broken], 57, 10)
    data = b"".join(parts)
    rows = walk(data, 0, [])
    with pytest.raises(MalformedBatch, match="fewer records") as caught:
        recode(data)
    assert (caught.value.section, caught.value.position) == (broken, rows[broken].start)
    result = recode(data, rows=rows[:broken])
    assert result.next_offset == 10 * broken and len(written(result)) == 10 * broken


@pytest.mark.parametrize("codec", COMPRESSED)
def test_damaged_compression_is_named_with_its_index(recode, codec):
    parts = [made(10 * i, 10, codec) for i in range(4)]
    parts[2] = parts[2][:61] + b"\xff" * (len(parts[2]) - 61)
    data = b"".join(parts)
    with pytest.raises(MalformedBatch) as caught:
        recode(data)
    assert (caught.value.section, caught.value.position) == (2, len(parts[0] + parts[1]))


def test_hop_is_written_while_everything_else_is_split(recode):
    data = made(0, 300, Codec.SNAPPY)
    plan = RecodePlan(3000, hop=HOP)
    result = recode(data, plan)
    assert written(result) == expected(opened(data), plan) and len(result.batches) > 3
