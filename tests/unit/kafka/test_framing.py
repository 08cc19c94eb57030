"""Frames come out of the receiving half whole and in order, however the bytes arrive; hostile lengths cost nothing."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.domain.errors import MalformedData
from smartconnect.kafka.framing import HEAD, FrameReader


def body(size: int, first: int) -> bytes:
    return bytes((first + number) % 251 for number in range(size))


sizes_of_frames = st.integers(4, 40) | st.integers(HEAD - 100, 2 * HEAD)
bodies = st.lists(st.builds(body, sizes_of_frames, st.integers(0, 250)), max_size=8)


def feed(reader: FrameReader, stream: bytes, sizes: list[int]) -> list[bytes]:
    frames: list[bytes] = []
    at = turn = 0
    while at < len(stream):
        buffer = reader.buffer()
        assert len(buffer) > 0
        count = min(len(buffer), len(stream) - at, sizes[turn % len(sizes)])
        buffer[:count] = stream[at : at + count]
        frames += [bytes(frame) for frame in reader.received(count)]
        at += count
        turn += 1
    return frames


@given(bodies, st.lists(st.integers(1, 6000), min_size=1, max_size=6))
def test_frames_survive_any_cutting(frames: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
    assert feed(FrameReader(1 << 20), stream, sizes) == frames


@pytest.mark.parametrize("size", [-1, -(2**31), 0, 3, (1 << 20) + 1, 2**31 - 1])
def test_impossible_length_is_refused_before_memory_is_taken(size: int) -> None:
    reader = FrameReader(1 << 20)
    reader.buffer()[:4] = size.to_bytes(4, "big", signed=True)
    tracemalloc.start()
    with pytest.raises(MalformedData, match=str(size)):
        reader.received(4)
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_large_frame_is_received_into_its_own_buffer() -> None:
    reader = FrameReader(1 << 20)
    body = bytes(range(256)) * 256
    head = len(body).to_bytes(4, "big") + body[: HEAD - 4]
    reader.buffer()[: len(head)] = head
    assert reader.received(len(head)) == []
    assert reader.missing == len(body) - (HEAD - 4)
    rest = reader.buffer()
    assert len(rest) == reader.missing
    rest[:] = body[HEAD - 4 :]
    (frame,) = reader.received(len(rest))
    assert frame == body and frame.obj is rest.obj
