"""One offset of one group: forwards, backwards only with the source, never an echo (kafka-replication.md §7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.jobs.kafka_replication.group_rules import Sighting, after_commit, decide, while_active
from smartconnect.jobs.kafka_replication.position_codec import GroupMark

_offsets = st.integers(0, 6)


@pytest.mark.parametrize(
    ("seen", "known", "write"),
    [
        (Sighting(10, None, 15), None, 15),
        (Sighting(10, 12, 15), None, 15),
        (Sighting(10, 15, 15), None, None),
        (Sighting(10, 20, 15), None, None),
        (Sighting(10, 20, 15), GroupMark(10, 15, False), None),
        (Sighting(10, 20, 15), GroupMark(9, 14, False), None),
        (Sighting(10, 20, 15), GroupMark(11, 20, False), 15),
        (Sighting(10, 20, 15), GroupMark(10, 15, True), 15),
        (Sighting(10, 15, 15), GroupMark(11, 20, False), None),
        (Sighting(10, None, 15, echo=10), None, None),
        (Sighting(10, 12, 15, echo=9), None, 15),
        (Sighting(10, 20, 15, echo=10), GroupMark(11, 20, False), None),
    ],
)
def test_what_is_written(seen: Sighting, known: GroupMark | None, write: int | None) -> None:
    assert decide(seen, known).write == write


def test_a_step_back_is_remembered_until_it_is_done() -> None:
    decision = decide(Sighting(10, 20, 15), GroupMark(11, 20, False))
    assert decision.mark == GroupMark(10, 15, True)
    again = decide(Sighting(10, 20, 15), decision.mark)
    assert again == decision, "after a crash between remembering and committing"
    done = after_commit(decision.mark)
    assert done == GroupMark(10, 15, False)
    assert decide(Sighting(10, 18, 15), done).write is None, "consumers that went on over there stay where they are"


def test_a_group_with_consumers_there_is_not_sent_back_later() -> None:
    decision = decide(Sighting(10, 20, 15), GroupMark(11, 20, False))
    mark = while_active(decision, GroupMark(11, 20, False))
    assert mark == GroupMark(10, 20, False)
    assert decide(Sighting(10, 30, 15), mark).write is None


@given(st.lists(st.tuples(_offsets, st.none() | _offsets, st.none() | _offsets), max_size=20))
def test_backwards_only_where_the_source_went_back(looks: list[tuple[int, int | None, int | None]]) -> None:
    known, highest = None, -1
    for offset, current, echo in looks:
        decision = decide(Sighting(offset, current, offset + 100 if current is None else offset, echo), known)
        if decision.write is not None and current is not None and decision.write < current:
            assert known is not None and offset < highest
        if decision.write is not None:
            assert offset != echo and decision.mark.written == decision.write
        highest = max(highest, offset)
        known = after_commit(decision.mark)
