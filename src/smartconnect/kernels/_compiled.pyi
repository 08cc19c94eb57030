"""Types of the compiled kernels; the contract is in `twin_walk` and `twin_join`."""

from collections.abc import Sequence

from smartconnect.kernels.batch import Batch, BytesLike
from smartconnect.kernels.blocks import BlockWriter
from smartconnect.kernels.plan import JoinPlan, JoinResult, Limits, Resume, Section

def walk(records: BytesLike, fetch_offset: int, aborted: Sequence[tuple[int, int]]) -> list[Batch]: ...
def join(
    sections: Sequence[Section],
    plan: JoinPlan,
    writer: BlockWriter,
    limits: Limits = ...,
    resume: Resume = ...,
) -> JoinResult: ...
