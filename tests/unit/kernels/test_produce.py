"""Compiled and Python loops of Produce requests and answers do the same on whatever bytes; both against the meaning."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.kernels.conftest import compiled_module

from smartconnect.kernels import twin_produce

COMPILED: Any = compiled_module()
NUMBERS = st.integers(0, 3) | st.integers(-(2**33), 2**33)
SIZES = st.sampled_from([0, 1, 126, 127, 128, 16_382, 16_383, 16_384, 2_097_150, 2_097_151])
QUIET = b"\0\0\0\x07" + b"\0\0" + (5).to_bytes(8, "big") + b"\xff" * 8 + bytes(8) + b"\1\0\0"


def outcome(call: Any, *arguments: Any) -> Any:
    """What it returns, or the type of its error."""
    try:
        return call(*arguments)
    except (OverflowError, ValueError) as error:
        return type(error)


@given(st.binary(max_size=9), st.lists(st.tuples(NUMBERS, SIZES.map(bytes)), max_size=4))
def test_requests_are_the_same(head: bytes, batches: list[tuple[int, bytes]]) -> None:
    told: list[Any] = []
    for put_batches in (COMPILED.put_batches, twin_produce.put_batches):
        parts: list[Any] = []
        told.append((outcome(put_batches, parts, head, batches), parts))
    assert told[0] == told[1]


@given(st.lists(st.just(QUIET) | st.binary(min_size=1, max_size=40), max_size=5), st.integers(-1, 40), st.integers(-1, 6))
def test_answers_are_the_same(pieces: list[bytes], at: int, count: int) -> None:
    body = memoryview(b"".join(pieces))
    asked = (body, at, count)
    assert outcome(COMPILED.quiet_answers, *asked) == outcome(twin_produce.quiet_answers, *asked)


@pytest.mark.parametrize("kernel", [COMPILED, twin_produce])
def test_only_answers_that_say_nothing_but_stored_are_taken(kernel: Any) -> None:
    refused = QUIET[:4] + b"\0\x06" + QUIET[6:]
    assert kernel.quiet_answers(memoryview(QUIET * 3 + refused + QUIET), 0, 5) == ([(7, 5)] * 3, 3 * len(QUIET))
    assert kernel.quiet_answers(memoryview(QUIET * 3), 0, 2) == ([(7, 5)] * 2, 2 * len(QUIET))
    assert kernel.quiet_answers(memoryview(QUIET)[:-1], 0, 1) == ([], 0)


@pytest.mark.parametrize("kernel", [COMPILED, twin_produce])
def test_a_batch_is_named_measured_and_not_copied(kernel: Any) -> None:
    parts: list[Any] = []
    batch = bytearray(300)
    assert kernel.put_batches(parts, b"head", [(1, batch), (2, batch)]) == b"\0"
    assert parts == [b"head\0\0\0\1\xad\2", batch, b"\0\0\0\0\2\xad\2", batch]
    assert parts[1] is batch
    assert kernel.put_batches([], b"head", []) == b"head"
