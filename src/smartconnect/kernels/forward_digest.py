"""`digest` for either implementation: decompresses batch after batch and lets `sum_up` go over the records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from smartconnect.kernels.batch import Batch, BytesLike
from smartconnect.kernels.codecs import Scratch
from smartconnect.kernels.errors import MalformedBatch
from smartconnect.kernels.forward import DigestPlan, Part, RangeDigest
from smartconnect.kernels.forward_parts import parts

_GROUP_BYTES: Final = 256 << 10


class SumUp(Protocol):
    """`twin_digest.sum_up` or its compiled form."""

    def __call__(
        self, parts: Sequence[Part], plan: DigestPlan, unfinished: RangeDigest, /
    ) -> tuple[list[RangeDigest], RangeDigest]: ...


def digest(
    sum_up: SumUp, records: BytesLike, batches: Sequence[Batch], plan: DigestPlan, scratch: Scratch, unfinished: RangeDigest
) -> tuple[list[RangeDigest], RangeDigest]:
    """See `twin_digest.digest`."""
    finished: list[RangeDigest] = []
    done = 0
    for group in parts(records, batches, scratch, _GROUP_BYTES, append_time=plan.append_time_is_create_time):
        try:
            ranges, unfinished = sum_up(group, plan, unfinished)
        except MalformedBatch as error:
            index = done + error.section
            raise MalformedBatch(batches[index].start, error.reason, index) from None
        finished += ranges
        done += len(group)
    return finished, unfinished
