"""What a Fetch request names: everything for few partitions, only changes for many, never a flood of new sessions; by id where it can."""

from __future__ import annotations

import itertools

import pytest

from smartconnect.kafka.fetch_codec import TopicRef
from smartconnect.kafka.fetch_session import FINAL_EPOCH, FIRST_EPOCH, LONGEST_PAUSE_S, FetchSession, Listing
from smartconnect.kafka.partition import PartitionState
from smartconnect.kafka.types import TopicPartition

OLD, NEW = TopicRef("t", b"o" * 16), TopicRef("t", b"n" * 16)


def states(count: int, topic: str = "t", ref: TopicRef | None = None) -> list[PartitionState]:
    made = [PartitionState(TopicPartition(topic, number), 0, -1) for number in range(count)]
    for state in made:
        state.ref = ref or TopicRef(topic)
    return made


def session_of(members: list[PartitionState], above: int) -> FetchSession:
    session = FetchSession(above)
    for state in members:
        session.add(state)
    return session


def asked(session: FetchSession, now: float = 0.0, *, takes_ids: bool = False) -> Listing:
    return session.next_listing(100, now, takes_ids=takes_ids)


def opened(members: list[PartitionState], *, takes_ids: bool = True) -> FetchSession:
    """A session that the broker holds, with all of them in it."""
    session = session_of(members, above=5)
    assert asked(session, takes_ids=takes_ids).session_epoch == FIRST_EPOCH
    session.answered(77, now=0.0)
    return session


def named(listing: Listing) -> list[tuple[str, int]]:
    return [(ref.name, wanted.partition) for ref, entries in listing.wanted for wanted in entries]


def test_few_partitions_are_all_named_each_time_without_a_session() -> None:
    session = session_of(states(3), above=5)
    for _ in range(3):
        listing = asked(session)
        assert (listing.session_id, listing.session_epoch) == (0, FINAL_EPOCH)
        assert sorted(named(listing)) == [("t", 0), ("t", 1), ("t", 2)]
        session.answered(0, now=0.0)


def test_many_partitions_open_a_session_and_then_only_changes_are_named() -> None:
    members = states(10)
    session = session_of(members, above=5)
    listing = asked(session)
    assert (listing.session_epoch, len(named(listing))) == (FIRST_EPOCH, 10)
    session.answered(77, now=0.0)
    listing = asked(session)
    assert listing == Listing(77, 1, [], {}, by_id=False)
    session.answered(77, now=0.0)
    members[4].offset = 50
    session.changed(members[4])
    session.remove(members[7])
    listing = asked(session)
    assert (listing.session_epoch, named(listing), listing.forgotten) == (2, [("t", 4)], {TopicRef("t"): [7]})
    assert listing.wanted[0][1][0].offset == 50


def test_a_partition_that_rests_and_returns_is_named_again() -> None:
    members = states(10)
    session = session_of(members, above=5)
    asked(session)
    session.answered(77, now=0.0)
    session.remove(members[3])
    session.add(members[3])
    listing = asked(session)
    assert (named(listing), listing.forgotten) == ([("t", 3)], {})


def test_what_changes_while_a_request_is_on_its_way_belongs_to_the_next() -> None:
    members = states(10)
    session = session_of(members, above=5)
    asked(session)
    session.changed(members[1])
    session.answered(77, now=0.0)
    assert named(asked(session)) == [("t", 1)]


def test_lost_session_is_not_opened_again_at_once_and_ever_more_slowly() -> None:
    session = session_of(states(10), above=5)
    now, opened = 0.0, []
    while now < 2000.0:
        listing = asked(session, now)
        assert len(named(listing)) == 10
        if listing.session_epoch == FIRST_EPOCH:
            opened.append(now)
            session.answered(1, now)
            asked(session, now)
            session.refused(now)
        else:
            session.answered(0, now)
        now += 1.0
    pauses = [later - earlier for earlier, later in itertools.pairwise(opened)]
    assert pauses[0] >= 10 and pauses[-1] >= LONGEST_PAUSE_S and pauses == sorted(pauses)


def test_broker_without_room_is_taken_at_its_word() -> None:
    session = session_of(states(10), above=5)
    assert asked(session).session_epoch == FIRST_EPOCH
    session.answered(0, now=0.0)
    assert asked(session, 1.0).session_epoch == FINAL_EPOCH


def test_after_a_lost_connection_the_old_session_is_replaced() -> None:
    session = session_of(states(10), above=5)
    asked(session)
    session.answered(77, now=0.0)
    asked(session)
    session.disconnected()
    listing = asked(session)
    assert (listing.session_id, listing.session_epoch, len(named(listing))) == (77, FIRST_EPOCH, 10)


def test_when_few_are_left_the_session_is_closed() -> None:
    members = states(10)
    session = session_of(members, above=5)
    asked(session)
    session.answered(77, now=0.0)
    for state in members[2:]:
        session.remove(state)
    listing = asked(session)
    assert (listing.session_id, listing.session_epoch, len(named(listing))) == (77, FINAL_EPOCH, 2)
    session.answered(0, now=0.0)
    assert asked(session).session_id == 0


def test_partition_that_delivered_goes_to_the_end_of_the_line() -> None:
    members = states(3)
    session = session_of(members, above=5)
    asked(session)
    session.changed(members[0])
    assert named(asked(session)) == [("t", 1), ("t", 2), ("t", 0)]


def test_topics_take_turns_at_the_front() -> None:
    session = session_of(states(1, "a") + states(1, "b") + states(1, "c"), above=5)
    fronts = [asked(session).wanted[0][0].name for _ in range(4)]
    assert fronts == ["a", "b", "c", "a"]


def test_topics_are_named_by_their_ids_where_the_broker_takes_them_and_all_have_one() -> None:
    session = session_of(states(2, ref=OLD), above=5)
    assert not asked(session).by_id
    listing = asked(session, takes_ids=True)
    assert listing.by_id and [ref for ref, _ in listing.wanted] == [OLD]
    assert session.names == {OLD.topic_id: "t"}
    (other,) = states(1, "u")
    session.add(other)
    assert not asked(session, takes_ids=True).by_id
    session.remove(other)
    assert asked(session, takes_ids=True).by_id


def test_session_by_names_is_replaced_by_one_by_ids_and_back() -> None:
    session = opened(states(10, ref=OLD), takes_ids=False)
    listing = asked(session, takes_ids=True)
    assert (listing.session_id, listing.session_epoch, len(named(listing)), listing.by_id) == (77, FIRST_EPOCH, 10, True)
    session.answered(78, now=0.0)
    assert asked(session, takes_ids=True) == Listing(78, 1, [], {}, by_id=True)
    session.answered(78, now=0.0)
    session.add(states(1, "u")[0])
    listing = asked(session, takes_ids=True)
    assert (listing.session_id, listing.session_epoch, len(named(listing)), listing.by_id) == (78, FIRST_EPOCH, 11, False)


def test_topic_made_again_is_another_member_and_the_old_one_is_forgotten() -> None:
    members = states(10, ref=OLD)
    session = opened(members)
    (again,) = states(1, ref=NEW)
    session.remove(members[0])
    session.add(again)
    assert session.names == {OLD.topic_id: "t", NEW.topic_id: "t"}
    listing = asked(session, takes_ids=True)
    assert [ref for ref, _ in listing.wanted] == [NEW] and listing.forgotten == {OLD: [0]}
    session.answered(77, now=0.0)
    session.changed(again)
    session.changed(members[1])
    assert {ref for ref, _ in asked(session, takes_ids=True).wanted} == {OLD, NEW}


def test_names_of_ids_go_with_the_last_partition_but_not_before_the_next_request() -> None:
    members, others = states(6, ref=OLD), states(6, "u", TopicRef("u", b"u" * 16))
    session = opened([*members, *others])
    for state in members:
        session.remove(state)
    assert session.names[OLD.topic_id] == "t", "an answer on its way may hold it"
    asked(session, takes_ids=True)
    assert session.names == {b"u" * 16: "u"}


@pytest.mark.parametrize("takes_ids", [False, True], ids=["by names", "by ids"])
def test_partition_that_was_dropped_and_assigned_again_is_not_forgotten_by_the_broker(takes_ids: bool) -> None:
    members = states(10, ref=OLD)
    session = opened(members, takes_ids=takes_ids)
    (again,) = states(1, ref=OLD)
    session.remove(members[0])
    session.add(again)
    listing = asked(session, takes_ids=takes_ids)
    assert (named(listing), listing.forgotten) == ([("t", 0)], {})


def test_by_names_a_topic_made_again_takes_the_place_of_the_old_one() -> None:
    members = states(10, ref=OLD)
    session = opened(members, takes_ids=False)
    (again,) = states(1, ref=NEW)
    session.remove(members[0])
    session.add(again)
    listing = asked(session)
    assert (named(listing), listing.forgotten) == ([("t", 0)], {})
