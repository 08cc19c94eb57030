"""What the meters of jobs have in common: nothing is shown as known that is not, percents never fall, a hang is told once."""

from __future__ import annotations

from dataclasses import dataclass, field

from smartconnect.domain.progress import Level, PartitionProgress, PartitionState
from smartconnect.domain.task import Reason
from smartconnect.jobs.lag import EndsSeen
from smartconnect.jobs.metering import CopyPace, HeldBack, LazyRows, Standing, blocked_reason, standing
from smartconnect.kafka.types import TopicPartition


def test_the_copy_is_done_when_nothing_remains() -> None:
    pace = CopyPace()
    assert pace.is_due(10.0) and not pace.is_done and pace.eta_ms is None
    pace.saw(10.0, 250, 1000)
    assert not pace.is_due(10.5) and pace.is_due(11.0)
    pace.saw(11.0, 500, 1000)
    assert (pace.percent, pace.eta_ms) == (50.0, 2000)
    pace.saw(12.0, 1000, 1000)
    assert pace.is_done


def test_the_percent_never_falls_and_is_not_100_before_the_end() -> None:
    pace = CopyPace()
    pace.saw(1.0, 900, 1000)
    pace.saw(2.0, 900, 9000)
    assert pace.percent == 90.0
    pace.saw(3.0, 99_999, 100_000)
    assert pace.percent == 99.9 and not pace.is_done


def test_without_progress_there_is_no_estimate() -> None:
    pace = CopyPace()
    for second in range(5):
        pace.saw(float(second), 10, 100)
    assert pace.eta_ms is None


def test_records_held_back_for_a_minute_are_told_once() -> None:
    told: list[tuple[Level, str, str]] = []
    held = HeldBack(lambda *event: told.append(event))
    for second in range(200):
        held.look("orders-3", 7, float(second))
    assert told == [
        (Level.WARNING, "held_by_open_transaction", "7 records of orders-3 are held back by an open transaction of a producer")
    ]
    held.look("orders-3", 0, 200.0)
    for second in range(201, 300):
        held.look("orders-3", 1, float(second))
    assert len(told) == 2


def test_the_oldest_reason_speaks_for_all() -> None:
    assert blocked_reason([None, None]) is None
    found = blocked_reason([Reason("a", "late", since=20), None, Reason("b", "early", since=10)])
    assert found == Reason("partition_blocked", "early (and 1 more)", since=10)


@dataclass
class Row:
    """A partition as a meter knows it."""

    tp: TopicPartition
    position: int | None
    selected: bool = True
    blocked: Reason | None = None
    ends: EndsSeen = field(default_factory=EndsSeen)

    def ending_at(self, end: int, now_ms: int = 0) -> Row:
        self.ends.saw(end, self.position, now_ms)
        return self


def stand(*rows: Row) -> Standing:
    return standing(rows, lambda row: row.position, 5000)


def test_lags_add_up_and_the_longest_wait_counts() -> None:
    quiet, behind = Row(TopicPartition("t", 0), 7).ending_at(7), Row(TopicPartition("t", 1), 10).ending_at(30, now_ms=2000)
    assert stand() == Standing(0, 0, 0, 0, [])
    assert stand(quiet, behind) == Standing(20, 3000, 54, 0, [])


def test_a_lag_with_an_unknown_part_is_unknown() -> None:
    known, unknown = Row(TopicPartition("t", 0), 7).ending_at(9), Row(TopicPartition("t", 1), None)
    assert stand(known, unknown).lag_records is None
    unknown.selected = False
    assert stand(known, unknown).lag_records == 2


def test_who_is_blocked_and_where_all_are_has_a_version() -> None:
    row = Row(TopicPartition("t", 0), 7).ending_at(9)
    before = stand(row)
    row.position = 8
    moved = stand(row)
    row.blocked = Reason("a", "why", since=20)
    blocked = stand(row)
    assert len({before.version, moved.version}) == 2 and moved.blocked_version != blocked.blocked_version
    assert (moved.blocked, blocked.blocked) == ([], [row.blocked])


def test_rows_are_made_when_they_are_read() -> None:
    made: list[int] = []

    def row(number: int) -> PartitionProgress:
        made.append(number)
        return PartitionProgress("t", number, "", PartitionState.IDLE, None, None, None, None, None)

    rows = LazyRows(range(5000), row)
    assert len(rows) == 5000 and made == []
    assert [found.partition for found in rows[10:12]] == [10, 11] and rows[4999].partition == 4999
    assert made == [10, 11, 4999]


def test_lag_in_time_is_since_the_end_was_first_seen_beyond_the_position() -> None:
    ends = EndsSeen()
    assert ends.lag(0) is None
    for second in range(200):
        ends.saw(second * 10, 0, second * 1000)
    assert ends.lag(None) is None and ends.lag(500) == 1490
    assert 90_000 <= ends.lag_ms(1000, 199_000) <= 99_000
    ends.durable(1990)
    assert ends.lag_ms(1990, 200_000) == 0
