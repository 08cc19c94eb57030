from __future__ import annotations

import asyncio

import pytest

from tests.support.waiting import eventually


async def test_value_of_a_plain_or_async_condition_is_given() -> None:
    answers = iter([0, None, 5])
    assert await eventually(lambda: next(answers), 5) == 5
    assert await eventually(lambda: asyncio.sleep(0, "there"), 5) == "there"


async def test_deadline_tells_what_was_waited_for_and_the_last_state() -> None:
    with pytest.raises(AssertionError, match=r"in vain for three objects; the last state was: \[\]"):
        await eventually(list, 0.05, what="three objects")


async def test_assertion_in_the_condition_means_not_yet() -> None:
    answers = iter([1, 2, 3])

    def condition() -> bool:
        seen = next(answers)
        assert seen == 3, f"seen {seen}"
        return True

    assert await eventually(condition, 5)
    with pytest.raises(AssertionError, match="the last assertion was: never"):
        await eventually(_fail, 0.05)


def _fail() -> bool:
    raise AssertionError("never")
