"""Gaps and overlaps of one partition's objects."""

from __future__ import annotations

from smartconnect.domain.verification import FindingKind
from smartconnect.jobs.obs_dump.verify.catalog import Catalog, Stored
from smartconnect.jobs.obs_dump.verify.ranges import Expected, Walk, resolved
from smartconnect.kafka.types import TopicPartition

TP = TopicPartition("orders", 3)


def stored(start: int, end: int | None, key: str = "") -> Stored:
    return Stored(TP, 1, start, end, None, key or f"o+{start}", 10)


def found(objects: list[Stored], expected: Expected) -> list[tuple[FindingKind, int | None, int | None]]:
    walk = Walk(TP, 1, expected)
    findings = [finding for covered in resolved(objects, expected.reach) for finding in walk.step(covered)]
    findings += walk.finish()
    return [(finding.kind, finding.start, finding.end) for finding in findings]


def test_ranges_that_touch_from_start_to_position_are_right() -> None:
    assert found([stored(5, 9), stored(9, 20), stored(20, 21)], Expected(5, 21)) == []


def test_a_missing_first_middle_and_last_object_is_a_gap() -> None:
    gap = FindingKind.GAP
    assert found([stored(9, 20)], Expected(5, 20)) == [(gap, 5, 9)]
    assert found([stored(5, 9), stored(12, 20)], Expected(5, 20)) == [(gap, 9, 12)]
    assert found([stored(5, 9)], Expected(5, 20)) == [(gap, 9, 20)]
    assert found([], Expected(5, 20)) == [(gap, 5, 20)]


def test_where_the_end_is_not_told_the_next_start_stands_for_it() -> None:
    assert found([stored(5, None), stored(9, None), stored(12, 20)], Expected(5, 20)) == []
    assert found([stored(5, 9), stored(9, None)], Expected(5, 30)) == []


def test_an_object_in_another_ones_range_overlaps() -> None:
    overlap = FindingKind.OVERLAP
    assert found([stored(5, 9), stored(5, 9, "again")], Expected(5, 9)) == [(overlap, 5, 9)]
    assert found([stored(5, 9), stored(7, 12)], Expected(5, 12)) == [(overlap, 7, 9)]
    assert found([stored(5, None, "a"), stored(5, None, "b"), stored(9, 12)], Expected(5, 12)) == [(overlap, 5, 9)]


def test_what_is_promised_is_no_gap() -> None:
    assert found([stored(5, 9)], Expected(5, 20, [(9, 14), (14, 20)])) == []
    assert found([stored(5, 9)], Expected(5, 20, [(12, 14)])) == [(FindingKind.GAP, 9, 12), (FindingKind.GAP, 14, 20)]


def test_beyond_the_position_objects_may_still_be_on_their_way() -> None:
    assert found([stored(5, 9), stored(15, 20)], Expected(5, 9)) == []


def test_without_a_known_start_the_first_object_is_the_start() -> None:
    assert found([stored(9, 20)], Expected(None, 20)) == []
    assert found([], Expected(None, 20)) == []


def test_the_catalog_sorts_what_a_listing_gives_by_time() -> None:
    with Catalog() as catalog:
        for item in (stored(9, 20), stored(0, 9), stored(9, 20)):
            catalog.add(item)
        assert catalog.series() == [(TP, 1)]
        assert [item.start for item in catalog.of(TP, 1)] == [0, 9]
        assert catalog.has("o+9")
        assert not catalog.has("o+1")
