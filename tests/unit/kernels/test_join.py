"""`join`: which bytes come out, and where it stops."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.kernels.reference import batches, content, expected, line_of, plans, response

from smartconnect.kernels import (
    BLOCK_BYTES,
    NO_LIMIT,
    START,
    BlockPool,
    BlockWriter,
    JoinPlan,
    Limits,
    MalformedBatch,
    Resume,
    Scratch,
    Section,
    sections,
    verify_crc,
)
from smartconnect.kernels.encode import Record, records_section, zigzag

RECORDS = [Record(10, b"one", b"k1"), Record(11, None, b"k2"), Record(14, b"", None), Record(15, b"fi\nve", b"k\n")]


def section_of(records, base=None, last=None):
    base = records[0].offset if base is None else base
    return Section(records_section(records, base, 0), len(records), base, records[-1].offset if last is None else last)


@pytest.fixture
def pool():
    return BlockPool()


@pytest.fixture
def writer(pool):
    return BlockWriter(pool)


def test_values_and_delimiters(kernel, pool, writer):
    result = kernel.join([section_of(RECORDS, last=20)], JoinPlan(b"\n"), writer)

    assert content(writer, pool) == b"one\n\n\nfi\nve\n"
    assert (result.records_written, result.bytes_written, result.null_values) == (4, 12, 1)
    assert (result.first_record_offset, result.last_record_offset, result.next_offset) == (10, 15, 21)
    assert result.delimiters_in_data == 1
    assert result.consumed_all


def test_keys_with_their_delimiter(kernel, pool, writer):
    result = kernel.join([section_of(RECORDS)], JoinPlan(b"\n", b"=\n"), writer)
    assert content(writer, pool) == b"k1=\none\nk2=\n\n=\n\nk\n=\nfi\nve\n"
    assert result.delimiters_in_data == 2


def test_headers_and_timestamps_are_not_written(kernel, pool, writer):
    records = [Record(0, b"v", b"k", 2**50, ((b"h", b"x" * 300), (b"", None)))]
    kernel.join([section_of(records)], JoinPlan(b""), writer)
    assert content(writer, pool) == b"v"


def test_no_sections_write_nothing(kernel, writer):
    result = kernel.join([], JoinPlan(), writer, Limits(skip_before=5))
    assert (result.records_written, result.next_offset, result.consumed_all) == (0, 5, True)
    assert writer.held_bytes == 0


def test_section_without_records_moves_the_position(kernel, writer):
    result = kernel.join([Section(b"", 0, 7, 9)], JoinPlan(), writer)
    assert (result.records_written, result.next_offset, result.first_record_offset) == (0, 10, -1)


def test_position_never_goes_back(kernel, writer):
    assert kernel.join([section_of(RECORDS)], JoinPlan(), writer, Limits(skip_before=100)).next_offset == 100


def test_first_record_is_written_whatever_the_byte_limit(kernel, pool, writer):
    result = kernel.join([section_of(RECORDS)], JoinPlan(), writer, Limits(max_bytes=0))
    assert (result.records_written, result.next_offset) == (1, 11)
    assert content(writer, pool) == b"one\n"


def test_every_combination_of_limits_agrees_with_the_reference_and_goes_on_without_loss(kernel, pool):
    records = [*RECORDS, Record(16, b"x" * 9, b"k")]
    parts = [section_of(records[:2]), Section(b"", 0, 12, 12), section_of(records[2:], base=13, last=19)]
    for skip, count, size, plan in itertools.product(
        (0, 10, 11, 12, 14, 16, 17, 30),
        (0, 1, 2, 3, 5, NO_LIMIT),
        (0, 1, 4, 5, 9, 12, 25, NO_LIMIT),
        (JoinPlan(), JoinPlan(b",", b":")),
    ):
        wanted = [line_of(record, plan) for record in records if record.offset >= skip]
        lines: list[bytes] = []
        resume, position = START, skip
        while True:
            writer = BlockWriter(pool)
            result = kernel.join(parts, plan, writer, Limits(position, count, size), resume)
            one = expected(records[len(records) - len(wanted) + len(lines) :], plan, Limits(0, count, size))
            data = content(writer, pool)
            assert data == b"".join(one.lines)
            assert (result.records_written, result.bytes_written) == (len(one.lines), len(data))
            assert (result.null_values, result.delimiters_in_data) == (one.nulls, one.delimiters)
            if one.lines:
                assert (result.first_record_offset, result.last_record_offset) == (one.offsets[0], one.offsets[-1])
            lines += one.lines
            resume, position = result.resume, result.next_offset
            if result.consumed_all or count == 0:
                break
        if count:
            assert lines == wanted
            assert position == max(20, skip)


def test_going_on_by_position_alone_gives_the_same_as_by_resume(kernel, pool, writer):
    parts = [section_of(RECORDS)]
    first = kernel.join(parts, JoinPlan(), writer, Limits(max_records=2))
    kernel.join(parts, JoinPlan(), writer, Limits(skip_before=first.next_offset))
    assert content(writer, pool) == b"one\n\n\nfi\nve\n"


@settings(deadline=None)
@given(made=batches(), plan=plans, limits=st.builds(Limits, st.integers(0, 30), st.integers(1, 30), st.integers(0, 900)))
def test_encode_walk_decompress_join_gives_the_reference(kernel, made, plan, limits):
    data = response(made)
    rows = kernel.walk(data, 0, [])
    assert len(rows) == len(made) and all(verify_crc(data, row) for row in rows)
    records = [record for _, batch in made for record in batch]
    begin = rows[0].base_offset if limits.skip_before < 15 else 0
    limits = limits._replace(skip_before=begin + limits.skip_before)
    pool = BlockPool()
    writer = BlockWriter(pool)
    (group,) = sections(data, rows, Scratch())

    result = kernel.join(group, plan, writer, limits)

    wanted = expected(records, plan, limits)
    assert content(writer, pool) == b"".join(wanted.lines)
    assert (result.null_values, result.delimiters_in_data) == (wanted.nulls, wanted.delimiters)
    left = [record for record in records if record.offset >= result.next_offset]
    assert len(left) == len([r for r in records if r.offset >= limits.skip_before]) - len(wanted.lines)
    assert pool.out_bytes == 0


@pytest.mark.parametrize("size", [BLOCK_BYTES - 2, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 1 << 20, 20 << 20])
def test_values_larger_than_a_block_cross_its_borders(kernel, pool, writer, size):
    pattern = bytes(range(251)) * (size // 251 + 1)
    records = [Record(0, b"before"), Record(1, pattern[:size]), Record(2, b"after"), Record(3, pattern[7 : 7 + size])]
    kernel.join([section_of(records)], JoinPlan(b"|"), writer)
    assert content(writer, pool) == b"".join((record.value or b"") + b"|" for record in records)
    assert pool.out_bytes == 0


@pytest.mark.parametrize("fill", range(BLOCK_BYTES - 40, BLOCK_BYTES + 2))
def test_short_values_at_a_block_border(kernel, pool, writer, fill):
    writer.write(b"." * fill)
    records = [Record(i, bytes([65 + i]) * (i * 3)) for i in range(8)]
    kernel.join([section_of(records)], JoinPlan(b"|", b"--"), writer)
    assert content(writer, pool)[fill:] == b"".join(b"--" + (record.value or b"") + b"|" for record in records)


def test_more_than_one_stretch_of_room_is_written_in_one_call(kernel, pool, writer):
    records = [Record(i, b"%07d" % i * 100) for i in range(15_000)]
    result = kernel.join([section_of(records)], JoinPlan(b"\n"), writer)
    assert result.bytes_written == 15_000 * 701 and result.delimiters_in_data == 0
    assert content(writer, pool) == b"".join(b"%07d" % i * 100 + b"\n" for i in range(15_000))


def record_bytes(body: bytes) -> bytes:
    return zigzag(len(body)) + body


GOOD = record_bytes(b"\x00\x00\x00\x01\x02v\x00")
BAD_RECORDS = {
    "cut": [b"\x80", b"\x80\x80\x80\x80\x80\x00", b"\xff\xff\xff\xff\x1f", record_bytes(b""), record_bytes(b"\x00")],
    "leaves": [zigzag(100) + b"\x00", record_bytes(b"\x00\x00\x02" + zigzag(50) + b"v"), zigzag(2**31 - 1)],
    "negative": [
        zigzag(-1),
        record_bytes(b"\x00\x00\x02" + zigzag(-2) + b"\x00\x00"),
        record_bytes(b"\x00\x00\x02\x01\x03\x00"),
        record_bytes(b"\x00\x00\x02\x01\x02v\x01"),
        record_bytes(b"\x00\x00\x02\x01\x02v\x02\x01\x01"),
    ],
    "left over": [record_bytes(b"\x00\x00\x02\x01\x02v\x00\x00")],
    "ascend": [record_bytes(b"\x00\x00\x00\x01\x02v\x00"), record_bytes(b"\x00\x00\x01\x01\x02v\x00")],
    "outside": [record_bytes(b"\x00\x00" + zigzag(10) + b"\x01\x02v\x00")],
    "fewer": [b""],
    "more bytes": [record_bytes(b"\x00\x00\x02\x01\x02v\x00") + b"\x00"],
}


@pytest.mark.parametrize(("reason", "bad"), [(reason, bad) for reason, bads in BAD_RECORDS.items() for bad in bads], ids=repr)
def test_malformed_record_is_named_and_the_writer_is_as_before(kernel, pool, writer, reason, bad):
    writer.write(b"kept")
    parts = [section_of(RECORDS), Section(GOOD + bad, 2, 100, 109)]
    with pytest.raises(MalformedBatch, match=reason) as caught:
        kernel.join(parts, JoinPlan(), writer)
    assert caught.value.section == 1
    assert caught.value.position == (len(GOOD) if reason != "more bytes" else len(GOOD + bad) - 1)
    assert content(writer, pool) == b"kept" and pool.out_bytes == 0


def test_time_number_of_ten_bytes_is_read_and_a_longer_one_refused(kernel, pool, writer):
    def section(time: bytes) -> list[Section]:
        return [Section(record_bytes(b"\x00" + time + b"\x00\x01\x02v\x00"), 1, 0, 0)]

    kernel.join(section(b"\xff" * 9 + b"\x01"), JoinPlan(), writer)
    assert content(writer, pool) == b"v\n"
    for bad in (b"\xff" * 9 + b"\x02", b"\xff" * 10 + b"\x01"):
        with pytest.raises(MalformedBatch, match="number"):
            kernel.join(section(bad), JoinPlan(), writer)


@pytest.mark.parametrize(
    ("parts", "resume"),
    [
        ([Section(b"", 0, -1, 0)], START),
        ([Section(b"", 0, 5, 4)], START),
        ([Section(b"", 0, 0, 2**31)], START),
        ([Section(b"", 0, 0, 0)], Resume(2, 0, 0, -1)),
        ([Section(b"", 0, 0, 0)], Resume(0, 1, 0, -1)),
        ([Section(b"", 0, 0, 0)], Resume(0, 0, 1, -1)),
        ([Section(b"", 0, 0, 0)], Resume(-1, 0, 0, -1)),
        ([Section(b"", 0, 0, 0)], Resume(1, 1, 0, -1)),
    ],
)
def test_arguments_that_mean_nothing_are_refused(kernel, writer, parts, resume):
    with pytest.raises(ValueError, match="belong"):
        kernel.join(parts, JoinPlan(), writer, Limits(), resume)
