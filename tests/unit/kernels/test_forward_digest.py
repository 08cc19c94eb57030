"""Sums over ranges of records: the same wherever they lie and however they are batched, and different when a reader sees anything else."""

from __future__ import annotations

import dataclasses
import struct

import pytest
from fastcrc import crc32
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.kernels.conftest import compiled_module
from tests.unit.kernels.forward_reference import HOP, NAME, THERE, batches, hop_of, mostly, opened, provenance
from tests.unit.kernels.reference import legacy_message

from smartconnect.kernels import (
    NO_LIMIT,
    NO_RECORDS,
    Codec,
    DigestPlan,
    MalformedBatch,
    Place,
    RangeDigest,
    RecodePlan,
    Scratch,
    encode,
    twin_digest,
    twin_rewrite,
)
from smartconnect.kernels.encode import Frame, Record, marker
from smartconnect.kernels.twin_walk import walk

ALL = DigestPlan(0, NO_LIMIT)
RECORDS = [Record(10 + i, b"value %d" % i, b"key", 1000 + i, ((b"h", b"1"), (b"n", None))) for i in range(25)]


@pytest.fixture(params=["compiled", "python"])
def digest(request):
    """All ranges of some data, the unfinished one included, by one implementation."""
    implementation = twin_digest if request.param == "python" else compiled_module()

    def call(data, plan=ALL, unfinished=NO_RECORDS):
        finished, rest = implementation.digest(data, walk(data, 0, []), plan, Scratch(), unfinished)
        return [*finished, rest]

    return call


def sum_of(records: list[Record]) -> int:
    """The definition of `RangeDigest`, once more."""
    crc = 0
    for record in records:
        seen = struct.pack(">q", record.timestamp) + framed(record.key) + framed(record.value)
        headers = [header for header in record.headers if header[0] != NAME]
        seen += struct.pack(">i", len(headers)) + b"".join(framed(name) + framed(value) for name, value in headers)
        crc = crc32.iscsi(seen, crc)
    return crc


def framed(data: bytes | None) -> bytes:
    return struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data


def test_ranges_are_counted_and_summed(digest):
    plan = dataclasses.replace(ALL, every=10)
    parts = [RECORDS[:10], RECORDS[10:20], RECORDS[20:]]
    want = [RangeDigest(part[0].offset, part[-1].offset, len(part), sum_of(part)) for part in parts]
    assert digest(encode.batch(RECORDS), plan) == want


@pytest.mark.parametrize("codec", Codec)
def test_batches_and_codecs_make_no_difference(digest, codec):
    data = b"".join(encode.batch(RECORDS[i : i + 7], Frame(codec=codec)) for i in range(0, 25, 7))
    assert digest(data) == digest(encode.batch(RECORDS))


def test_what_one_call_leaves_the_next_goes_on_with(digest):
    plan = dataclasses.replace(ALL, every=10)
    first, second = encode.batch(RECORDS[:13]), encode.batch(RECORDS[13:])
    *finished, rest = digest(first, plan)
    assert finished + digest(second, plan, rest) == digest(first + second, plan)


def test_exact_end_of_a_range_leaves_none_open(digest):
    assert digest(encode.batch(RECORDS[:5]), dataclasses.replace(ALL, every=5))[1] == NO_RECORDS


def test_only_offsets_of_the_plan_count(digest):
    plan = DigestPlan(12, 20)
    assert digest(encode.batch(RECORDS), plan) == [RangeDigest(12, 19, 8, sum_of(RECORDS[2:10]))]


def test_control_and_empty_batches_do_not_count(digest):
    data = marker(3, 1, commit=True) + encode.batch([], Frame(base_offset=4, last_offset=9)) + encode.batch(RECORDS)
    assert digest(data) == digest(encode.batch(RECORDS))


@pytest.mark.parametrize(
    "change",
    [
        {"timestamp": 1001},
        {"key": b"keys"},
        {"key": None},
        {"value": b""},
        {"value": None},
        {"key": b"keyv", "value": b"alue 0"},
        {"headers": ()},
        {"headers": ((b"n", None), (b"h", b"1"))},
        {"headers": ((b"h", b"1"), (b"n", b""))},
        {"headers": ((b"h", b"1n"), (b"", None))},
    ],
)
def test_any_change_shows(digest, change):
    changed = [dataclasses.replace(RECORDS[0], **change), *RECORDS[1:]]
    assert digest(encode.batch(changed))[0].crc != digest(encode.batch(RECORDS))[0].crc


def test_record_dropped_doubled_or_moved_shows(digest):
    def crc(records):
        return digest(encode.batch([dataclasses.replace(record, offset=i) for i, record in enumerate(records)]))[0][2:]

    right = crc(RECORDS)
    for wrong in (RECORDS[1:], [RECORDS[0], *RECORDS], [RECORDS[1], RECORDS[0], *RECORDS[2:]]):
        assert crc(wrong) != right


def test_append_time_is_what_readers_see(digest):
    data = bytearray(encode.batch([Record(0, b"v", timestamp=5)], Frame(attributes=0x08)))
    struct.pack_into(">q", data, 35, 99)
    assert digest(data)[0].crc == sum_of([Record(0, b"v", timestamp=99)])
    producers = dataclasses.replace(ALL, append_time_is_create_time=False)
    assert digest(data, producers)[0].crc == sum_of([Record(0, b"v", timestamp=5)])


@pytest.mark.parametrize("magic", [0, 1])
def test_old_messages_count_as_what_they_became(digest, magic):
    data = legacy_message(4, b"k", None, magic=magic, timestamp=7) + legacy_message(5, None, b"v", magic=magic, timestamp=8)
    times = [7, 8] if magic else [-1, -1]
    want = [Record(4, None, b"k", times[0]), Record(5, b"v", None, times[1])]
    assert digest(data)[0] == RangeDigest(4, 5, 2, sum_of(want))


def test_records_that_were_not_forwarded_do_not_count(digest):
    elsewhere = hop_of(Place("a", "b"), 0, 1, 2)
    looped, far, near = provenance(hop_of(THERE, 0, 1, 2)), provenance(*[elsewhere] * 8), provenance(*[elsewhere] * 7)
    records = [Record(i, b"v", headers=((NAME, value),)) for i, value in enumerate([looped, far, near])]
    plan = dataclasses.replace(ALL, loop=THERE)
    assert digest(encode.batch(records), plan)[0] == RangeDigest(2, 2, 1, sum_of(records[2:]))
    assert digest(encode.batch(records))[0].count == 3


def test_malformed_batch_is_named_with_its_index(digest):
    bad = bytearray(encode.batch(RECORDS[:5]))
    struct.pack_into(">i", bad, 57, 9)
    good = encode.batch([Record(0, b"v")])
    with pytest.raises(MalformedBatch, match="fewer records") as caught:
        digest(good + bad)
    assert (caught.value.section, caught.value.position) == (1, len(good))


@settings(max_examples=60, deadline=None)
@given(batches(), st.booleans())
def test_forwarded_records_have_the_sum_of_the_source(source, with_hop):
    blob = mostly(source)
    rows = walk(blob, 0, [])
    hop = HOP if with_hop else None
    copied = b"".join(batch.data for batch in twin_rewrite.recode(blob, rows, RecodePlan(1 << 20, hop=hop), Scratch()).batches)
    plan = dataclasses.replace(ALL, loop=THERE if with_hop else None)
    module = compiled_module() or twin_digest
    _none, there = module.digest(blob, rows, plan, Scratch())
    image = NO_RECORDS
    at = 0
    while at < len(copied):
        size = 12 + int.from_bytes(copied[at + 8 : at + 12], "big")
        _none, image = module.digest(copied[at : at + size], walk(copied[at : at + size], 0, []), ALL, Scratch(), image)
        at += size
    assert (there.count, there.crc) == (image.count, image.crc)
    assert with_hop or there.crc == sum_of(opened(blob))
