"""The arithmetic of waiting: grows, is capped, is spread, never ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.domain.backoff import Backoff


def test_ceiling_doubles_from_the_first_wait_to_the_cap() -> None:
    backoff = Backoff(first_s=0.2, cap_s=30.0)
    assert [backoff.ceiling(n) for n in (0, 1, 2, 7, 8, 100)] == [0.2, 0.4, 0.8, 25.6, 30.0, 30.0]


def test_a_million_failures_wait_as_long_as_the_cap_says() -> None:
    assert Backoff().delay(1_000_000, lambda: 0.5) == 15.0


def test_delay_is_the_floor_when_random_is_zero() -> None:
    assert Backoff(first_s=0.02, cap_s=1.0, floor_s=0.02).delay(9, lambda: 0.0) == 0.02


@given(st.integers(0, 200), st.floats(0, 1, exclude_max=True), st.floats(0.001, 1), st.floats(1, 100))
def test_delay_lies_between_floor_and_ceiling(failures: int, draw: float, first_s: float, cap_s: float) -> None:
    backoff = Backoff(first_s=first_s, cap_s=cap_s, floor_s=first_s / 2)
    assert first_s / 2 <= backoff.delay(failures, lambda: draw) <= backoff.ceiling(failures) <= cap_s


@pytest.mark.parametrize("wrong", [{"first_s": 2.0, "cap_s": 1.0}, {"floor_s": 1.0}, {"floor_s": -0.1}])
def test_senseless_limits_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="floor_s"):
        Backoff(**wrong)
