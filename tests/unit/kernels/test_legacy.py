"""Message sets of magic 0 and 1, wrappers included, as records and as sections for `join`."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.record.legacy_records import LegacyRecordBatchBuilder
from tests.unit.kernels.reference import content, legacy_message
from tests.unit.kernels.test_codecs import lz4_frame, with_wrong_header_checksum

from smartconnect.kernels import (
    BlockPool,
    BlockWriter,
    Codec,
    JoinPlan,
    KernelError,
    Kind,
    Limits,
    MalformedBatch,
    Scratch,
    encode,
    legacy,
    sections,
)
from smartconnect.kernels.legacy import LegacyRecord

PLAIN = [(b"k", b"v" * 50), (None, b""), (b"", None)]


def wrapper(codec: Codec, inner: bytes, *, offset: int, magic: int = 1, timestamp: int = 1000, flags: int = 0) -> bytes:
    value = encode.compress(codec, inner)
    return legacy_message(offset, None, value, magic=magic, timestamp=timestamp, attributes=codec | flags)


def message_set(offsets: list[int], magic: int) -> bytes:
    return b"".join(
        legacy_message(offset, key, value, magic=magic, timestamp=i)
        for i, (offset, (key, value)) in enumerate(zip(offsets, PLAIN, strict=True))
    )


@pytest.mark.parametrize("magic", [0, 1])
def test_plain_messages(magic):
    found = list(legacy.records(message_set([5, 6, 9], magic)))
    assert found == [
        LegacyRecord(offset, i if magic else -1, key, value)
        for i, (offset, (key, value)) in enumerate(zip([5, 6, 9], PLAIN, strict=True))
    ]


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.SNAPPY, Codec.LZ4])
@pytest.mark.parametrize(("magic", "inner"), [(0, [20, 21, 24]), (1, [0, 1, 4])])
def test_wrapper_gives_absolute_offsets(codec, magic, inner):
    found = list(legacy.records(wrapper(codec, message_set(inner, magic), offset=24, magic=magic)))
    assert [record.offset for record in found] == [20, 21, 24]
    assert [(record.key, record.value) for record in found] == PLAIN


def test_lz4_with_the_broken_header_checksum_of_magic_0():
    frame = with_wrong_header_checksum(lz4_frame(message_set([0, 1, 2], 0), linked=True))
    found = list(legacy.records(legacy_message(2, None, frame, magic=0, attributes=Codec.LZ4)))
    assert [record.offset for record in found] == [0, 1, 2]


def test_append_time_of_a_wrapper_is_that_of_its_messages():
    found = list(legacy.records(wrapper(Codec.GZIP, message_set([0, 1, 2], 1), offset=2, timestamp=777, flags=0x08)))
    assert [record.timestamp for record in found] == [777] * 3


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("codec", [0, 1])
def test_what_another_client_wrote_is_read(magic, codec):
    builder = LegacyRecordBatchBuilder(magic=magic, compression_type=codec, batch_size=1 << 20)
    for i in range(10):
        builder.append(i, timestamp=100 + i, key=b"k%d" % i, value=b"v" * i)
    written = bytearray(builder.build())
    if magic and codec:
        written[:8] = (9).to_bytes(8, "big")  # as the broker does: the wrapper gets the offset of the last
    found = list(legacy.records(written))
    assert [(r.offset, r.key, r.value) for r in found] == [(i, b"k%d" % i, b"v" * i) for i in range(10)]


def test_old_and_new_formats_are_joined_in_one_go(kernel):
    data = (
        legacy_message(0, b"a", b"0", magic=0)
        + wrapper(Codec.SNAPPY, message_set([0, 1, 2], 1), offset=5)
        + encode.batch([encode.Record(6, b"new", b"n")])
    )
    rows = kernel.walk(data, 4, [])
    assert [row.kind for row in rows] == [Kind.LEGACY, Kind.DATA]
    pool = BlockPool()
    writer = BlockWriter(pool)
    (group,) = sections(data, rows, Scratch())
    result = kernel.join(group, JoinPlan(b";", b":"), writer, Limits(skip_before=4))
    assert content(writer, pool) == b":;:;n:new;"
    assert (result.next_offset, result.null_values, result.first_record_offset) == (7, 1, 4)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (legacy_message(0, None, b"v")[:-1], "leaves"),
        (legacy_message(0, None, b"v")[:20], "leaves"),
        (legacy_message(0, None, b"v")[:16] + b"\x02" + legacy_message(0, None, b"v")[17:], "version"),
        (struct.pack(">qi", 0, 3) + legacy_message(0, None, b"v")[12:], "length"),
        (wrapper(Codec.GZIP, b"", offset=0), "holds none"),
        (wrapper(Codec.GZIP, wrapper(Codec.GZIP, b"", offset=0), offset=0), "compressed ones"),
        (wrapper(Codec.GZIP, message_set([0, 1, 2], 0), offset=2), "another version"),
        (legacy_message(0, None, None, attributes=1), "no value"),
        (legacy_message(0, None, b"", attributes=4), "codec"),
    ],
)
def test_malformed_messages_are_refused(data, reason):
    with pytest.raises(MalformedBatch, match=reason):
        list(legacy.records(data))


def test_wrapper_whose_offsets_do_not_fit_is_refused_with_its_index(kernel):
    data = legacy_message(0, None, b"v") + wrapper(Codec.GZIP, message_set([0, 1, 5], 1), offset=3)
    groups = sections(data, kernel.walk(data, 0, []), Scratch())
    assert len(next(groups)) == 1
    with pytest.raises(MalformedBatch, match="offsets") as caught:
        next(groups)
    assert caught.value.section == 1 and caught.value.position == len(legacy_message(0, None, b"v"))


@settings(deadline=None)
@given(st.data())
def test_damage_raises_nothing_but_kernel_errors(data):
    blob = bytearray(message_set([0, 1, 2], 1) + wrapper(Codec.LZ4, message_set([0, 1, 2], 1), offset=8))
    for _ in range(data.draw(st.integers(1, 5))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = list(legacy.records(blob, limit=1 << 16))
    except KernelError:
        return
    assert found
