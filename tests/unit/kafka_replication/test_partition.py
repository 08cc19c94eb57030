"""What a unit knows of a partition: sequences, holds, skipping and rewinding."""

from __future__ import annotations

import pytest

from smartconnect.domain.task import Reason
from smartconnect.jobs.kafka_replication.offset_map import OffsetMap
from smartconnect.jobs.kafka_replication.partition import SEQUENCES, Flight, Hold, Jump, Lane, Partition
from smartconnect.jobs.kafka_replication.position_codec import MapRun, StoredPosition
from smartconnect.jobs.kafka_replication.topic_view import Link
from smartconnect.kafka.types import TopicPartition

SOURCE, TARGET = TopicPartition("orders", 0), TopicPartition("a.orders", 0)


def partition(read: int = 0) -> Partition:
    return Partition(Link(SOURCE, TARGET, None, None), Lane(TARGET), read=read, acked=read)


def fly(of: Partition, first: int, count: int) -> Flight:
    """A batch on its way."""
    (sequence,) = of.lane.take_sequences([count])
    flight = Flight(b"", of.lane, sequence, count, 100, partition=of, first=first, next=first + count)
    of.flights.append(flight)
    of.nbytes_in_air += flight.nbytes
    of.read = flight.next
    return flight


def test_sequences_follow_each_other_and_wrap_to_zero() -> None:
    lane = Lane(TARGET)
    assert (lane.take_sequences([5, 3]), lane.sequence) == ([0, 5], 8)
    lane.sequence = SEQUENCES - 2
    assert (lane.take_sequences([2]), lane.sequence) == ([SEQUENCES - 2], 0)
    lane.sequence = SEQUENCES - 2
    assert (lane.take_sequences([5, 4]), lane.sequence) == ([SEQUENCES - 2, 3], 7)


def test_bytes_are_given_back_once_when_the_last_flight_has_ended() -> None:
    released: list[str] = []
    hold = Hold(lambda: released.append("released"))
    hold.keep(2)
    hold.drop()
    hold.drop()
    assert released == []
    hold.drop()
    assert released == ["released"]


def test_what_is_skipped_with_nothing_on_its_way_needs_no_copying() -> None:
    subject = partition(10)
    subject.skip_to(25)
    assert (subject.read, subject.acked) == (25, 25)


def test_what_is_skipped_behind_a_flight_counts_when_that_has_landed() -> None:
    subject = partition(10)
    fly(subject, 10, 5)
    last = fly(subject, 15, 5)
    subject.skip_to(25)
    assert (subject.read, subject.acked, last.next) == (25, 10, 25)


def test_rewinding_looks_again_at_all_that_is_not_on_the_target() -> None:
    subject = partition(10)
    fly(subject, 10, 5)
    fly(subject, 15, 5)
    subject.acked = 15
    subject.rewind()
    assert (subject.read, subject.acked, subject.nbytes_in_air, len(subject.flights)) == (15, 15, 0, 0)


def test_what_lands_while_it_is_blocked_is_no_sign_that_the_cause_is_gone() -> None:
    """It was on its way when the source began to refuse what comes next."""
    subject = partition(10)
    first, second = fly(subject, 10, 5), fly(subject, 15, 5)
    subject.blocked, subject.told, subject.retries = Reason("permission_missing", "grant READ", since=0), "permission_missing", 1
    subject.landed_on_target(subject.flights.popleft(), 0)
    assert (subject.acked, subject.told, subject.retries) == (first.next, "permission_missing", 1)
    subject.blocked = None
    subject.landed_on_target(subject.flights.popleft(), 5)
    assert (subject.acked, subject.told, subject.retries) == (second.next, None, 0)


def test_rolling_back_looks_again_at_all_that_is_not_committed() -> None:
    """Committed to 20; two batches landed since, one of them behind a gap, and one is on its way."""
    released: list[str] = []
    subject = partition(20)
    subject.position, subject.gaps, subject.gaps_committed = 20, 1, 0
    subject.stored = StoredPosition(1, None, 20, 7, None, 120, 0)
    subject.map = OffsetMap(20, 120, [MapRun(0, 100, 20)])
    fly(subject, 20, 5)
    subject.landed_on_target(subject.flights.popleft(), 120)
    subject.gaps_passed = 1
    subject.read = 50
    fly(subject, 50, 5)
    subject.landed_on_target(subject.flights.popleft(), 125)
    fly(subject, 55, 5).hold = Hold(lambda: released.append("released"))
    subject.lane.admitted = subject.lane.mending = True
    assert (subject.acked, subject.map.translate(24), subject.map.translate(50)) == (55, 124, 125)

    assert subject.roll_back()
    subject.rewind()
    assert (subject.read, subject.acked, subject.leader_epoch, subject.target_next) == (20, 20, 7, 120)
    assert (len(subject.flights), subject.nbytes_in_air, subject.gaps_passed, released) == (0, 0, 0, ["released"])
    assert (subject.lane.sequence, subject.lane.admitted, subject.lane.mending) == (0, False, False)
    assert (subject.map.translate(19), subject.map.next_source, subject.map.newest()) == (119, 20, (MapRun(0, 100, 20),))


def test_rolling_back_leaves_a_partition_alone_of_which_nothing_is_open() -> None:
    """What it has only skipped needs no second look; its sequence numbers begin anew with the producer's epoch."""
    subject = partition(20)
    subject.position, subject.lane.sequence = 20, 9
    subject.skip_to(30)
    assert not subject.roll_back()
    assert (subject.read, subject.acked, subject.rewinds, subject.lane.sequence) == (30, 30, 0, 0)


@pytest.mark.parametrize(("acked", "gaps_passed", "stored"), [(20, 0, True), (30, 0, False), (15, 1, False), (20, 1, False)])
def test_what_was_skipped_or_jumped_over_is_to_be_stored_also_after_an_abort(acked: int, gaps_passed: int, stored: bool) -> None:
    """The target holds 20. A jump back makes 15 the position to go on from, and one to another topic may lead to the same offset."""
    subject = partition(20)
    subject.stored = StoredPosition(1, None, 20, 7, None, 120, 0)
    subject.acked, subject.gaps_passed, subject.position = acked, gaps_passed, min(20, acked)
    assert not subject.roll_back()
    assert subject.is_stored is stored


def test_nothing_is_to_be_stored_of_a_partition_at_its_start() -> None:
    subject = partition(20)
    subject.start_offset = 20
    assert subject.is_stored


def test_the_next_owner_is_to_expect_what_will_be_committed_and_what_was_reported() -> None:
    subject = partition(10)
    assert subject.expected is None
    subject.position = 10
    subject.jump = Jump(7)
    assert subject.expected == 7
    subject.jump = Jump(12)
    assert subject.expected == 10
    subject.jump = Jump(None, forgets_position=True)
    assert subject.expected == 10
    subject.missing = 15
    assert subject.expected == 15


def test_a_blocked_or_jumping_or_vanished_partition_is_not_fetched() -> None:
    assert partition().wants_fetch
    blocked, jumping, vanished = partition(), partition(), partition()
    blocked.blocked = Reason("gap", "there is one", since=0)
    jumping.jump = Jump(7)
    vanished.selected = False
    assert not (blocked.wants_fetch or jumping.wants_fetch or vanished.wants_fetch)
