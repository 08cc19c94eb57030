"""What makes a commit count once: the two deliveries behind one interface (kafka-replication.md §6.4).

`exactly_once`: data and positions in one transaction of the unit's transactional id; Kafka fences older owners. `at_least_once`: an
idempotent producer, positions after the acks; no broker fences a sleeper, so the registry is asked before each position write."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Protocol

from smartconnect.domain.errors import Retryable
from smartconnect.domain.kafka_replication_spec import Delivery, ReplicationOptions
from smartconnect.jobs.kafka_replication.steps import IncarnationSteps
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.errors import PartitionsNotAdded
from smartconnect.kafka.producer_ids import new_producer_id
from smartconnect.kafka.transactions import TransactionalId
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import Stamp

_PATIENCE_S: Final = 5.0


class Guard(Protocol):
    """One incarnation's right to write. `transactional_id` goes into produce requests; None outside of transactions."""

    transactional_id: str | None

    @property
    def stamp(self) -> Stamp:
        """What goes into the header of each batch."""

    def trouble(self) -> str | None:
        """What the target has made us wait for, for some seconds now; None if for nothing."""

    async def take_over(self) -> None:
        """Become the producer; fences whoever was it before, where the delivery can."""

    async def fence(self, name: str) -> Guard:
        """Nobody who holds this older transactional id can write any more; its open transaction is decided. The guard of that id."""

    async def end_left_open(self, partitions: Collection[TopicPartition], *, commit: bool) -> None:
        """End what Kafka has left open of us on these partitions, in a transaction of its own. None of ours is open."""

    async def abort(self) -> None:
        """Nothing since the last `finish` counts, whatever arrives late. The stamp is another one then, and sequences begin at 0."""

    async def admit(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, KafkaCode]:
        """These partitions may be produced to from now on, but for those that are given back: the target has no such partition, or does
        not let us write it."""

    @property
    def is_open(self) -> bool:
        """Something waits for `finish`."""

    async def finish(self) -> None:
        """Make everything since the last call count. Returns when that is certain; Retryable where it is certain, but nothing more may be
        done in this incarnation."""


class TransactionGuard:
    """Exactly once."""

    def __init__(self, cluster: Cluster, name: str, timeout_ms: int, steps: IncarnationSteps, *, prefix: str = "") -> None:
        self._cluster, self._timeout_ms, self._steps, self._prefix = cluster, timeout_ms, steps, prefix
        self._txn = TransactionalId(cluster, name, timeout_ms=timeout_ms, observe=self._observe)
        self._waiting_since: float | None = None
        self.transactional_id: str | None = name

    @property
    def stamp(self) -> Stamp:
        return Stamp(self._txn.producer_id, self._txn.epoch, transactional=True)

    def trouble(self) -> str | None:
        since = self._waiting_since
        if since is None or self._cluster.clock() - since < _PATIENCE_S:
            return None
        return "the target cannot end our last transaction: a partition of it has no leader, or fewer replicas than min.insync.replicas"

    def _observe(self, step: str, details: Mapping[str, object]) -> None:
        self._steps.note(f"{self._prefix}{step}", details)
        if details.get("code") == KafkaCode.CONCURRENT_TRANSACTIONS.name:
            self._waiting_since = self._cluster.clock() if self._waiting_since is None else self._waiting_since
        elif not step.endswith(".sent"):
            self._waiting_since = None

    async def take_over(self) -> None:
        await self._txn.initialise()

    async def fence(self, name: str) -> Guard:
        older = TransactionGuard(self._cluster, name, self._timeout_ms, self._steps, prefix="older.")
        await older.take_over()
        return older

    async def end_left_open(self, partitions: Collection[TopicPartition], *, commit: bool) -> None:
        await self._txn.add_partitions(partitions)
        await self._end(commit=commit)

    async def abort(self) -> None:
        await self._txn.end(commit=False)  # before Kafka 4.0 renewing an open transaction looks like being fenced
        await self._txn.renew()

    async def admit(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, KafkaCode]:
        refused: dict[TopicPartition, KafkaCode] = {}
        while wanted := [tp for tp in partitions if tp not in refused]:
            try:
                await self._txn.add_partitions(wanted)
                break
            except PartitionsNotAdded as error:
                refused |= error.partitions
        return refused

    @property
    def is_open(self) -> bool:
        return self._txn.is_open

    async def finish(self) -> None:
        await self._end(commit=True)

    async def _end(self, *, commit: bool) -> None:
        await self._txn.end(commit=commit)
        if self._txn.must_renew:  # batches that wait carry the epoch that a late copy of a lost call could still use
            raise Retryable(
                "an answer of the target's transaction coordinator was lost; what it ended is ended, begin anew", code="answer_lost"
            )


class IdempotentGuard:
    """At least once."""

    transactional_id: str | None = None

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.stamp = Stamp(-1, -1, transactional=False)

    def trouble(self) -> str | None:
        return None

    async def take_over(self) -> None:
        producer_id, epoch = await new_producer_id(self._cluster)
        self.stamp = Stamp(producer_id, epoch, transactional=False)

    async def fence(self, name: str) -> Guard:
        """Nothing to fence: older owners ask the registry before they move a position."""
        return self

    async def end_left_open(self, partitions: Collection[TopicPartition], *, commit: bool) -> None:
        raise AssertionError("without transactions nothing is left open")

    async def abort(self) -> None:
        raise AssertionError("without transactions nothing is undecided")

    async def admit(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, KafkaCode]:
        return {}

    @property
    def is_open(self) -> bool:
        return False

    async def finish(self) -> None:
        """What is acknowledged counts already."""


def guard_for(options: ReplicationOptions, cluster: Cluster, name: str, steps: IncarnationSteps) -> Guard:
    """The guard that the task's delivery asks for."""
    if options.delivery is Delivery.EXACTLY_ONCE:
        return TransactionGuard(cluster, name, options.transaction_timeout_ms, steps)
    return IdempotentGuard(cluster)
