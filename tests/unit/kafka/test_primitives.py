"""Varints, compact strings and tags: round trips, and nothing but MalformedData for what is broken."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.domain.errors import MalformedData
from smartconnect.kafka.primitives import compact_string, put_varint, skip_tags, take_text, take_varint


@given(st.integers(0, 2**32 - 1))
def test_varint_round_trip(value: int) -> None:
    out = bytearray()
    put_varint(out, value)
    assert take_varint(memoryview(out), 0) == (value, len(out))


@pytest.mark.parametrize("raw", [b"", b"\x80", b"\xff\xff\xff\xff\xff", b"\xff\xff\xff\xff\x1f", b"\x80" * 9])
def test_varint_that_is_cut_or_too_long_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedData):
        take_varint(memoryview(raw), 0)


@given(st.text(max_size=300))
def test_compact_string_round_trip(text: str) -> None:
    raw = memoryview(compact_string(text))
    length, at = take_varint(raw, 0)
    assert take_text(raw, at, length - 1) == (text, len(raw))


@given(st.lists(st.tuples(st.integers(0, 1000), st.binary(max_size=200)), max_size=5), st.binary(max_size=5))
def test_tags_are_skipped(tags: list[tuple[int, bytes]], behind: bytes) -> None:
    out = bytearray()
    put_varint(out, len(tags))
    for tag, content in tags:
        put_varint(out, tag)
        put_varint(out, len(content))
        out += content
    assert skip_tags(memoryview(bytes(out) + behind), 0) == len(out)


@given(st.binary(max_size=60))
def test_random_tags_end_within_the_bytes_or_are_refused(raw: bytes) -> None:
    with contextlib.suppress(MalformedData):
        assert 0 < skip_tags(memoryview(raw), 0) <= len(raw)
