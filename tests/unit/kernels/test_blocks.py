"""Blocks, and writers that grow at the end until all that they hold is taken."""

from __future__ import annotations

import pytest
from fastcrc import crc32
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from smartconnect.kernels import BLOCK_BYTES, BlockPool, BlockWriter, FreeBlocks, JoinPlan, MalformedBatch, Section, join
from smartconnect.kernels.encode import Record, records_section


class Budget:
    def __init__(self):
        self.out = 0

    def take(self, nbytes):
        self.out += nbytes

    def give(self, nbytes):
        self.out -= nbytes


class WriterMachine(RuleBasedStateMachine):
    """A writer against plain bytes, in any order of writing, joining, taking, releasing, dropping."""

    def __init__(self):
        super().__init__()
        self.budget = Budget()
        self.pool = BlockPool(self.budget.take, self.budget.give, free=FreeBlocks(3))
        self.writer = BlockWriter(self.pool)
        self.model = b""
        self.uploads = []
        self.count = 0

    def pattern(self, size):
        self.count += 1
        return (b"%d," % self.count * (size // 2 + 1))[:size]

    @rule(size=st.sampled_from([0, 1, 100, BLOCK_BYTES - 1, BLOCK_BYTES, 3 * BLOCK_BYTES + 5]))
    def write(self, size):
        data = self.pattern(size)
        self.writer.write(data)
        self.model += data

    @rule(sizes=st.lists(st.sampled_from([0, 5, 99, 1000, BLOCK_BYTES, 2 * BLOCK_BYTES]), max_size=5))
    def join(self, sizes):
        records = [Record(i, self.pattern(size)) for i, size in enumerate(sizes)]
        join([Section(records_section(records, 0, 0), len(records), 0, len(records))], JoinPlan(b"\n"), self.writer)
        self.model += b"".join((record.value or b"") + b"\n" for record in records)

    @rule()
    def take(self):
        taken = self.writer.take()
        assert taken.crc32c == crc32.iscsi(self.model)
        self.uploads.append((taken.views, self.model))
        self.model = b""

    @rule()
    def damaged(self):
        """A join that fails, in its second section, leaves nothing behind."""
        sound = Section(records_section([Record(0, b"x" * BLOCK_BYTES)], 0, 0), 1, 0, 0)
        with pytest.raises(MalformedBatch):
            join([sound, Section(b"\x02", 1, 1, 1)], JoinPlan(b"\n"), self.writer)

    @precondition(lambda self: self.uploads)
    @rule()
    def acknowledge(self):
        views, data = self.uploads.pop(0)
        assert b"".join(views) == data
        self.pool.release(views)

    @rule()
    def drop(self):
        self.writer.clear()
        self.model = b""

    @invariant()
    def same(self):
        assert len(self.writer) == len(self.model)
        blocks = sum(len(views) for views, _ in self.uploads) * BLOCK_BYTES
        assert self.budget.out == self.pool.out_bytes == self.writer.held_bytes + blocks
        assert self.writer.held_bytes < len(self.model) + BLOCK_BYTES
        assert self.writer.crc32c == crc32.iscsi(self.model)
        assert self.pool.free_bytes <= 3 * BLOCK_BYTES

    def teardown(self):
        while self.uploads:
            self.acknowledge()
        assert b"".join(self.writer.take().views) == self.model


TestWriter = WriterMachine.TestCase
TestWriter.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_empty_writer_holds_no_block():
    writer = BlockWriter(BlockPool())
    assert writer.take() == ([], 0) and writer.held_bytes == 0


def test_released_blocks_are_used_again():
    pool = BlockPool()
    writer = BlockWriter(pool)
    writer.write(b"x" * BLOCK_BYTES)
    views, _ = writer.take()
    block = views[0].obj
    pool.release(views)
    writer.write(b"y")
    assert writer.blocks[0] is block and pool.free_bytes == 0


def test_trim_forgets_free_blocks():
    free = FreeBlocks(8)
    pool = BlockPool(free=free)
    pool.put(pool.get(5))
    assert pool.free_bytes == 5 * BLOCK_BYTES
    free.trim()
    assert pool.free_bytes == pool.out_bytes == 0


def test_delimiters_are_short():
    with pytest.raises(ValueError, match="64"):
        JoinPlan(b"x" * 65)
