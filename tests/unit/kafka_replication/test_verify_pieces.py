"""A verification sums up bounded pieces, whatever a fetch answer unfolds to (`jobs.kafka_replication.verify.log.pieces`)."""

from __future__ import annotations

import pytest

from smartconnect.jobs.kafka_replication.verify import log
from smartconnect.jobs.kafka_replication.verify.log import pieces
from smartconnect.kernels import NO_RECORDS, Batch, DigestPlan, Kind, RangeDigest, Scratch, digest, encode, walk

SCRATCH = Scratch(1 << 20, 16 << 20)


def batch_of(first: int, count: int, step: int = 1) -> bytes:
    return encode.batch([encode.Record(first + step * number, b"%d" % (first + number)) for number in range(count)])


BLOB = b"".join((batch_of(0, 7), batch_of(7, 60), batch_of(90, 1), batch_of(1000, 5, step=9), batch_of(5000, 30)))


def summed(plan: DigestPlan, rows: list[Batch]) -> tuple[list[RangeDigest], list[int]]:
    """All ranges, and how many each call gave."""
    found: list[RangeDigest] = []
    sizes: list[int] = []
    unfinished = NO_RECORDS
    for piece, part in pieces(rows, plan):
        finished, unfinished = digest(BLOB, part, piece, SCRATCH, unfinished)
        found += finished
        sizes.append(len(finished))
    return [*found, *([unfinished] if unfinished.count else [])], sizes


@pytest.mark.parametrize(("start", "end"), [(0, 9000), (3, 5010), (50, 91), (67, 90), (6000, 9000)])
@pytest.mark.parametrize("every", [1, 2, 5, 1000])
def test_pieces_together_are_the_whole(monkeypatch: pytest.MonkeyPatch, start: int, end: int, every: int) -> None:
    monkeypatch.setattr(log, "_RANGES_AT_ONCE", 4)
    rows, plan = walk(BLOB, 0, ()), DigestPlan(start, end, every)
    whole, rest = digest(BLOB, rows, plan, SCRATCH, NO_RECORDS)
    found, sizes = summed(plan, rows)
    assert found == [*whole, *([rest] if rest.count else [])]
    assert max(sizes, default=0) <= 5


def test_old_wrappers_stay_whole() -> None:
    rows = walk(BLOB, 0, ())
    rows[1] = rows[1]._replace(kind=Kind.LEGACY)
    plan = DigestPlan(0, 9000, 1)
    assert list(pieces(rows, plan)) == [(plan, rows)]
    assert list(pieces([], plan)) == []
