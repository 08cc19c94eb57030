"""The benchmark's count of what a read_committed reader could see, from segment files."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.kafka_replication.tail import Tail

from smartconnect.kernels.batch import TRANSACTIONAL
from smartconnect.kernels.encode import Frame, Record, batch, marker


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    """The first segment of the only partition."""
    (tmp_path / "t-0").mkdir()
    return tmp_path / "t-0" / "00000000000000000000.log"


@pytest.fixture
def tail(tmp_path: Path) -> Tail:
    return Tail(tmp_path, {"t": 1})


def plain(count: int) -> bytes:
    return batch([Record(n, b"v") for n in range(count)])


def transactional(producer: int, count: int) -> bytes:
    return batch([Record(n, b"v") for n in range(count)], Frame(producer_id=producer, attributes=TRANSACTIONAL))


def append(segment: Path, *parts: bytes) -> None:
    with segment.open("ab") as file:
        file.write(b"".join(parts))


def test_records_outside_transactions_are_visible_at_once(tail: Tail, segment: Path) -> None:
    append(segment, plain(3))
    assert tail.visible() == 3
    append(segment, plain(4))
    assert tail.visible() == 7
    assert (tail.batches, tail.markers) == (2, 0)


def test_a_transaction_is_visible_when_its_own_producer_commits(tail: Tail, segment: Path) -> None:
    append(segment, transactional(5, 3), transactional(6, 10), transactional(5, 4))
    assert (tail.visible(), tail.written) == (0, 17)
    append(segment, marker(0, 5, commit=True))
    assert tail.visible() == 7
    append(segment, marker(0, 6, commit=True))
    assert (tail.visible(), tail.markers) == (17, 2)


def test_an_aborted_transaction_is_never_visible(tail: Tail, segment: Path) -> None:
    append(segment, transactional(5, 3), marker(0, 5, commit=False), transactional(5, 2), marker(0, 5, commit=True))
    assert tail.visible() == 2


def test_a_batch_that_is_half_written_is_read_when_it_is_whole(tail: Tail, segment: Path) -> None:
    whole = plain(5)
    append(segment, plain(2), whole[:70])
    assert tail.visible() == 2
    append(segment, whole[70:])
    assert tail.visible() == 7


def test_the_next_segment_is_read_behind_the_first(tail: Tail, segment: Path) -> None:
    append(segment, plain(2))
    assert tail.visible() == 2
    append(segment, plain(1))
    append(segment.with_name("00000000000000000003.log"), plain(4))
    assert tail.visible() == 7
