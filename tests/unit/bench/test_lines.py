"""The benchmarks' count of ids: every fault that a side can have is told from every other."""

from __future__ import annotations

import pytest
from bench.common.data import PARTITIONS, Case
from bench.common.lines import Count, Lines
from kafka.record.default_records import DefaultRecordBatch

from smartconnect.kernels import Codec

CASE = Case(100, 40 * PARTITIONS, Codec.NONE, batch_bytes=1000)


def values(partition: int, start: int = 0, end: int = CASE.per_partition) -> bytes:
    return b"".join(part for _, part in CASE.lines(partition, start, end))


def counted(*parts: tuple[int, bytes]) -> Count:
    """Of partition 0 these parts, of the others everything."""
    result = Count()
    lines = Lines(CASE, result)
    for partition, body in [*parts, *((number, values(number)) for number in range(1, PARTITIONS))]:
        lines.add(partition, body)
    lines.finish()
    return result


def faults(count: Count) -> dict[str, int]:
    return {name: getattr(count, name) for name in ("twice", "lost", "late", "torn") if getattr(count, name)}


def test_everything_in_order_is_perfect_however_it_is_cut() -> None:
    count = counted((0, values(0, 0, 7)), (0, values(0, 7, 33)), (0, values(0, 33)))
    assert count.perfect
    assert count.arrived == CASE.total


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ([values(0, 0, 10), values(0, 11)], {"lost": 1}),
        ([values(0, 0, 20), values(0, 15)], {"twice": 5}),
        ([values(0, 0, 5), values(0, 6), values(0, 5, 6)], {"late": 1}),
        ([values(0, 0, 5), values(1, 5, 6), values(0, 6)], {"torn": 1, "lost": 1}),
        ([values(0, 0, 5), values(0, 5, 6).replace(b"text", b"TEXT"), values(0, 6)], {"torn": 1, "lost": 1}),
        ([values(0, 0, 39), b"\n"], {"torn": 1, "lost": 1}),
    ],
)
def test_a_fault_is_named(parts: list[bytes], wanted: dict[str, int]) -> None:
    count = counted(*((0, part) for part in parts))
    assert faults(count) == wanted
    assert not count.perfect


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.ZSTD])
def test_what_is_sent_is_what_is_counted(codec: Codec) -> None:
    case = Case(100, 40 * PARTITIONS, codec, batch_bytes=1000)
    batches = [DefaultRecordBatch(blob) for blob in case.batches(3)]
    assert all(one.validate_crc() for one in batches)
    assert b"".join(record.value + b"\n" for one in batches for record in one) == values(3)
