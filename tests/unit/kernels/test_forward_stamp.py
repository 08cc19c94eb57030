"""Stamping and checking batches: exactly the fields that change, the checksum right without reading the body, damage never signed over."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import pytest
from fastcrc import crc32
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.kernels.conftest import compiled_module
from tests.unit.kernels.reference import batches, legacy_message, response
from tests.unit.kernels.test_same import mutated

from smartconnect.kernels import Codec, Kind, MalformedBatch, Stamp, encode, twin_stamp, verify_crc
from smartconnect.kernels.batch import CONTROL, TRANSACTIONAL
from smartconnect.kernels.encode import Frame, Record
from smartconnect.kernels.twin_walk import walk

HEADER = struct.Struct(">qiibIhiqqqhii")
OURS = Stamp(producer_id=77_000_000_123, producer_epoch=300, transactional=True)
LOG_APPEND_TIME, DELETE_HORIZON, UNKNOWN = 0x08, 0x40, 0x7F80
PLAIN = encode.batch([Record(5, b"value", b"key", 1_700_000_000_000), Record(6, None)], Frame(producer_id=3, base_sequence=9))


@pytest.fixture(params=["compiled", "without the instruction", "python"])
def forward(request):
    """`stamp` and `check` of each implementation, compiled also with tables instead of the processor's CRC instruction."""
    if request.param == "python":
        yield SimpleNamespace(stamp=twin_stamp.stamp, check=twin_stamp.check)
        return
    module = compiled_module()
    before = module.use_crc_instruction(request.param == "compiled")
    yield module
    module.use_crc_instruction(before)


def sized(nbytes: int, codec: Codec = Codec.NONE) -> bytes:
    return encode.batch([Record(40 + i, bytes([i]) * (nbytes // 4)) for i in range(4)], Frame(codec=codec, leader_epoch=8))


def right(data: bytes | bytearray | memoryview) -> bool:
    return all(verify_crc(data, row) for row in walk(data, 0, []))


def test_header_becomes_ours_and_everything_else_stays(forward):
    attributes = LOG_APPEND_TIME | DELETE_HORIZON | UNKNOWN | CONTROL | Codec.LZ4
    (base, length, _epoch, magic, _crc, _attributes, last, first_time, max_time, *_producer, count) = HEADER.unpack_from(PLAIN)
    data = bytearray(PLAIN)
    struct.pack_into(">h", data, 21, attributes)
    struct.pack_into(">I", data, 17, crc32.iscsi(bytes(data[21:])))

    forward.stamp(data, [(0, len(data), 41)], OURS)

    crc = crc32.iscsi(bytes(data[21:]))
    ours = (OURS.producer_id, OURS.producer_epoch, 41)
    assert base == 5
    assert HEADER.unpack_from(data) == (0, length, -1, magic, crc, Codec.LZ4 | 0x10, last, first_time, max_time, *ours, count)
    assert data[61:] == PLAIN[61:]


@pytest.mark.parametrize(("transactional", "bits"), [(True, TRANSACTIONAL), (False, 0)])
@pytest.mark.parametrize("before", [0, TRANSACTIONAL])
def test_transactional_bit_is_our_mode(forward, transactional, bits, before):
    data = bytearray(encode.batch([Record(0, b"v")], Frame(attributes=before)))
    forward.stamp(data, [(0, len(data), 0)], OURS._replace(transactional=transactional))
    assert struct.unpack_from(">h", data, 21) == (bits,) and right(data)


def test_no_producer_is_possible(forward):
    data = bytearray(PLAIN)
    forward.stamp(data, [(0, len(data), -1)], Stamp(-1, -1, transactional=False))
    assert HEADER.unpack_from(data)[9:12] == (-1, -1, -1) and right(data)


@pytest.mark.parametrize("nbytes", [0, 1, 255, 256, 767, 768, 4095, 12_288, 65_535, 65_536, 1 << 20, 17 << 20])
def test_checksum_is_right_at_every_size(forward, nbytes):
    data = bytearray(sized(nbytes))
    assert forward.check(data, walk(data, 0, [])) == -1
    forward.stamp(data, [(0, len(data), 2**31 - 1)], OURS)
    assert crc32.iscsi(bytes(data[21:])) == int.from_bytes(data[17:21], "big")
    assert forward.check(data, walk(data, 0, [])) == -1


@pytest.mark.parametrize("nbytes", [100, 100_000])
def test_damaged_body_is_found_before_and_after_stamping(forward, nbytes):
    data = bytearray(sized(nbytes))
    data[90] ^= 4
    assert forward.check(data, walk(data, 0, [])) == 0
    forward.stamp(data, [(0, len(data), 0)], OURS)
    assert forward.check(data, walk(data, 0, [])) == 0
    data[90] ^= 4
    assert forward.check(data, walk(data, 0, [])) == -1


def test_stamping_again_gives_what_stamping_once_gives(forward):
    once, again = bytearray(PLAIN), bytearray(PLAIN)
    forward.stamp(once, [(0, len(once), 5)], OURS)
    forward.stamp(again, [(0, len(again), 7)], Stamp(1, 2, transactional=False))
    forward.stamp(again, [(0, len(again), 5)], OURS)
    assert once == again


def test_only_the_named_batches_are_touched(forward):
    parts = [sized(50), sized(5000, Codec.ZSTD), sized(300)]
    data = bytearray(b"".join(parts))
    begin = len(parts[0])
    forward.stamp(memoryview(data), [(begin, begin + len(parts[1]), 3)], OURS)
    assert data[:begin] == parts[0] and data[-len(parts[2]) :] == parts[2]
    assert data[begin : begin + 8] == bytes(8)


def test_index_of_the_first_wrong_batch_is_told(forward):
    data = bytearray(b"".join(encode.batch([Record(i, b"v" * 2000)]) for i in range(100)))
    rows = walk(data, 0, [])
    assert forward.check(data, rows) == -1
    data[rows[70].end - 1] ^= 1
    data[rows[33].end - 1] ^= 1
    assert forward.check(data, rows) == 33
    assert forward.check(data, rows[34:]) == 70 - 34
    assert forward.check(data, []) == -1


@pytest.mark.parametrize("magic", [0, 1])
def test_old_messages_are_checked_with_their_own_checksum(forward, magic):
    data = bytearray(legacy_message(3, b"k", b"v" * 20, magic=magic) + legacy_message(4, b"k", b"w", magic=magic))
    rows = walk(data, 0, [])
    assert forward.check(data, rows) == -1
    data[-1] ^= 1
    assert forward.check(data, rows) == 1


@pytest.mark.parametrize(
    ("start", "end"), [(0, len(PLAIN) - 1), (0, len(PLAIN) + 1), (1, len(PLAIN)), (-1, len(PLAIN)), (0, 60), (5, 2), (0, 2**40)]
)
def test_anything_but_a_whole_batch_is_refused_before_anything_is_written(forward, start, end):
    data = bytearray(PLAIN)
    with pytest.raises(ValueError, match="not one v2 record batch"):
        forward.stamp(data, [(0, len(data), 0), (start, end, 0)], OURS)
    assert data == PLAIN


def test_old_message_cannot_be_stamped(forward):
    data = bytearray(legacy_message(0, b"k" * 50, b"v" * 50))
    with pytest.raises(ValueError, match="not one v2"):
        forward.stamp(data, [(0, len(data), 0)], OURS)


@pytest.mark.parametrize(
    ("sequence", "stamp"),
    [(2**31, OURS), (-(2**31) - 1, OURS), (0, OURS._replace(producer_epoch=2**15)), (0, OURS._replace(producer_id=2**63))],
)
def test_numbers_that_do_not_fit_are_refused_before_anything_is_written(forward, sequence, stamp):
    data = bytearray(PLAIN + PLAIN)
    with pytest.raises(OverflowError):
        forward.stamp(data, [(0, len(PLAIN), 0), (len(PLAIN), len(data), sequence)], stamp)
    assert data == PLAIN + PLAIN


def test_what_cannot_be_written_to_is_refused(forward):
    with pytest.raises(BufferError):
        forward.stamp(memoryview(PLAIN), [(0, len(PLAIN), 0)], OURS)


def test_row_of_another_buffer_is_refused(forward):
    rows = walk(PLAIN, 0, [])
    for foreign in (rows[0]._replace(end=len(PLAIN) + 1), rows[0]._replace(start=-1), rows[0]._replace(end=20)):
        with pytest.raises(ValueError, match="does not belong"):
            forward.check(PLAIN, [foreign])


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_implementations_are_the_same_on_mutated_batches(data):
    blob = data.draw(batches().map(response).flatmap(mutated))
    try:
        rows = walk(blob, 0, [])
    except MalformedBatch:
        return
    compiled = compiled_module()
    assert compiled.check(blob, rows) == twin_stamp.check(blob, rows)
    rows = [row for row in rows if row.kind is not Kind.LEGACY]
    ranges = [(row.start, row.end, data.draw(st.integers(-1, 2**31 - 1))) for row in rows]
    stamp = Stamp(data.draw(st.integers(-1, 2**63 - 1)), data.draw(st.integers(-1, 2**15 - 1)), data.draw(st.booleans()))
    mine, other = bytearray(blob), bytearray(blob)
    compiled.stamp(mine, ranges, stamp)
    twin_stamp.stamp(other, ranges, stamp)
    assert mine == other
    assert compiled.check(mine, walk_again(mine, rows)) == twin_stamp.check(other, walk_again(other, rows))


def walk_again(blob, rows):
    """The same rows with the checksums that are stored now (offsets all begin with 0 after stamping, which `walk` would refuse)."""
    return [row._replace(crc=int.from_bytes(blob[row.start + 17 : row.start + 21], "big")) for row in rows]
