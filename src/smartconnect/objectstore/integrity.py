"""What protects a part's bytes on their way: CRC32C where the store checks it, MD5 over plain http where it does not. Used by
`ObjectStore`, which asks each store once.

The question is put to an upload that is aborted afterwards, never to an object that readers could see: a part with a wrong checksum must
be refused, the right one accepted, and ListParts must give it back, since whoever completes after a crash has it from there only.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Sequence
from typing import Final

from smartconnect import kernels
from smartconnect.objectstore.blocks import Blocks
from smartconnect.objectstore.errors import BadDigest, KeyRefused, NoSuchUpload, StoreBusy, StoreRefused
from smartconnect.objectstore.model import Integrity
from smartconnect.objectstore.wire import Direct, Wire

CRC32C_HEADER: Final = "x-amz-checksum-crc32c"
# Longer bodies are summed up in a thread: the loop is not held for more than a few milliseconds.
_INLINE_BYTES: Final = 16 << 20
_PROBE_BODY: Final = b"smart-connect"


def crc32c(blocks: Sequence[memoryview]) -> str:
    """CRC32C of all blocks, as S3 writes it."""
    return _as_s3_writes(kernels.crc32c(blocks))


def md5(blocks: Sequence[memoryview]) -> str:
    """MD5 of all blocks, base64 as in Content-MD5."""
    digest = hashlib.md5(usedforsecurity=False)
    for block in blocks:
        digest.update(block)
    return base64.b64encode(digest.digest()).decode()


async def protect(integrity: Integrity, blocks: Blocks) -> dict[str, str]:
    """The header that the store checks the body with; empty for NONE."""
    match integrity:
        case Integrity.NONE:
            return {}
        case Integrity.MD5:
            return {"Content-MD5": await asyncio.to_thread(md5, blocks.views)}
        case Integrity.CRC32C:
            if blocks.crc32c is not None:
                return {CRC32C_HEADER: _as_s3_writes(blocks.crc32c)}
            if blocks.nbytes <= _INLINE_BYTES:
                return {CRC32C_HEADER: crc32c(blocks.views)}
            return {CRC32C_HEADER: await asyncio.to_thread(crc32c, blocks.views)}


def _as_s3_writes(crc: int) -> str:
    """Base64 of four bytes, big endian."""
    return base64.b64encode(crc.to_bytes(4, "big")).decode()


async def checks_crc32c(wire: Wire, key: str) -> bool:
    """True if the store refuses a wrong CRC32C and returns the right one. Leaves nothing behind. Raises as an upload of `key` would."""
    try:
        begun = await wire.call("create_multipart_upload", key=key, ChecksumAlgorithm="CRC32C")
    except KeyRefused:
        return False
    upload_id = str(begun["UploadId"])
    try:
        return await _refuses_damage(wire, key, upload_id) and await _returns_checksum(wire, key, upload_id)
    except KeyRefused:
        return False
    finally:
        await _abort(wire, key, upload_id)


async def _refuses_damage(wire: Wire, key: str, upload_id: str) -> bool:
    body = Blocks([memoryview(_PROBE_BODY)])
    try:
        await wire.exchange(part_request(key, upload_id, 1, body, {CRC32C_HEADER: crc32c([memoryview(b"damaged")])}))
    except BadDigest:
        return True
    return False


async def _returns_checksum(wire: Wire, key: str, upload_id: str) -> bool:
    body = Blocks([memoryview(_PROBE_BODY)])
    expected = crc32c(body.views)
    await wire.exchange(part_request(key, upload_id, 1, body, {CRC32C_HEADER: expected}))
    listed = await wire.call("list_parts", key=key, UploadId=upload_id)
    return [part.get("ChecksumCRC32C") for part in listed.get("Parts", [])] == [expected]


async def _abort(wire: Wire, key: str, upload_id: str) -> None:
    """An upload that cannot be aborted now is left to the janitor, as any other of this key: it must not keep the dump from working."""
    try:
        await wire.call("abort_multipart_upload", key=key, UploadId=upload_id)
    except (NoSuchUpload, StoreBusy, StoreRefused, KeyRefused):
        return


def part_request(key: str, upload_id: str, number: int, blocks: Blocks, headers: dict[str, str]) -> Direct:
    """The request of one part, to be signed."""
    query = {"partNumber": str(number), "uploadId": upload_id}
    return Direct(operation="UploadPart", method="PUT", key=key, query=query, headers=headers, blocks=blocks)
