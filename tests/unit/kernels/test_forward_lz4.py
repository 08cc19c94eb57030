"""Frames that we make: read by an independent decoder, and of the form that brokers take."""

from __future__ import annotations

import random

import cramjam
import pytest

from smartconnect.kernels import lz4

NOISE = random.Random(1).randbytes(200_000)
TEXT = b"some words that repeat, " * 20_000


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000])
@pytest.mark.parametrize("data", [NOISE, TEXT, bytes(200_000)], ids=["noise", "text", "zeros"])
def test_another_decoder_reads_it(data, size):
    frame = lz4.fold(memoryview(data)[:size])
    assert bytes(cramjam.lz4.decompress(bytes(frame))) == data[:size]
    assert bytes(lz4.unfold(memoryview(frame), 1 << 20, lambda n: memoryview(bytearray(n)))) == data[:size]


def test_blocks_are_independent_and_of_64_kib():
    frame = lz4.fold(memoryview(TEXT))
    flags, block_size = frame[4], frame[5]
    assert flags >> 6 == 1 and flags & 0x20 and block_size == 0x40


def test_what_does_not_compress_is_stored():
    assert len(lz4.fold(memoryview(NOISE))) <= len(NOISE) + 7 + 4 * 4 + 4


def test_buffers_other_than_bytes_are_taken_and_let_go():
    buffer = bytearray(TEXT)
    with memoryview(buffer) as view:
        frame = lz4.fold(view)
    buffer.clear()
    assert bytes(cramjam.lz4.decompress(bytes(frame))) == TEXT
