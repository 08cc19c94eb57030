"""Where two lists of records differ, and where they go on alike (`jobs.kafka_replication.verify.diff`)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.jobs.kafka_replication.verify.compare import Difference
from smartconnect.jobs.kafka_replication.verify.diff import Found, first_difference, nearest
from smartconnect.jobs.kafka_replication.verify.verifier import in_words

RECORDS = list(range(1000, 1100))


def found(left: list[int], right: list[int]) -> Found | None:
    """Both lists are whole."""
    return first_difference(left, right, left_ends=True, right_ends=True)


@pytest.mark.parametrize("at", [0, 1, 50, 95, 99])
def test_one_record_changed_dropped_or_doubled_is_named(at: int) -> None:
    changed = [*RECORDS[:at], 7, *RECORDS[at + 1 :]]
    dropped = [*RECORDS[:at], *RECORDS[at + 1 :]]
    doubled = [*RECORDS[: at + 1], *RECORDS[at:]]
    assert found(RECORDS, changed) == Found(at, 1, 1)
    assert found(RECORDS, dropped) == Found(at, 1, 0)
    assert found(RECORDS, doubled) == Found(at + 1, 0, 1)


def test_equal_lists_and_parts_that_go_on_do_not_differ() -> None:
    assert found(RECORDS, RECORDS) is None
    assert found([], []) is None
    assert first_difference(RECORDS, RECORDS[:40], left_ends=True, right_ends=False) is None
    assert first_difference(RECORDS, RECORDS, left_ends=False, right_ends=False) is None
    assert found(RECORDS, RECORDS[:40]) == Found(40, 60, 0)
    assert found([], RECORDS) == Found(0, 0, 100)


def test_lists_that_never_become_alike_say_so() -> None:
    assert first_difference(RECORDS, list(range(100)), left_ends=False, right_ends=False) == Found(0, None, None)
    assert found(RECORDS[:20], list(range(30))) == Found(0, 20, 30), "both end, and ends are alike"


def test_a_stretch_of_others_is_told_as_one_difference() -> None:
    assert found(RECORDS, [*RECORDS[:10], 1, 2, 3, *RECORDS[30:]]) == Found(10, 20, 3)
    far = [*RECORDS[:10], 1, *RECORDS[11:60], 2, *RECORDS[61:]]
    assert found(RECORDS, far) == Found(10, 1, 1), "the next one is found when the comparison goes on"


@given(st.lists(st.integers(0, 3), max_size=60), st.lists(st.integers(0, 3), max_size=60))
def test_what_is_told_is_true(left: list[int], right: list[int]) -> None:
    """Going on behind each difference reads both lists to their ends, and what is left out on both sides is all that differs."""
    alike: list[tuple[list[int], list[int]]] = []
    one, other = left, right
    while (difference := found(one, other)) is not None:
        assert difference.missing is not None and difference.extra is not None, "whole lists have ends in common"
        assert difference.missing + difference.extra > 0
        alike.append((one[: difference.at], other[: difference.at]))
        one, other = one[difference.at + difference.missing :], other[difference.at + difference.extra :]
    alike.append((one, other))
    assert all(ours == theirs for ours, theirs in alike)


def test_the_nearest_place_is_taken() -> None:
    hay = [1, 2, 3, 1, 2, 3, 1, 2, 3]
    assert [nearest([1, 2], hay, expected) for expected in (0, 2, 4, 9)] == [0, 3, 3, 6]
    assert nearest([3, 2], hay, 0) is None
    assert nearest([], hay, 0) is None
    assert nearest([1, 2, 3, 4], [1, 2, 3], 0) is None


def test_differences_are_told_in_words_that_say_what_is_wrong() -> None:
    told = [in_words(Difference(5, 9, *counts)) for counts in ((1, 0), (3, 0), (0, 2), (1, 1), (None, None))]
    assert all(text.startswith("differs at source offset 5 / target offset 9") for text in told)
    assert all(one != other for one, other in pairwise(told))
    assert told[0].endswith(": 1 record is not on the target")
    assert told[2].endswith(": the target has 2 more there than the source")
