"""Object names: time zones, formats, daylight saving, and recognising our own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from smartconnect.jobs.obs_dump.naming import ObjectNames, ParsedName, nth_name, parse_key

MOMENT = datetime(2026, 1, 1, 19, 4, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("time_format", "directory"),
    [("", ""), ("yyyy", "2026"), ("yyyy/MM", "2026/01"), ("yyyy/MM/dd", "2026/01/02"), ("yyyy/MM/dd/HH/mm", "2026/01/02/03/04")],
)
def test_the_directory_is_wall_clock_time_in_the_tasks_zone(time_format: str, directory: str) -> None:
    assert ObjectNames("dump", time_format, "Asia/Chongqing").time_dir(MOMENT) == directory


def test_the_name_is_the_documented_one() -> None:
    names = ObjectNames("dump", "yyyy/MM/dd/HH/mm", "Asia/Chongqing")
    assert names.key("orders", 0, 4, names.time_dir(MOMENT)) == "dump/orders/2026/01/02/03/04/orders+0+0000000004"


def test_empty_parts_are_left_out_and_long_offsets_grow() -> None:
    assert ObjectNames("", "", "UTC").key("orders", 7, 12_345_678_901, "") == "orders/orders+7+12345678901"


@pytest.mark.parametrize(("month", "day"), [(3, 8), (11, 1)])
def test_both_daylight_saving_days_name_every_minute_and_never_fail(month: int, day: int) -> None:
    names = ObjectNames("", "yyyy/MM/dd/HH/mm", "America/New_York")
    start = datetime(2026, month, day, 4, tzinfo=UTC)
    seen = [names.time_dir((start + timedelta(minutes=m)).timestamp()) for m in range(0, 26 * 60, 7)]
    hours = {directory.split("/")[3] for directory in seen if directory.startswith(f"2026/{month:02}/{day:02}")}
    assert ("02" in hours) == (month == 11)


@pytest.mark.parametrize("key_tail", ["2026/01/02/03/04/orders+3+0000000004", "orders+3+0000000004", "orders+3+0000000004+2"])
def test_our_names_are_recognised(key_tail: str) -> None:
    assert parse_key("dump/orders/" + key_tail, "dump/orders/") == ParsedName("orders", 3, 4)


@pytest.mark.parametrize(
    "key",
    [
        "dump/orders/readme",
        "dump/orders/orders+3+4",
        "other/orders/orders+3+0000000004",
        "dump/orders/a/b/orders+3+0000000004",
        "dump/orders/orders+3+0000000004+1",
        "dump/orders/orders+3+0000000004.gz",
    ],
)
def test_foreign_names_are_not(key: str) -> None:
    assert parse_key(key, "dump/orders/") is None


def test_taken_names_are_numbered_from_two() -> None:
    assert [nth_name("k", number) for number in (1, 2, 3)] == ["k", "k+2", "k+3"]
