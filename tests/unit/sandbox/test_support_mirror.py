"""The comparison that tests of replications rely on must not be able to miss."""

from __future__ import annotations

from dataclasses import replace

from tests.support.mirror import compare
from tests.support.records import Record


def record(number: int, **changes: object) -> Record:
    values = {"key": b"k", "value": b"%d" % number, "headers": (("h", b"1"),), "timestamp_ms": 1000 + number, **changes}
    return Record(partition=0, offset=number, **values)  # type: ignore[arg-type]


SOURCE = [record(number) for number in range(4)]


def test_same_records_at_other_offsets_are_equal() -> None:
    assert list(compare(SOURCE, [replace(record, offset=record.offset * 2 + 7) for record in SOURCE])) == []


def test_every_kind_of_change_is_told_with_its_place() -> None:
    for change in ({"key": None}, {"value": b"x"}, {"value": None}, {"headers": ()}, {"timestamp_ms": 0}):
        copied = [*SOURCE[:2], record(2, **change), SOURCE[3]]
        (told,) = compare(SOURCE, copied)
        assert "record 2 (offset 2 of the source, 2 of the target) differs" in told


def test_lost_doubled_and_exchanged_records_are_told() -> None:
    lost = list(compare(SOURCE, SOURCE[:3]))
    assert (
        lost[0] == "4 records in the source, 3 in the target"
        and "record 3 of the source (offset 3) is not in the target" in lost[1]
    )
    doubled = list(compare(SOURCE, [*SOURCE, SOURCE[3]]))
    assert "record 4 of the target (offset 3) is one too many" in doubled[1]
    assert len(list(compare(SOURCE, [SOURCE[1], SOURCE[0], *SOURCE[2:]]))) == 2


def test_headers_of_ours_are_ignored_if_asked() -> None:
    copied = [replace(record, headers=(*record.headers, ("__sc_provenance", b"{}"))) for record in SOURCE]
    assert list(compare(SOURCE, copied, ["__sc_provenance"])) == []
    assert len(list(compare(SOURCE, copied))) == 4
