"""What the encoder writes is read the same by an independent client, and what that client writes by us."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from tests.unit.kernels.reference import content, nullable

from smartconnect.kernels import BlockPool, BlockWriter, Codec, JoinPlan, Kind, Scratch, encode, sections, verify_crc
from smartconnect.kernels.encode import Frame, Record

names = st.text(max_size=5).map(str.encode)
headers = st.lists(st.tuples(names, st.none() | st.binary(max_size=9)), max_size=3).map(tuple)


@settings(deadline=None)
@given(st.lists(st.tuples(nullable, nullable, st.integers(0, 2**45), headers), min_size=1, max_size=8), st.integers(0, 2**60))
def test_another_client_reads_the_same_records(fields, base):
    records = [Record(base + 3 * i, value, key, time, some) for i, (value, key, time, some) in enumerate(fields)]
    read = DefaultRecordBatch(encode.batch(records, Frame(last_offset=base + 40)))
    assert read.validate_crc() and read.last_offset_delta == 40
    found = [
        Record(r.offset, r.value, r.key, r.timestamp, tuple((name.encode(), value) for name, value in r.headers)) for r in read
    ]
    assert found == records


@pytest.mark.parametrize("compression", [0, 1])
def test_records_of_another_client_are_joined(kernel, compression):
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=compression,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    for i in range(100):
        builder.append(i, timestamp=1000 + i, key=None, value=b"value %d" % i, headers=[("h", b"x")])
    data = bytes(builder.build())
    rows = kernel.walk(data, 0, [])
    assert [row.kind for row in rows] == [Kind.DATA] and verify_crc(data, rows[0])
    pool = BlockPool()
    writer = BlockWriter(pool)
    for group in sections(data, rows, Scratch()):
        kernel.join(group, JoinPlan(b","), writer)
    assert content(writer, pool) == b"".join(b"value %d," % i for i in range(100))


def test_lz4_frames_have_independent_blocks():
    frame = encode.compress(Codec.LZ4, b"abc" * 100_000)
    assert frame[4] & 0x20


@pytest.mark.parametrize("commit", [True, False])
def test_marker_is_an_uncompressed_control_batch(kernel, commit):
    data = encode.marker(9, 5, commit=commit)
    (row,) = kernel.walk(data, 0, [])
    assert (row.kind, row.base_offset, row.last_offset, row.producer_id) == (Kind.CONTROL, 9, 9, 5)
    assert DefaultRecordBatch(data).is_control_batch


@pytest.mark.parametrize(
    ("number", "written"), [(0, b"\x00"), (-1, b"\x01"), (1, b"\x02"), (-65, b"\x81\x01"), (2**31 - 1, b"\xfe\xff\xff\xff\x0f")]
)
def test_numbers_are_zigzag(number, written):
    assert encode.zigzag(number) == written


def test_sections_come_in_groups_that_fit_the_scratch_buffer(kernel):
    data = b"".join(
        encode.batch([Record(100 * j + i, b"%d" % i * 4000) for i in range(60)], Frame(codec=Codec.LZ4)) for j in range(20)
    )
    rows = kernel.walk(data, 0, [])
    pool = BlockPool()
    writer = BlockWriter(pool)
    scratch = Scratch(size=2 << 20)
    groups = 0
    for group in sections(data, rows, scratch):
        assert scratch.used <= 2 << 20
        kernel.join(group, JoinPlan(b""), writer)
        groups += 1
    assert 1 < groups <= 20
    assert content(writer, pool) == b"".join(b"%d" % i * 4000 for i in range(60)) * 20
