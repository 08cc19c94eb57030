"""The loop goes on while a thread is inside a kernel: the interpreter lock is let go of."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from tests.unit.kernels.conftest import compiled_module

from smartconnect.kernels import BlockPool, BlockWriter, Codec, JoinPlan, Limits, Section, decompress, encode

NEVER_S = 1000.0


@pytest.fixture
def no_switching() -> Iterator[None]:
    """A thread that does not let go of the lock by itself keeps it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(NEVER_S)
    yield
    sys.setswitchinterval(before)


def main_thread_runs_during(work: Callable[[], object]) -> bool:
    entered, left = threading.Event(), threading.Event()

    def run() -> None:
        entered.set()
        work()
        left.set()

    thread = threading.Thread(target=run)
    thread.start()
    entered.wait()
    ran = not left.is_set()
    thread.join()
    return ran


def test_work_that_keeps_the_lock_is_noticed(no_switching):
    assert not main_thread_runs_during(lambda: sum(range(100_000)))


def test_join_lets_go_of_the_lock(no_switching):
    records = [encode.Record(i, b"v") for i in range(20_000)]
    part = Section(encode.records_section(records, 0, 0), len(records), 0, len(records))
    plan, limits = JoinPlan(), Limits(skip_before=1 << 40)
    assert main_thread_runs_during(lambda: compiled_module().join([part] * 2000, plan, BlockWriter(BlockPool()), limits))


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD])
def test_decompression_lets_go_of_the_lock(no_switching, codec):
    section = encode.compress(codec, b"some words that repeat " * 100_000)
    assert main_thread_runs_during(lambda: [decompress(codec, section) for _ in range(50)])
