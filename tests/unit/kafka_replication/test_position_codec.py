"""Keys and values of the positions topic: what is written is read back, what is not ours is refused, no bytes crash the reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.domain.errors import MalformedData
from smartconnect.jobs.kafka_replication.numbers import LARGEST, ValueReader, put_number, put_text
from smartconnect.jobs.kafka_replication.position_codec import (
    CHUNK,
    GROUPS,
    POSITION,
    GroupMark,
    MapRun,
    PositionKey,
    StoredPosition,
    chunk_extent,
    decode_chunk,
    decode_mark,
    decode_position,
    encode_chunk,
    encode_mark,
    encode_position,
    parse_key,
    put_runs,
    take_runs,
)
from smartconnect.kafka.types import TopicPartition

_names = st.text("abcXYZ019._-", min_size=1, max_size=40)
_offsets = st.integers(0, 2**55)
_partitions = st.builds(TopicPartition, _names, st.integers(0, 2**31 - 1))


@st.composite
def run_lists(draw: st.DrawFn, most: int = 64) -> tuple[MapRun, ...]:
    source, target, runs = 0, 0, []
    for gap, target_gap, length in draw(st.lists(st.tuples(_offsets, _offsets, st.integers(1, 2**40)), max_size=most)):
        runs.append(MapRun(source + gap, target + target_gap, length))
        source, target = source + gap + length, target + target_gap + length
    return tuple(runs)


@st.composite
def positions(draw: st.DrawFn) -> StoredPosition:
    runs = draw(run_lists())
    ends = (runs[-1].source + runs[-1].length, runs[-1].target + runs[-1].length) if runs else (0, -1)
    return StoredPosition(
        owner_epoch=draw(st.integers(0, 2**40)),
        source_topic_id=draw(st.none() | st.uuids()),
        next_source=ends[0] + draw(st.integers(0, 1000)),
        source_leader_epoch=draw(st.integers(-1, 2**31 - 1)),
        target_topic_id=draw(st.none() | st.uuids()),
        next_target=ends[1] + draw(st.integers(0, 1000)),
        committed_at=draw(st.integers(0, 2**50)),
        runs=runs,
        start=draw(st.none() | _offsets),
        gaps=draw(st.integers(0, 2**20)),
    )


def keys() -> st.SearchStrategy[PositionKey]:
    common = (st.uuids().map(str), st.integers(1, 10**9), st.sampled_from(["pull", "push"]), _partitions)
    none = st.none()
    return st.one_of(
        st.builds(PositionKey, st.just(POSITION), *common, first=none, group=none),
        st.builds(PositionKey, st.just(CHUNK), *common, first=_offsets, group=none),
        st.builds(
            PositionKey, st.just(GROUPS), *common, first=none, group=st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
        ),
    )


@given(keys())
def test_a_key_is_read_back_as_it_was_written(key: PositionKey) -> None:
    assert parse_key(key.encode().encode()) == key


def test_keys_look_as_the_specification_says() -> None:
    tp = TopicPartition("orders.eu", 3)
    assert PositionKey(POSITION, "t", 2, "pull", tp).encode() == "p/t/2/pull/orders.eu/3"
    assert PositionKey(CHUNK, "t", 2, "pull", tp, first=700).encode() == "m/t/2/pull/orders.eu/3/700"
    assert PositionKey(GROUPS, "t", 2, "pull", tp, group="a/b").encode() == "g/t/2/pull/orders.eu/3/a/b"


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"p", b"p/t/1/pull/orders", b"p/t/1/pull/orders/0/0", b"m/t/1/pull/orders/0", b"m/t/1/pull/orders/0/x",
        b"g/t/1/pull/orders/0", b"i/17", b"p/t/01/pull/orders/0", b"p/t/-1/pull/orders/0", b"p/t/1/pull/orders/\xd9\xa1",
        b"p/t/1/pull/orders/99999999999999999999", b"p//1/pull/orders/0", b"p/t/1//orders/0", b"p/t/1/pull//0",
        b"q/t/1/pull/orders/0", b"p/t/1/pull/\xff/0", b"m/t/1/pull/orders/0/", b"p/t/\xc2\xb2/pull/orders/0",
    ],
)  # fmt: skip
def test_keys_that_we_never_write_are_nobodys(raw: bytes) -> None:
    assert parse_key(raw) is None


@given(st.binary(max_size=60))
def test_no_key_crashes_the_reader(raw: bytes) -> None:
    key = parse_key(raw)
    assert key is None or key.encode().encode() == raw


@given(positions())
def test_a_position_is_read_back_as_it_was_written(position: StoredPosition) -> None:
    assert decode_position(encode_position(position)) == position


@given(run_lists().filter(bool), st.booleans())
def test_a_chunk_is_read_back_as_it_was_written(runs: tuple[MapRun, ...], thinned: bool) -> None:
    assert decode_chunk(encode_chunk(runs, thinned=thinned)) == (runs, thinned)


@given(st.builds(GroupMark, _offsets, st.integers(-1, 2**55), st.booleans()))
def test_a_mark_is_read_back_as_it_was_written(mark: GroupMark) -> None:
    assert decode_mark(encode_mark(mark)) == mark


@given(positions(), st.data())
def test_a_cut_or_lengthened_position_is_refused(position: StoredPosition, data: st.DataObject) -> None:
    value = encode_position(position)
    at = data.draw(st.integers(0, len(value) - 1))
    for damaged in (value[:at], value + b"\0"):
        with pytest.raises(MalformedData):
            decode_position(damaged)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_readers(value: bytes) -> None:
    for decode in (decode_position, decode_chunk, decode_mark):
        for candidate in (value, b"\x01\x00" + value, b"\x01\x03" + value):
            try:
                decode(candidate)
            except MalformedData as error:
                assert len(str(error)) < 200


def test_a_position_of_a_newer_version_is_refused_by_its_version() -> None:
    value = encode_position(StoredPosition(1, None, 5, -1, None, -1, 0))
    with pytest.raises(MalformedData, match="version 2"):
        decode_position(b"\x02" + value[1:])
    with pytest.raises(MalformedData, match="unknown flags"):
        decode_position(b"\x01\x80" + value[2:])


@pytest.mark.parametrize("runs", [[(0, 0, 0)], [(LARGEST, 0, 1)], [(0, LARGEST, 1)], [(5, 5, 1), (LARGEST, 0, LARGEST)]])
def test_impossible_runs_are_refused(runs: list[tuple[int, int, int]]) -> None:
    value = bytearray()
    for number in (len(runs), *(number for run in runs for number in run)):
        put_number(value, number)
    with pytest.raises(MalformedData, match="impossible"):
        take_runs(ValueReader(bytes(value)))


@given(run_lists().filter(bool))
def test_a_chunk_that_holds_something_else_than_it_announces_is_refused(runs: tuple[MapRun, ...]) -> None:
    value = encode_chunk(runs, thinned=False)
    last = runs[-1]
    assert chunk_extent(value) == (runs[0].source, runs[0].target, last.source + last.length, last.target + last.length)
    body = bytearray()
    put_runs(body, runs)
    other = bytearray()
    put_runs(other, [*runs[:-1], last._replace(length=last.length + 1)])
    empty = b"\0"
    for damaged in (bytes(other), empty):
        with pytest.raises(MalformedData, match="announces"):
            decode_chunk(value[: -len(body)] + damaged)


def test_a_map_that_reaches_beyond_its_position_is_refused() -> None:
    runs = (MapRun(10, 20, 5),)
    for next_source, next_target in ((14, 25), (15, 24)):
        with pytest.raises(MalformedData, match="beyond"):
            decode_position(encode_position(StoredPosition(1, None, next_source, 0, None, next_target, 0, runs)))
    assert decode_position(encode_position(StoredPosition(1, None, 15, 0, None, 25, 0, runs))).runs == runs


def test_a_map_that_announces_more_runs_than_bytes_is_refused_before_it_is_read() -> None:
    value = bytearray()
    put_number(value, 2**40)
    with pytest.raises(MalformedData, match="announces more"):
        take_runs(ValueReader(bytes(value)))


def test_a_full_map_costs_a_few_bytes_per_run() -> None:
    """Runs as commits make them: one marker between, some hundred records each."""
    runs = tuple(MapRun(10**12 + 300 * number, 10**12 + 301 * number, 300) for number in range(64))
    assert len(encode_chunk(runs, thinned=False)) < 64 * 4 + 40


@given(st.integers(0, LARGEST), st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_numbers_and_names_are_read_back(number: int, text: str) -> None:
    out = bytearray()
    put_number(out, number)
    put_text(out, text)
    reader = ValueReader(bytes(out))
    assert (reader.number(), reader.text(), reader.left) == (number, text, 0)
    reader.end()


@pytest.mark.parametrize("value", [b"\x80", b"\xff" * 9 + b"\x01", b"\xff" * 12])
def test_numbers_that_are_cut_or_too_long_are_refused(value: bytes) -> None:
    with pytest.raises(MalformedData):
        ValueReader(value).number()


def test_numbers_outside_63_bits_are_not_written() -> None:
    for number in (-1, LARGEST + 1):
        with pytest.raises(ValueError, match="63 bits"):
            put_number(bytearray(), number)
    with pytest.raises(MalformedData, match="UTF-8"):
        ValueReader(b"\x01\xff").text()
