"""A producer id without a transactional id: makes repeats of a batch harmless as long as the broker remembers the producer, and fences
nobody (KIP-98). Used by deliveries without transactions."""

from __future__ import annotations

from smartconnect.kafka import messages
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import RETRIABLE, failure
from smartconnect.kafka.errors import refusal
from smartconnect.kafka.timing import TryAgain


async def new_producer_id(cluster: Cluster) -> tuple[int, int]:
    """(producer id, epoch 0), new with each call."""
    fields = {"transactional_id": None, "transaction_timeout_ms": 60_000, "producer_id": -1, "producer_epoch": -1}

    async def attempt() -> tuple[int, int]:
        answer = await (await cluster.any_connection()).call(messages.INIT_PRODUCER_ID, fields)
        code = failure(answer.error_code)
        if code in RETRIABLE:
            raise TryAgain("get a producer id", code)
        if code is not None:
            raise refusal("give us a producer id", code)
        return answer.producer_id, answer.producer_epoch

    return await cluster.persist(attempt)
