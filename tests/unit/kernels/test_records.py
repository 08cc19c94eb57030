"""Records one by one: what `encode` wrote is read back, and no bytes crash the reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.kernels import MalformedBatch, Section, encode, walk
from smartconnect.kernels.encode import Frame, Record
from smartconnect.kernels.records import KeyValue, marker_commits, records

_fields = st.none() | st.binary(max_size=20)


@given(st.lists(st.tuples(_fields, _fields, st.integers(1, 3)), max_size=20), st.integers(0, 2**40))
def test_records_are_read_back(contents: list[tuple[bytes | None, bytes | None, int]], base: int) -> None:
    offset, written = base, []
    for key, value, step in contents:
        written.append(Record(offset, value, key, 5, ((b"h", None),)))
        offset += step
    section = Section(encode.records_section(written, base, 5), len(written), base, offset)
    found = [
        KeyValue(r.offset, None if r.key is None else bytes(r.key), None if r.value is None else bytes(r.value))  # type: ignore[arg-type]
        for r in records(section)
    ]
    assert found == [(record.offset, record.key, record.value) for record in written]


@given(st.binary(max_size=60), st.integers(0, 5))
def test_no_bytes_crash_the_reader(data: bytes, count: int) -> None:
    try:
        assert len(list(records(Section(data, count, 0, 100)))) == count
    except MalformedBatch as error:
        assert 0 <= error.position <= len(data)


def test_what_the_header_does_not_promise_is_refused() -> None:
    data = encode.records_section([Record(0, b"a"), Record(4, b"b")], 0, 0)
    for section in (Section(data, 1, 0, 4), Section(data, 3, 0, 4), Section(data, 2, 0, 3), Section(data + data, 4, 0, 9)):
        with pytest.raises(MalformedBatch):
            list(records(section))


def test_a_marker_commits_or_aborts() -> None:
    blob = encode.marker(0, 7, commit=True) + encode.marker(1, 7, commit=False) + encode.batch([Record(2, b"v")], Frame())
    commit, abort, data = walk(blob, 0, ())
    assert marker_commits(blob, commit) and not marker_commits(blob, abort)
    with pytest.raises(ValueError, match="control batch"):
        marker_commits(blob, data)
