"""Where batches begin and end in a blob; what is no batch is told, never followed."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.domain.errors import MalformedData
from smartconnect.kafka.batch import extent, headers, parse_header

HEADER = struct.Struct(">qiibIhiqqqhii")


def batch(base: int, count: int, *, epoch: int = 3, body: bytes = b"records") -> bytes:
    return HEADER.pack(base, 49 + len(body), epoch, 2, 77, 0, count - 1, 5, 6, 7, 8, 9, count) + body


def test_header_fields_are_read_in_order() -> None:
    header = parse_header(batch(100, 10))
    assert (header.base_offset, header.last_offset, header.record_count) == (100, 109, 10)
    assert (header.leader_epoch, header.crc, header.producer_id, header.producer_epoch) == (3, 77, 7, 8)
    assert header.size == 61 + 7


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.data())
def test_extent_ends_with_the_last_whole_batch(counts: list[int], data: st.DataObject) -> None:
    blobs, base = [], 1000
    for count in counts:
        blobs.append(batch(base, count, epoch=base))
        base += count
    blob = b"".join(blobs)
    cut = data.draw(st.integers(0, len(blob)))
    whole = cut // len(blobs[0])
    found = extent(memoryview(blob)[:cut])
    assert found.intact and found.batches == whole and found.end == whole * len(blobs[0])
    assert found.next_offset == (1000 + sum(counts[:whole]) if whole else -1)
    assert [h.record_count for _, h in headers(blob[:cut])] == counts[:whole]
    if whole:
        assert found.leader_epoch == 1000 + sum(counts[: whole - 1])


def test_old_message_sets_are_measured_too() -> None:
    message = struct.pack(">qi", 41, 14) + b"\0" * 4 + b"\x01" + b"\0" * 9
    found = extent(memoryview(message * 2))
    assert (found.end, found.next_offset, found.leader_epoch) == (52, 42, -1)


@pytest.mark.parametrize("length", [-1, 0, 13, -(2**31)])
def test_length_that_cannot_be_is_told_behind_whole_batches(length: int) -> None:
    blob = batch(5, 2) + struct.pack(">qi", 7, length) + b"\0" * 60
    found = extent(memoryview(blob))
    assert not found.intact and found.next_offset == 7


@given(st.binary(max_size=300))
def test_random_bytes_are_measured_within_their_bounds(raw: bytes) -> None:
    found = extent(memoryview(raw))
    assert 0 <= found.end <= len(raw)
    with contextlib.suppress(MalformedData):
        list(headers(raw))
