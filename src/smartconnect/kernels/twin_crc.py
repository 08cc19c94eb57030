"""The Python twin of the compiled `crc32c`."""

from __future__ import annotations

from collections.abc import Sequence

from fastcrc import crc32

from smartconnect.kernels.batch import BytesLike


def crc32c(stretches: Sequence[BytesLike]) -> int:
    """CRC32C (Castagnoli) of the stretches, one behind the other; 0 for none."""
    value = 0
    for stretch in stretches:
        value = crc32.iscsi(memoryview(stretch), value)
    return value
