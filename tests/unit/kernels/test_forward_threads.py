"""The loop goes on while a thread is inside a forwarding kernel: the interpreter lock is let go of where it takes long."""

from __future__ import annotations

import random

import pytest
from tests.unit.kernels.conftest import compiled_module
from tests.unit.kernels.test_threads import main_thread_runs_during, no_switching

from smartconnect.kernels import NO_RECORDS, START, Codec, DigestPlan, RecodePlan, Stamp, encode, walk
from smartconnect.kernels.encode import Record
from smartconnect.kernels.forward import Part, Room

__all__ = ["no_switching"]

DATA = encode.batch([Record(i, b"value") for i in range(20_000)])
MANY = 3000
BEHIND_ALL = 1 << 40


def parts() -> list[Part]:
    return [Part(memoryview(DATA)[61:], 20_000, 0, 19_999, 0, None)] * MANY


def test_check_lets_go_of_the_lock(no_switching):
    rows = walk(DATA, 0, []) * (4 * MANY)
    assert main_thread_runs_during(lambda: compiled_module().check(DATA, rows))


def test_stamp_lets_go_of_the_lock(no_switching):
    data = bytearray(DATA)
    ranges = [(0, len(data), 0)] * 500_000
    assert main_thread_runs_during(lambda: compiled_module().stamp(data, ranges, Stamp(1, 1, transactional=True)))


def test_rewrite_lets_go_of_the_lock(no_switching):
    plan, room = RecodePlan(1 << 40, from_offset=BEHIND_ALL), Room(1 << 40, 1 << 40)
    assert main_thread_runs_during(lambda: compiled_module().rewrite(parts(), plan, room, START, bytearray()))


def test_sum_up_lets_go_of_the_lock(no_switching):
    plan = DigestPlan(BEHIND_ALL, 2 * BEHIND_ALL)
    assert main_thread_runs_during(lambda: compiled_module().sum_up(parts(), plan, NO_RECORDS))


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD])
def test_compression_lets_go_of_the_lock(no_switching, codec):
    section = random.Random(1).randbytes(1000) * 2000
    assert main_thread_runs_during(lambda: [encode.compress(codec, section) for _ in range(50)])
