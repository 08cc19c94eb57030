"""Sends ready-made record batches with the product's raw client, to one broker, and knows what it has stored."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from smartconnect.domain.errors import SandboxFailed
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.produce_channel import Outcome, OutgoingBatch, ProduceChannel, ProduceOptions
from smartconnect.kafka.types import TopicPartition


class Sender:
    """Counts the broker's answers; the first bad one is raised by `until`."""

    def __init__(self, cluster: Cluster, node_id: int) -> None:
        self.channel = ProduceChannel(cluster, node_id, ProduceOptions(), self._report)
        self._sent = 0
        self._stored = 0
        self._bad: Outcome | None = None
        self._changed = asyncio.Event()

    def put(self, tp: TopicPartition, blob: bytes) -> None:
        """Send a batch behind those before it."""
        self.channel.put(tp, [OutgoingBatch(blob)])
        self._sent += 1

    async def until(self, unanswered: int) -> None:
        """Wait until no more than so many batches have no answer. Raises SandboxFailed for one that was not stored."""
        while self._sent - self._stored > unanswered:
            if self._bad is not None:
                raise SandboxFailed(f"Kafka did not store a batch of {self._bad.tp}: {self._bad.lost or self._bad.refused}")
            self._changed.clear()
            await self._changed.wait()

    def _report(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.stored:
                self._stored += 1
            else:
                self._bad = outcome
        self._changed.set()


@contextlib.asynccontextmanager
async def sending(cluster: Cluster, anywhere: TopicPartition) -> AsyncIterator[Sender]:
    """To the leader of a partition, which leads all others too; at the end everything is stored."""
    (node_id, _epoch) = (await cluster.leaders_of([anywhere]))[anywhere]
    sender = Sender(cluster, node_id)
    running = asyncio.create_task(sender.channel.run())
    try:
        yield sender
        await sender.until(0)
    finally:
        running.cancel()
        await asyncio.wait([running])
