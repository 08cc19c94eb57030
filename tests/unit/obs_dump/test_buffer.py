"""What an open object holds: every byte in order, and no more memory than its size asks for."""

from __future__ import annotations

from fastcrc import crc32
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.jobs.obs_dump.buffer import MOST_IN_PAGES, PAGE_BYTES, ObjectBuffer, PagedPool
from smartconnect.kernels import BLOCK_BYTES


class Account:
    """Bytes that a pool says are out."""

    def __init__(self) -> None:
        self.out = 0

    def take(self, nbytes: int) -> None:
        self.out += nbytes

    def give(self, nbytes: int) -> None:
        self.out -= nbytes


def _text(seed: int, size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 2))[seed : seed + size]


@given(st.lists(st.one_of(st.integers(0, 400), st.integers(0, 3 * PAGE_BYTES), st.integers(0, 2 * BLOCK_BYTES)), max_size=30))
def test_every_byte_is_kept_in_order_whatever_the_joins_bring(sizes: list[int]) -> None:
    account = Account()
    pool = PagedPool(account.take, account.give)
    buffer, model = ObjectBuffer(pool), b""
    for seed, size in enumerate(sizes):
        buffer.writer.write(_text(seed, size))
        buffer.settle()
        model += _text(seed, size)
        assert buffer.length == len(model)
        assert account.out == pool.out_bytes
        step = PAGE_BYTES if len(model) <= MOST_IN_PAGES else BLOCK_BYTES
        assert pool.out_bytes == -(-len(model) // step) * step
    taken = buffer.take()
    assert b"".join(taken.views) == model
    assert taken.crc32c == crc32.iscsi(model)
    assert buffer.length == 0
    pool.release(taken.views)
    assert account.out == pool.out_bytes == 0


def test_what_has_left_as_a_part_is_not_in_the_next_one() -> None:
    pool = PagedPool()
    buffer = ObjectBuffer(pool)
    for content in (b"one\n", b"x" * BLOCK_BYTES, b"two\n"):
        buffer.writer.write(content)
        buffer.settle()
        taken = buffer.take()
        assert b"".join(taken.views) == content
        assert taken.crc32c == crc32.iscsi(content)
        pool.release(taken.views)
    assert pool.out_bytes == 0


def test_a_cleared_buffer_holds_nothing() -> None:
    pool = PagedPool()
    for size in (10, 2 * BLOCK_BYTES):
        buffer = ObjectBuffer(pool)
        buffer.writer.write(b"x" * size)
        buffer.settle()
        buffer.clear()
        assert buffer.length == pool.out_bytes == 0


def test_a_thousand_slow_partitions_take_a_few_mebibytes() -> None:
    pool = PagedPool()
    buffers = [ObjectBuffer(pool) for _ in range(1000)]
    for buffer in buffers:
        buffer.writer.write(b"x" * 101)
        buffer.settle()
    assert pool.out_bytes == 1000 * PAGE_BYTES
