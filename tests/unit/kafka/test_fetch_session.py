"""What a Fetch request names: everything for few partitions, only changes for many, never a flood of new sessions."""

from __future__ import annotations

import itertools

from smartconnect.kafka.fetch_session import FINAL_EPOCH, FIRST_EPOCH, LONGEST_PAUSE_S, FetchSession, Listing
from smartconnect.kafka.partition import PartitionState
from smartconnect.kafka.types import TopicPartition


def states(count: int, topic: str = "t") -> list[PartitionState]:
    return [PartitionState(TopicPartition(topic, number), 0, -1) for number in range(count)]


def session_of(members: list[PartitionState], above: int) -> FetchSession:
    session = FetchSession(above)
    for state in members:
        session.add(state)
    return session


def named(listing: Listing) -> list[tuple[str, int]]:
    return [(topic, wanted.partition) for topic, entries in listing.wanted for wanted in entries]


def test_few_partitions_are_all_named_each_time_without_a_session() -> None:
    session = session_of(states(3), above=5)
    for _ in range(3):
        listing = session.next_listing(100, now=0.0)
        assert (listing.session_id, listing.session_epoch) == (0, FINAL_EPOCH)
        assert sorted(named(listing)) == [("t", 0), ("t", 1), ("t", 2)]
        session.answered(0, now=0.0)


def test_many_partitions_open_a_session_and_then_only_changes_are_named() -> None:
    members = states(10)
    session = session_of(members, above=5)
    listing = session.next_listing(100, now=0.0)
    assert (listing.session_epoch, len(named(listing))) == (FIRST_EPOCH, 10)
    session.answered(77, now=0.0)
    listing = session.next_listing(100, now=0.0)
    assert listing == Listing(77, 1, [], {})
    session.answered(77, now=0.0)
    members[4].offset = 50
    session.changed(members[4])
    session.remove(members[7])
    listing = session.next_listing(100, now=0.0)
    assert (listing.session_epoch, named(listing), listing.forgotten) == (2, [("t", 4)], {"t": [7]})
    assert listing.wanted[0][1][0].offset == 50


def test_a_partition_that_rests_and_returns_is_named_again() -> None:
    members = states(10)
    session = session_of(members, above=5)
    session.next_listing(100, now=0.0)
    session.answered(77, now=0.0)
    session.remove(members[3])
    session.add(members[3])
    listing = session.next_listing(100, now=0.0)
    assert (named(listing), listing.forgotten) == ([("t", 3)], {})


def test_what_changes_while_a_request_is_on_its_way_belongs_to_the_next() -> None:
    members = states(10)
    session = session_of(members, above=5)
    session.next_listing(100, now=0.0)
    session.changed(members[1])
    session.answered(77, now=0.0)
    assert named(session.next_listing(100, now=0.0)) == [("t", 1)]


def test_lost_session_is_not_opened_again_at_once_and_ever_more_slowly() -> None:
    session = session_of(states(10), above=5)
    now, opened = 0.0, []
    while now < 2000.0:
        listing = session.next_listing(100, now)
        assert len(named(listing)) == 10
        if listing.session_epoch == FIRST_EPOCH:
            opened.append(now)
            session.answered(1, now)
            session.next_listing(100, now)
            session.refused(now)
        else:
            session.answered(0, now)
        now += 1.0
    pauses = [later - earlier for earlier, later in itertools.pairwise(opened)]
    assert pauses[0] >= 10 and pauses[-1] >= LONGEST_PAUSE_S and pauses == sorted(pauses)


def test_broker_without_room_is_taken_at_its_word() -> None:
    session = session_of(states(10), above=5)
    assert session.next_listing(100, now=0.0).session_epoch == FIRST_EPOCH
    session.answered(0, now=0.0)
    assert session.next_listing(100, now=1.0).session_epoch == FINAL_EPOCH


def test_after_a_lost_connection_the_old_session_is_replaced() -> None:
    session = session_of(states(10), above=5)
    session.next_listing(100, now=0.0)
    session.answered(77, now=0.0)
    session.next_listing(100, now=0.0)
    session.disconnected()
    listing = session.next_listing(100, now=0.0)
    assert (listing.session_id, listing.session_epoch, len(named(listing))) == (77, FIRST_EPOCH, 10)


def test_when_few_are_left_the_session_is_closed() -> None:
    members = states(10)
    session = session_of(members, above=5)
    session.next_listing(100, now=0.0)
    session.answered(77, now=0.0)
    for state in members[2:]:
        session.remove(state)
    listing = session.next_listing(100, now=0.0)
    assert (listing.session_id, listing.session_epoch, len(named(listing))) == (77, FINAL_EPOCH, 2)
    session.answered(0, now=0.0)
    assert session.next_listing(100, now=0.0).session_id == 0


def test_partition_that_delivered_goes_to_the_end_of_the_line() -> None:
    members = states(3)
    session = session_of(members, above=5)
    session.next_listing(100, now=0.0)
    session.changed(members[0])
    assert named(session.next_listing(100, now=0.0)) == [("t", 1), ("t", 2), ("t", 0)]


def test_topics_take_turns_at_the_front() -> None:
    session = session_of(states(1, "a") + states(1, "b") + states(1, "c"), above=5)
    fronts = [session.next_listing(100, now=0.0).wanted[0][0] for _ in range(4)]
    assert fronts == ["a", "b", "c", "a"]
