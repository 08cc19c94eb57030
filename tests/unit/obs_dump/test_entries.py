"""The committed metadata: what is written is read back, what is not ours is refused, and four entries always fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.domain.errors import MalformedData
from smartconnect.jobs.obs_dump.entries import MAX_ENTRIES, NOTHING, Entry, Promise, decode, encode

_offsets = st.integers(0, 2**62)
_names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=80)
_entries = st.builds(
    lambda bucket, key, upload, parts, size, start, length: Entry(bucket, key, upload, parts, size, start, start + length),
    _names, _names, _names, st.integers(1, 10_000), _offsets, _offsets, st.integers(1, 10**9),
)  # fmt: skip


@given(st.builds(Promise, st.lists(_entries, max_size=MAX_ENTRIES).map(tuple), st.none() | _offsets))
def test_a_promise_is_read_back_as_it_was_written(promise: Promise) -> None:
    text = encode(promise)
    assert text.isascii()
    assert decode(text) == promise


def test_nothing_pending_is_told_from_what_a_tool_writes() -> None:
    assert encode(NOTHING) == '{"v":1}'
    assert decode("") == decode('{"v":1}') == NOTHING


@given(st.text(max_size=200))
def test_foreign_text_is_refused_and_never_crashes(text: str) -> None:
    try:
        decode(text)
    except MalformedData:
        return
    assert text == "" or '"v":1' in text.replace(" ", "")


@pytest.mark.parametrize(
    "text",
    ['{"v":2}', '{"v":1,"x":1}', "[]", '{"v":1,"p":[{"b":"b"}]}', '{"v":1,"s":-1}', '{"v":1,"s":true}', "[" * 40_000, "x" * 70_000],
)
def test_what_we_never_write_is_refused(text: str) -> None:
    with pytest.raises(MalformedData):
        decode(text)


def test_four_of_the_longest_entries_fit_into_the_brokers_default_limit() -> None:
    key = "p" * 64 + "/" + "t" * 249 + "/2026/01/02/03/04/" + "t" * 249 + "+999999+" + "9" * 10
    entry = Entry("b" * 63, key, "u" * 184, 10_000, 2**30, 10**15, 10**15 + 1)
    assert len(encode(Promise((entry,) * MAX_ENTRIES, 10**15))) <= 4096
