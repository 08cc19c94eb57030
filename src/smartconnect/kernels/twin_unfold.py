"""The Python twin of the compiled `unfold`: the lz4 sections of a run of batches, one behind the other into one buffer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

from smartconnect.kernels import lz4
from smartconnect.kernels.batch import Batch, BytesLike, Codec, Kind
from smartconnect.kernels.errors import DecompressionBomb, MalformedBatch


def unfold(
    records: BytesLike, batches: Sequence[Batch], first: int, buffer: bytearray | memoryview, most: int, enough: int
) -> list[int]:
    """Where the sections of `batches[first:]` end in `buffer`, the first of which begins at 0: those at the beginning that are DATA, of
    codec lz4, whole, at most `most` bytes long and fit, until there are `enough` bytes. What stops the run is not said: `lz4.unfold` of
    that batch alone gives it or says what is wrong. The compiled form also leaves frames of linked blocks to it. Bytes of `buffer`
    behind the last end may have been written to."""
    view, target = memoryview(records), memoryview(buffer)
    ends: list[int] = []
    filled = 0
    for batch in islice(batches, first, None):
        if filled >= enough or batch.kind is not Kind.DATA or batch.codec is not Codec.LZ4:
            break
        room = target[filled : filled + most]
        try:
            filled += len(lz4.unfold(view[batch.records_start : batch.end], len(room), _beginning(room)))
        except (MalformedBatch, DecompressionBomb):
            break
        ends.append(filled)
    return ends


def _beginning(room: memoryview) -> Callable[[int], memoryview]:
    return lambda nbytes: room[:nbytes]
