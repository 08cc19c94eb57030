"""`unfold`: runs of lz4 batches into one buffer, the same in both forms, whatever the blocks look like; nothing outside the buffer."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.kernels.conftest import compiled_module
from tests.unit.kernels.test_same import mutated

from smartconnect.kernels import Batch, Codec, Kind, MalformedBatch, Scratch, lz4, sections, twin_unfold

COMPILED = compiled_module()
CANARY = 0xA5
HEAD = lz4.fold(memoryview(b""))[:7]
ALL = 1 << 40


@pytest.fixture(params=[COMPILED.unfold, twin_unfold.unfold], ids=["compiled", "python"])
def unfold(request: pytest.FixtureRequest) -> Callable[..., list[int]]:
    return request.param


def rows(frames: Sequence[bytes], kind: Kind = Kind.DATA, codec: Codec = Codec.LZ4) -> tuple[bytes, list[Batch]]:
    """The frames one behind the other, and a row for each as if it were a batch's section."""
    found, at = [], 0
    for number, frame in enumerate(frames):
        found.append(Batch(kind, at, at + len(frame), number, number, 0, codec, 1, int(codec), 0, -1, 0, at))
        at += len(frame)
    return b"".join(frames), found


def framed(blocks: Sequence[bytes], stored: Sequence[bool] = ()) -> bytes:
    """A frame of these blocks, made by hand."""
    flags = list(stored) + [False] * (len(blocks) - len(stored))
    body = b"".join(struct.pack("<I", len(block) | kept << 31) + block for block, kept in zip(blocks, flags, strict=True))
    return bytes(HEAD) + body + bytes(4)


def length_bytes(length: int) -> bytes:
    """What follows a length of 15 or more in its token."""
    rest = length - 15
    return bytes([255] * (rest // 255) + [rest % 255])


@st.composite
def blocks(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """One block with sequences of all kinds (literals and matches short and long, near and far, overlapping), and what it unfolds to."""
    rng = random.Random(draw(st.integers(0, 1 << 32)))
    block, out = bytearray(), bytearray()
    for _ in range(draw(st.integers(0, 12))):
        literals = rng.randbytes(rng.choice([0, 1, 3, 14, 15, 16, 40, 269, 270, 271, 600]) or (not out))
        size = rng.choice([4, 5, 8, 15, 16, 17, 18, 19, 20, 33, 273, 274, 1000])
        out += literals
        distance = min(len(out), rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 31, 64, 1000, 65535]))
        block.append(min(15, len(literals)) << 4 | min(15, size - 4))
        block += length_bytes(len(literals)) if len(literals) >= 15 else b""
        block += literals + struct.pack("<H", distance)
        block += length_bytes(size - 4) if size - 4 >= 15 else b""
        for _ in range(size):
            out.append(out[-distance])
    last = rng.randbytes(rng.choice([5, 6, 11, 14, 15, 30, 300]) if out else rng.choice([0, 1, 5, 40]))
    block.append(min(15, len(last)) << 4)
    block += (length_bytes(len(last)) if len(last) >= 15 else b"") + last
    return bytes(block), bytes(out + last)


@settings(max_examples=400, deadline=None)
@given(st.lists(blocks(), max_size=3), st.integers(0, 100))
def test_every_kind_of_sequence(made, spare):
    """With room to spare and without: the fast copies may run over the end of a sequence, never over that of the buffer."""
    frame, wanted = framed([block for block, _ in made]), b"".join(out for _, out in made)
    blob, batches = rows([frame])
    # liblz4 wants the last sequence but one to end well before the room does.
    for form, room in ((COMPILED.unfold, len(wanted) + spare), (twin_unfold.unfold, len(wanted) + 64)):
        buffer = bytearray([CANARY] * (room + 64))
        assert form(blob, batches, 0, memoryview(buffer)[:room], ALL, ALL) == [len(wanted)]
        assert buffer[: len(wanted)] == wanted
        assert set(buffer[room:]) == {CANARY}


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damage_is_refused_or_read_as_the_library_reads_it(data):
    block, wanted = data.draw(blocks())
    frame = data.draw(mutated(framed([block])))
    blob, batches = rows([frame])
    room = data.draw(st.integers(0, len(wanted) + 300))
    buffer = bytearray([CANARY] * (room + 64))
    ends = COMPILED.unfold(blob, batches, 0, memoryview(buffer)[:room], ALL, ALL)
    assert set(buffer[room:]) == {CANARY}
    if ends:
        again = lz4.unfold(memoryview(frame), 1 << 20, lambda n: memoryview(bytearray(n)))
        assert buffer[: ends[0]] == again


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120), st.integers(0, 300))
def test_random_blocks_stay_in_their_room(block, room):
    blob, batches = rows([framed([block])])
    buffer = bytearray([CANARY] * (room + 64))
    COMPILED.unfold(blob, batches, 0, memoryview(buffer)[:room], ALL, ALL)
    assert set(buffer[room:]) == {CANARY}


TEXTS = [b"some words that repeat, " * n for n in (0, 1, 100, 5_000, 40_000)] + [random.Random(1).randbytes(200_000)]


def test_a_run_lies_in_the_buffer_one_behind_the_other(unfold):
    blob, batches = rows([bytes(lz4.fold(memoryview(text))) for text in TEXTS])
    buffer = bytearray(2 << 20)
    ends = unfold(blob, batches, 0, buffer, ALL, ALL)
    assert ends == [sum(map(len, TEXTS[: n + 1])) for n in range(len(TEXTS))]
    assert buffer[: ends[-1]] == b"".join(TEXTS)
    assert unfold(blob, batches, 4, buffer, ALL, ALL) == [len(TEXTS[4]), len(TEXTS[4]) + len(TEXTS[5])]
    assert unfold(blob, batches, len(TEXTS), buffer, ALL, ALL) == []


def test_a_run_ends_with_enough_at_most_and_no_room(unfold):
    size = 10_000
    blob, batches = rows([bytes(lz4.fold(memoryview(random.Random(n).randbytes(size)))) for n in range(5)])
    buffer = bytearray(1 << 20)
    assert unfold(blob, batches, 0, buffer, ALL, 1) == [size]
    assert unfold(blob, batches, 0, buffer, ALL, size) == [size]
    assert unfold(blob, batches, 0, buffer, ALL, size + 1) == [size, 2 * size]
    assert unfold(blob, batches, 0, buffer, ALL, 0) == []
    assert unfold(blob, batches, 0, buffer, size, ALL) == [size * n for n in range(1, 6)]
    assert unfold(blob, batches, 0, buffer, size - 1, ALL) == []
    assert unfold(blob, batches, 0, memoryview(buffer)[: 3 * size - 1], ALL, ALL) == [size, 2 * size]
    assert unfold(blob, batches, 0, bytearray(0), ALL, ALL) == []


@pytest.mark.parametrize(
    ("kind", "codec"), [(Kind.CONTROL, Codec.LZ4), (Kind.ABORTED, Codec.LZ4), (Kind.LEGACY, Codec.LZ4), (Kind.DATA, Codec.ZSTD)]
)
def test_a_run_ends_before_what_is_not_for_it(unfold, kind, codec):
    frame = bytes(lz4.fold(memoryview(TEXTS[2])))
    blob, batches = rows([frame, frame, frame])
    batches[1] = batches[1]._replace(kind=kind, codec=codec)
    assert unfold(blob, batches, 0, bytearray(1 << 20), ALL, ALL) == [len(TEXTS[2])]
    assert unfold(blob, batches, 1, bytearray(1 << 20), ALL, ALL) == []


OPTIONS = {
    "block checksums": lambda data: hand_made(data, flags=0x70),
    "content size": lambda data: hand_made(data, flags=0x68),
    "two frames": lambda data: bytes(lz4.fold(memoryview(data)[:5])) + bytes(lz4.fold(memoryview(data)[5:])),
    "content checksum": lambda data: hand_made(data, flags=0x64),
}


def hand_made(data: bytes, *, flags: int) -> bytes:
    """Stored blocks, with checksums that nobody looks at."""
    size = struct.pack("<Q", len(data)) if flags & 0x08 else b""
    block = struct.pack("<I", len(data) | 1 << 31) + data + (b"sums" if flags & 0x10 else b"")
    return b"\x04\x22\x4d\x18" + bytes([flags, 0x70]) + size + b"h" + block + bytes(4) + (b"sums" if flags & 0x04 else b"")


@pytest.mark.parametrize("make", OPTIONS.values(), ids=OPTIONS)
def test_what_a_frame_may_have(unfold, make):
    blob, batches = rows([make(TEXTS[3])])
    buffer = bytearray(1 << 20)
    assert unfold(blob, batches, 0, buffer, ALL, ALL) == [len(TEXTS[3])]
    assert buffer[: len(TEXTS[3])] == TEXTS[3]


def test_linked_blocks_are_left_to_the_library_and_a_group_goes_on_behind_them():
    compressor = cramjam.lz4.Compressor(block_linked=True)
    compressor.compress(TEXTS[4])
    linked = bytes(compressor.finish())
    plain = bytes(lz4.fold(memoryview(TEXTS[3])))
    blob, batches = rows([plain, linked, plain])
    assert len(COMPILED.unfold(blob, batches, 0, bytearray(2 << 20), ALL, ALL)) == 1
    scratch = Scratch()
    found = [bytes(section.data) for group in sections(blob, batches, scratch) for section in group]
    assert found == [TEXTS[3], TEXTS[4], TEXTS[3]]


def test_a_damaged_batch_is_named_behind_those_before_it():
    frame = bytes(lz4.fold(memoryview(TEXTS[2])))
    broken = frame[:11] + bytes(len(frame) - 15) + frame[-4:]
    blob, batches = rows([frame, frame, broken, frame])
    groups = sections(blob, batches, Scratch())
    assert [bytes(section.data) for section in next(groups)] == [TEXTS[2]] * 2
    with pytest.raises(MalformedBatch) as raised:
        next(groups)
    assert (raised.value.position, raised.value.section) == (2 * len(frame), 2)


def test_rows_of_another_buffer_are_refused():
    blob, batches = rows([bytes(lz4.fold(memoryview(TEXTS[2])))])
    with pytest.raises(ValueError, match="does not belong"):
        COMPILED.unfold(blob[:-1], batches, 0, bytearray(1 << 20), ALL, ALL)
    with pytest.raises(TypeError, match="no row"):
        COMPILED.unfold(blob, [tuple(batches[0])], 0, bytearray(1 << 20), ALL, ALL)


def test_the_scratch_buffer_grows_until_a_run_and_what_follows_it_fit():
    text = random.Random(3).randbytes(60_000)
    blob, batches = rows([bytes(lz4.fold(memoryview(text)))])
    scratch = Scratch()

    def group() -> list[memoryview]:
        scratch.reset()
        return [*scratch.unfold(blob, batches, 0, ALL), scratch.decompress(Codec.LZ4, blob)]

    assert [len(group()) for _ in range(4)] == [1, 2, 2, 2]
    run, following = group()
    assert run.obj is following.obj
    assert run == following == text
