"""`walk`: which batches a response holds and what a read_committed reader does with each."""

from __future__ import annotations

import struct

import pytest
from tests.unit.kernels.reference import legacy_message

from smartconnect.kernels import Codec, Kind, MalformedBatch, verify_crc
from smartconnect.kernels.batch import CONTROL, TRANSACTIONAL
from smartconnect.kernels.encode import Frame, Record, batch, marker


def transactional(offset: int, producer: int, count: int = 2) -> bytes:
    records = [Record(offset + i, b"v") for i in range(count)]
    return batch(records, Frame(producer_id=producer, producer_epoch=0, base_sequence=0, attributes=TRANSACTIONAL))


def test_row_shows_the_header(kernel):
    records = [Record(7, b"a", timestamp=50), Record(9, b"b", timestamp=40)]
    frame = Frame(codec=Codec.ZSTD, base_offset=5, last_offset=11, leader_epoch=3, producer_id=77, attributes=TRANSACTIONAL)
    data = batch(records, frame)

    (row,) = kernel.walk(data, 0, [])

    assert row.kind is Kind.DATA and row.codec is Codec.ZSTD
    assert (row.start, row.records_start, row.end) == (0, 61, len(data))
    assert (row.base_offset, row.last_offset, row.leader_epoch, row.count) == (5, 11, 3, 2)
    assert (row.attributes, row.max_timestamp, row.producer_id) == (TRANSACTIONAL | Codec.ZSTD, 50, 77)
    assert row.crc == int.from_bytes(data[17:21], "big")


@pytest.mark.parametrize("kind", [bytes, bytearray, lambda data: memoryview(bytearray(data))])
def test_any_buffer_will_do(kernel, kind):
    assert len(kernel.walk(kind(transactional(0, 1)), 0, [])) == 1


def test_empty_response_has_no_rows(kernel):
    assert kernel.walk(b"", 0, []) == []


@pytest.mark.parametrize("cut", [1, 16, 17, 60, 61, 70])
def test_cut_last_batch_is_left_out(kernel, cut):
    first, second = transactional(0, 1), transactional(2, 1)
    rows = kernel.walk(first + second[:cut], 0, [])
    assert [row.last_offset for row in rows] == [1]


def test_batches_below_the_fetch_offset_are_left_out_and_one_that_contains_it_stays(kernel):
    data = transactional(0, 1) + transactional(2, 1) + transactional(4, 1)
    assert [row.base_offset for row in kernel.walk(data, 3, [])] == [2, 4]


def test_aborted_batches_are_marked_until_the_abort_marker(kernel):
    data = (
        transactional(0, 1)
        + transactional(2, 2)
        + marker(4, 1, commit=False)
        + transactional(5, 1)
        + marker(7, 2, commit=True)
        + marker(8, 1, commit=True)
    )
    rows = kernel.walk(data, 0, [(1, 0)])
    assert [row.kind.name for row in rows] == ["ABORTED", "DATA", "CONTROL", "DATA", "CONTROL", "CONTROL"]


def test_aborted_list_in_any_order_takes_effect_at_each_first_offset(kernel):
    data = (
        transactional(0, 1)
        + marker(2, 1, commit=False)
        + transactional(3, 1)
        + marker(5, 1, commit=True)
        + transactional(6, 1)
        + marker(8, 1, commit=False)
    )
    rows = kernel.walk(data, 0, [(1, 6), (1, 0)])
    assert [row.kind.name for row in rows] == ["ABORTED", "CONTROL", "DATA", "CONTROL", "ABORTED", "CONTROL"]


def test_abort_marker_before_the_fetch_offset_still_counts(kernel):
    data = marker(2, 1, commit=False) + transactional(3, 1)
    rows = kernel.walk(data, 3, [(1, 0)])
    assert [row.kind for row in rows] == [Kind.DATA]


def test_batch_outside_a_transaction_of_an_aborted_producer_is_data(kernel):
    data = batch([Record(0, b"v")], Frame(producer_id=1, producer_epoch=0, base_sequence=0))
    assert kernel.walk(data, 0, [(1, 0)])[0].kind is Kind.DATA


def test_batch_emptied_by_compaction_is_empty_also_if_it_was_a_marker(kernel):
    data = batch([], Frame(base_offset=0, last_offset=4)) + batch([], Frame(base_offset=5, last_offset=5, attributes=CONTROL))
    rows = kernel.walk(data, 0, [])
    assert [(row.kind, row.last_offset) for row in rows] == [(Kind.EMPTY, 4), (Kind.EMPTY, 5)]


@pytest.mark.parametrize("magic", [0, 1])
def test_old_messages_are_legacy_rows(kernel, magic):
    data = legacy_message(5, b"k", b"v", magic=magic) + legacy_message(9, None, b"zz", magic=magic, attributes=1)
    rows = kernel.walk(data, 0, [])
    assert [(row.kind, row.base_offset, row.last_offset, row.count) for row in rows] == [
        (Kind.LEGACY, 5, 5, 1),
        (Kind.LEGACY, 9, 9, -1),
    ]
    assert rows[1].codec is Codec.GZIP and rows[0].max_timestamp == (1000 if magic else -1)
    assert all(verify_crc(data, row) for row in rows)


def test_checksum_notices_every_flipped_byte_behind_it(kernel):
    data = transactional(0, 1)
    (row,) = kernel.walk(data, 0, [])
    assert verify_crc(data, row)
    for at in range(17, len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 0x40
        stored = int.from_bytes(damaged[17:21], "big")
        assert not verify_crc(damaged, row._replace(crc=stored))


def patched(layout: str, at: int, value: int) -> bytes:
    data = bytearray(transactional(2, 1))
    struct.pack_into(layout, data, at, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (patched(">i", 8, -1), "length"),
        (patched(">i", 8, 13), "length"),
        (patched(">i", 8, 48), "length"),
        (patched(">b", 16, 3), "version"),
        (patched(">b", 16, -1), "version"),
        (patched(">q", 0, -1), "offsets"),
        (patched(">q", 0, 2**63 - 1), "offsets"),
        (patched(">i", 23, -1), "offsets"),
        (patched(">i", 57, -1), "count"),
        (patched(">h", 21, 5), "codec"),
        (marker(2, 1, commit=True)[:61].ljust(len(marker(2, 1, commit=True)), b"\x7f"), "control"),
        (patched(">h", 21, CONTROL), "control"),
        (legacy_message(3, None, b"", attributes=4), "codec"),
    ],
    ids=lambda value: value if isinstance(value, str) else "bytes",
)
def test_impossible_header_is_refused_with_its_place(kernel, data, reason):
    good = transactional(0, 1)
    with pytest.raises(MalformedBatch, match=reason) as caught:
        kernel.walk(good + data, 0, [])
    assert caught.value.position == len(good)


def test_offsets_that_go_back_are_refused(kernel):
    with pytest.raises(MalformedBatch, match="go back"):
        kernel.walk(transactional(5, 1) + transactional(6, 1), 0, [])
