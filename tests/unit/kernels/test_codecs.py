"""Decompression: every way in which clients write a section, damage, and bombs in bounded memory."""

from __future__ import annotations

import gzip
import struct
import tracemalloc

import cramjam
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from smartconnect.kernels import Codec, DecompressionBomb, KernelError, MalformedBatch, Scratch, decompress
from smartconnect.kernels.encode import compress
from smartconnect.kernels.lz4 import _xxh32_short

TEXT = b"".join(b'{"n":%d,"name":"some words that repeat"}' % i for i in range(9000))
COMPRESSED = [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD]


def lz4_frame(data: bytes, *, linked: bool = False, checksum: bool = False) -> bytes:
    compressor = cramjam.lz4.Compressor(content_checksum=checksum, block_linked=linked)
    compressor.compress(data)
    return bytes(compressor.finish())


def with_wrong_header_checksum(frame: bytes) -> bytes:
    return frame[:6] + bytes([frame[6] ^ 0x55]) + frame[7:]


def zstd_stream(data: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    return compressor.compress(data) + compressor.flush()


FORMS = {
    "gzip": (Codec.GZIP, gzip.compress),
    "gzip of two members": (Codec.GZIP, lambda data: gzip.compress(data[:1000]) + gzip.compress(data[1000:])),
    "snappy in xerial framing": (Codec.SNAPPY, lambda data: compress(Codec.SNAPPY, data)),
    "raw snappy": (Codec.SNAPPY, lambda data: bytes(cramjam.snappy.compress_raw(data))),
    "lz4 of independent blocks": (Codec.LZ4, lambda data: compress(Codec.LZ4, data)),
    "lz4 of linked blocks": (Codec.LZ4, lambda data: lz4_frame(data, linked=True)),
    "lz4 with content checksum": (Codec.LZ4, lambda data: lz4_frame(data, checksum=True)),
    "lz4 with content size": (Codec.LZ4, lambda data: bytes(cramjam.lz4.compress(data))),
    "lz4 with the header checksum of magic 0": (Codec.LZ4, lambda data: with_wrong_header_checksum(lz4_frame(data))),
    "linked lz4 with the header checksum of magic 0": (
        Codec.LZ4,
        lambda data: with_wrong_header_checksum(lz4_frame(data, linked=True)),
    ),
    "lz4 of two frames": (Codec.LZ4, lambda data: lz4_frame(data[:1000]) + lz4_frame(data[1000:], linked=True)),
    "zstd": (Codec.ZSTD, zstandard.ZstdCompressor().compress),
    "zstd without content size": (Codec.ZSTD, zstd_stream),
    "zstd of two frames": (Codec.ZSTD, lambda data: zstandard.compress(data[:1000]) + zstd_stream(data[1000:])),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("data", [b"", b"x", TEXT, bytes(3 << 20)], ids=["nothing", "one", "text", "zeros"])
def test_every_form_that_clients_write_is_read(form, data):
    codec, write = FORMS[form]
    assert bytes(decompress(codec, write(data))) == data


@pytest.mark.parametrize("form", FORMS)
def test_scratch_results_stay_valid_until_reset(form):
    codec, write = FORMS[form]
    scratch = Scratch(size=1 << 20)
    results = [scratch.decompress(codec, write(TEXT[i:])) for i in range(4)]
    assert [bytes(result) for result in results] == [TEXT[i:] for i in range(4)]
    scratch.reset()
    assert scratch.used == 0 and bytes(scratch.decompress(codec, write(TEXT))) == TEXT


def test_scratch_reuses_its_buffer():
    scratch, places = Scratch(size=1 << 20), []
    for _ in range(3):
        places.append(scratch.decompress(Codec.LZ4, compress(Codec.LZ4, TEXT)).obj)
        scratch.reset()
    assert places[1] is places[2]


def test_scratch_takes_memory_only_when_it_is_used_and_no_more_than_its_size():
    small, large, huge = (compress(Codec.LZ4, bytes(nbytes)) for nbytes in (10_000, 3 << 20, 20 << 20))
    tracemalloc.start()
    scratches = [Scratch() for _ in range(100)]
    assert tracemalloc.get_traced_memory()[0] < 100_000
    scratch = scratches[0]
    for data, holds in ((small, 16 << 10), (large, 4 << 20), (huge, 4 << 20), (small, 4 << 20)):
        scratch.decompress(Codec.LZ4, data)
        scratch.reset()
        assert holds <= tracemalloc.get_traced_memory()[0] < holds + 100_000
    tracemalloc.stop()


def test_codec_none_is_the_section_itself():
    section = memoryview(bytearray(b"records"))
    assert decompress(Codec.NONE, section).obj is section.obj


@pytest.mark.parametrize("form", FORMS)
def test_exactly_the_limit_passes_and_one_more_byte_is_a_bomb(form):
    codec, write = FORMS[form]
    data = write(TEXT)
    assert bytes(decompress(codec, data, len(TEXT))) == TEXT
    with pytest.raises(DecompressionBomb, match=str(len(TEXT) - 1)):
        decompress(codec, data, len(TEXT) - 1)


@pytest.mark.parametrize("form", FORMS)
def test_bomb_is_refused_in_bounded_memory(form):
    codec, write = FORMS[form]
    bomb = write(bytes(64 << 20))
    tracemalloc.start()
    with pytest.raises(DecompressionBomb):
        decompress(codec, bomb, 1 << 20)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        (Codec.SNAPPY, b"\xff\xff\xff\xff\x0f" + b"\x00" * 20),
        (Codec.SNAPPY, b"\x82SNAPPY\x00" + b"\x00" * 8 + struct.pack(">i", 2**31 - 1)),
        (Codec.SNAPPY, b"\x82SNAPPY\x00" + b"\x00" * 8 + struct.pack(">i", -1)),
        (Codec.SNAPPY, b"\x82SNAPPY\x00" + b"\x00" * 3),
        (Codec.LZ4, b"\x04\x22\x4d\x18\x60\x70\x73" + struct.pack("<I", 2**31 - 1)),
        (Codec.LZ4, b"\x04\x22\x4d\x18\x61\x40\x82\x00\x00\x00\x00"),
        (Codec.LZ4, b"\x04\x22\x4d\x18\x60\x30\x82\x00\x00\x00\x00"),
        (Codec.LZ4, b"\x04\x22\x4d\x18\x60\x40"),
        (Codec.LZ4, b"\x04\x22\x4d\x18\x60\x40\x82"),
        (Codec.ZSTD, b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 7 + b"\x00"),
        (Codec.ZSTD, b""),
        (Codec.GZIP, b""),
        (Codec.GZIP, b"\x1f\x8b\x08"),
    ],
)
def test_impossible_claims_are_refused(codec, data):
    with pytest.raises(KernelError):
        decompress(codec, data)


def test_unknown_codec_is_refused():
    with pytest.raises(MalformedBatch, match="codec 7"):
        decompress(7, b"")  # type: ignore[arg-type]  # hostile value


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.SNAPPY, Codec.LZ4])
@pytest.mark.parametrize("cut", [1, 5, 20, 1000])
def test_cut_section_is_malformed(codec, cut):
    with pytest.raises(MalformedBatch):
        decompress(codec, compress(codec, TEXT)[:-cut])


def test_cut_zstd_frame_with_content_size_is_malformed():
    with pytest.raises(MalformedBatch):
        decompress(Codec.ZSTD, zstandard.compress(TEXT)[:-20])


@settings(deadline=None)
@given(st.data())
def test_damage_raises_nothing_but_kernel_errors(data):
    codec, write = FORMS[data.draw(st.sampled_from(sorted(FORMS)))]
    damaged = bytearray(write(TEXT[: data.draw(st.integers(0, 3000))]))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(1, len(damaged))) :]
    try:
        result = decompress(codec, damaged, 1 << 16)
    except KernelError:
        return
    assert len(result) <= 1 << 16


@settings(deadline=None)
@given(st.sampled_from(COMPRESSED), st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_kernel_errors(codec, data):
    try:
        decompress(codec, data, 1 << 20)
    except KernelError:
        return


def test_many_tiny_gzip_members_cost_their_number_not_its_square():
    assert bytes(decompress(Codec.GZIP, gzip.compress(b"ab") * 50_000)) == b"ab" * 50_000


@pytest.mark.parametrize(("data", "digest"), [(b"", 0x02CC5D05), (b"a", 0x550D7456), (b"abc", 0x32D153FF)])
def test_header_checksum_has_the_published_values(data, digest):
    assert _xxh32_short(data) == digest
