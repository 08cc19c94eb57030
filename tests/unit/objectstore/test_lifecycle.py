"""Which lifecycle rules can abort a prepared upload."""

from __future__ import annotations

from typing import Any

import pytest

from smartconnect.objectstore.lifecycle import smallest_abort_days


def rule(days: int, *, status: str = "Enabled", **where: Any) -> dict[str, Any]:
    return {"Status": status, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days}, **where}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], None),
        ([{"Status": "Enabled", "Expiration": {"Days": 1}}], None),
        ([rule(7)], 7),
        ([rule(7), rule(3)], 3),
        ([rule(1, status="Disabled"), rule(3)], 3),
        ([rule(1, Prefix="dump/")], 1),
        ([rule(1, Filter={"Prefix": "dump/orders/"})], 1),
        ([rule(1, Filter={"And": {"Prefix": "du"}})], 1),
        ([rule(1, Prefix="logs/"), rule(9, Filter={})], 9),
        ([rule(1, Prefix="logs/")], None),
    ],
)
def test_smallest_days_of_the_rules_that_touch_the_prefix(rules: list[dict[str, Any]], expected: int | None) -> None:
    assert smallest_abort_days(rules, "dump/") == expected
