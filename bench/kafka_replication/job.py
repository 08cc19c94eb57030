"""What a side is asked to do: one topic, from the source to `<side>.<topic>` on the target."""

from __future__ import annotations

from dataclasses import dataclass

from bench.kafka_replication.cases import Copy
from smartconnect.kernels import Codec


@dataclass(frozen=True, slots=True)
class Job:
    """`batch_kib` None: at the rate of a few records, so nothing waits for a batch to fill; the target's topics exist then. `recode`: ask
    for `codec` where keeping the batches' own would do. `exactly_once`: ours; `peer_exactly_once`: MirrorMaker 2's."""

    topic: str
    exactly_once: bool
    peer_exactly_once: bool
    codec: Codec
    batch_kib: int | None
    header: bool = False
    recode: bool = False

    @property
    def steady(self) -> bool:
        return self.batch_kib is None


def job_of(case: Copy) -> Job:
    """The whole topic, as fast as possible."""
    return Job(
        case.topic,
        case.exactly_once,
        case.peer_exactly_once,
        case.target_codec,
        case.batch_kib,
        case.header,
        case.recode is not None,
    )


def target_topic(side: str, topic: str) -> str:
    return f"{side}.{topic}"
