"""When a transaction ends: kafka-replication.md §6.4, "When"."""

from __future__ import annotations

import pytest

from smartconnect.domain.kafka_replication_spec import ReplicationOptions
from smartconnect.jobs.kafka_replication.pace import Pace


class Hand:
    """A clock that is moved by hand, in milliseconds."""

    def __init__(self) -> None:
        self.ms = 1_000_000.0

    def __call__(self) -> float:
        return self.ms / 1000


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def pace(clock: Hand) -> Pace:
    return Pace(ReplicationOptions(commit_min_ms=20, commit_interval_ms=200), clock)


def first_due(pace: Pace, clock: Hand, *, quiet: bool, most_ms: int = 5000) -> int:
    """How many milliseconds from now the pace first says that it is due. The clock stands there then."""
    for waited in range(most_ms):
        if pace.is_due(quiet=quiet):
            return waited
        clock.ms += 1
    raise AssertionError(f"not due within {most_ms} ms")


def commit(pace: Pace, clock: Hand, took_ms: float, *, markers: int = 1, records: int = 1000) -> None:
    """A transaction with so many records whose end takes so long."""
    pace.counted(records)
    began = clock()
    clock.ms += took_ms
    pace.committed(began, markers=markers)


def test_the_first_transaction_of_a_quiet_topic_ends_at_once(pace: Pace, clock: Hand) -> None:
    pace.begin(catching_up=False)
    assert pace.is_due(quiet=True)
    assert not pace.is_due(quiet=False)


def test_it_ends_at_the_interval_although_more_comes(pace: Pace, clock: Hand) -> None:
    pace.begin(catching_up=False)
    assert first_due(pace, clock, quiet=False) == pytest.approx(200, abs=1)


def test_commits_keep_their_least_distance(pace: Pace, clock: Hand) -> None:
    commit(pace, clock, took_ms=1)
    pace.begin(catching_up=False)
    assert first_due(pace, clock, quiet=True) == pytest.approx(20, abs=1)


def test_slow_commits_come_at_a_quarter_of_the_time_at_most(pace: Pace, clock: Hand) -> None:
    commit(pace, clock, took_ms=30)
    pace.begin(catching_up=False)
    assert first_due(pace, clock, quiet=True) == pytest.approx(120, abs=1)


@pytest.mark.parametrize("quiet", [True, False])
def test_where_markers_take_seconds_most_of_the_time_is_left_for_data(pace: Pace, clock: Hand, *, quiet: bool) -> None:
    """The end is acknowledged at once; it is the next transaction that has to wait for the markers."""
    for _ in range(10):
        pace.begin(catching_up=False)
        pace.opened(1.5)
        commit(pace, clock, took_ms=500)
    pace.begin(catching_up=False)
    assert first_due(pace, clock, quiet=quiet, most_ms=20_000) == pytest.approx(8000, abs=2)
    for _ in range(3):
        pace.opened(100)
    assert first_due(pace, clock, quiet=quiet, most_ms=20_000) <= 10_000


def test_one_slow_beginning_changes_nothing(pace: Pace, clock: Hand) -> None:
    for took_s in (0.001, 0.001, 5.0):
        pace.opened(took_s)
    commit(pace, clock, took_ms=1)
    pace.begin(catching_up=False)
    assert first_due(pace, clock, quiet=True) == pytest.approx(20, abs=1)


def test_the_first_transaction_is_not_stretched_to_catch_up(pace: Pace, clock: Hand) -> None:
    """A new task shows its first records within a second, however many there are."""
    pace.begin(catching_up=True)
    assert first_due(pace, clock, quiet=False) == pytest.approx(200, abs=1)


def test_a_partition_far_behind_commits_once_a_second(pace: Pace, clock: Hand) -> None:
    commit(pace, clock, took_ms=1)
    pace.begin(catching_up=True)
    assert first_due(pace, clock, quiet=False) == pytest.approx(1000, abs=1)


def test_markers_beyond_a_quarter_of_the_records_stretch_the_interval(pace: Pace, clock: Hand) -> None:
    for _ in range(20):
        clock.ms += 20
        commit(pace, clock, took_ms=1, markers=100, records=100)
    pace.begin(catching_up=False)
    assert first_due(pace, clock, quiet=True, most_ms=6000) == pytest.approx(5000, abs=2)
    pace.begin(catching_up=False)
    assert first_due(pace, clock, quiet=False, most_ms=6000) == pytest.approx(5000, abs=2)


def settled(pace: Pace, clock: Hand, partitions: int) -> tuple[int, float]:
    """A record a second in each of so many partitions: how many ms lie between two commits in the end, and how many markers come to a
    record."""
    waited, share = 0, 0.0
    for _ in range(200):
        pace.begin(catching_up=False)
        waited = first_due(pace, clock, quiet=True, most_ms=6000)
        records = max(1, round(partitions * waited / 1000))
        markers = min(partitions, records)
        commit(pace, clock, took_ms=1, markers=markers, records=records)
        share = markers / records
    return waited, share


def test_a_record_a_second_in_each_of_thousands_of_partitions_gets_a_marker_to_four_of_them(pace: Pace, clock: Hand) -> None:
    waited, share = settled(pace, clock, 5000)
    assert share <= 0.3 and waited <= 5000


def test_a_record_a_second_in_each_of_a_hundred_partitions_is_visible_at_once(pace: Pace, clock: Hand) -> None:
    waited, _ = settled(pace, clock, 100)
    assert waited <= 20


@pytest.mark.parametrize(
    ("markers", "every_ms", "records"), [(100, 20, 1000), (3, 20, 3)], ids=["many records", "few markers a second"]
)
def test_markers_that_are_no_burden_stretch_nothing(pace: Pace, clock: Hand, markers: int, every_ms: int, records: int) -> None:
    for _ in range(20):
        clock.ms += every_ms
        commit(pace, clock, took_ms=1, markers=markers, records=records)
    pace.begin(catching_up=False)
    assert first_due(pace, clock, quiet=True) == pytest.approx(20, abs=1)


def test_a_stretched_interval_shrinks_again(pace: Pace, clock: Hand) -> None:
    for _ in range(20):
        clock.ms += 20
        commit(pace, clock, took_ms=1, markers=100, records=100)
    for _ in range(60):
        clock.ms += 1000
        commit(pace, clock, took_ms=1, markers=100, records=100_000)
    pace.begin(catching_up=False)
    assert first_due(pace, clock, quiet=True) == pytest.approx(20, abs=1)


@pytest.mark.parametrize("quiet", [True, False], ids=["quiet", "busy"])
def test_the_wait_ends_when_the_transaction_is_due_and_never_spins(pace: Pace, clock: Hand, quiet: bool) -> None:
    commit(pace, clock, took_ms=10)
    pace.begin(catching_up=False)
    waits = 0
    while not pace.is_due(quiet=quiet):
        wait = pace.wait(quiet=quiet)
        assert wait >= 0.001
        clock.ms += wait * 1000
        waits += 1
    assert waits <= 3
    assert pace.wait(quiet=quiet) == 0.001
