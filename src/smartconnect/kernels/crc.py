"""The checksum of one batch, over the response's own bytes, without a copy and without the interpreter lock."""

from __future__ import annotations

import zlib

from fastcrc import crc32

from smartconnect.kernels.batch import CRC_FROM, LEGACY_CRC_FROM, Batch, BytesLike, Kind


def verify_crc(records: BytesLike, batch: Batch) -> bool:
    """True if the stored checksum is that of the bytes: CRC32C of 21…end for magic 2 (KIP-98), CRC32 of 16…end for the old formats."""
    view = memoryview(records)
    if batch.kind is Kind.LEGACY:
        return zlib.crc32(view[batch.start + LEGACY_CRC_FROM : batch.end]) == batch.crc
    return bool(crc32.iscsi(view[batch.start + CRC_FROM : batch.end]) == batch.crc)
