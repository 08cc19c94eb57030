"""Checksums over blocks are those of the whole body."""

from __future__ import annotations

import base64
import hashlib

import pytest
from fastcrc import crc32
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.objectstore.blocks import Blocks
from smartconnect.objectstore.integrity import crc32c, md5, protect
from smartconnect.objectstore.model import Integrity


def test_crc32c_of_the_standard_vector_as_s3_writes_it() -> None:
    assert crc32c([memoryview(b"12345"), memoryview(b"6789")]) == base64.b64encode(bytes.fromhex("e3069283")).decode()


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_any_division_into_blocks_gives_the_same_sums(blocks: list[bytes]) -> None:
    views = [memoryview(block) for block in blocks]
    whole = b"".join(blocks)
    assert base64.b64decode(crc32c(views)) == crc32.iscsi(whole).to_bytes(4, "big")
    assert base64.b64decode(md5(views)) == hashlib.md5(whole).digest()


@pytest.mark.parametrize(
    ("integrity", "name"), [(Integrity.CRC32C, "x-amz-checksum-crc32c"), (Integrity.MD5, "Content-MD5"), (Integrity.NONE, None)]
)
async def test_the_header_that_protects_a_body(integrity: Integrity, name: str | None) -> None:
    headers = await protect(integrity, Blocks([memoryview(b"body")]))
    assert list(headers) == ([name] if name else [])


async def test_a_sum_that_is_known_is_not_made_again() -> None:
    headers = await protect(Integrity.CRC32C, Blocks([memoryview(b"body")], 0xE3069283))
    assert base64.b64decode(headers["x-amz-checksum-crc32c"]).hex() == "e3069283"


async def test_a_long_body_has_the_same_sum_as_a_short_one_piece_by_piece() -> None:
    block = bytes(1 << 20)
    headers = await protect(Integrity.CRC32C, Blocks([memoryview(block)] * 17))
    assert headers == {"x-amz-checksum-crc32c": crc32c([memoryview(block * 17)])}
