"""The coordinator of all transactional ids: who owns an id, what its transaction holds, and the markers that end it.

Source: Kafka's `TransactionCoordinator`, `TransactionMetadata` (KIP-98, KIP-360), for clients of EndTxn v0–v4."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.types import TopicPartition
from tests.support.fake_broker.log import PartitionLog

LONGEST_TIMEOUT_MS: Final = 900_000
MARKERS_TAKE_S: Final = 0.005


class State(Enum):
    """Of a transactional id. While it is prepared, markers are being written, and everybody has to wait."""

    EMPTY = "nothing is open"
    ONGOING = "a transaction is open"
    PREPARED = "its end is decided"
    COMPLETE = "its end is written"


class Identity(NamedTuple):
    """What InitProducerId gives, or why it does not."""

    code: KafkaCode
    producer_id: int = -1
    epoch: int = -1


@dataclass(slots=True)
class Transaction:
    """One transactional id. `last_epoch`: the epoch before the last renewal, whose owner may ask for the new one again."""

    producer_id: int
    epoch: int = -1
    last_epoch: int = -1
    state: State = State.EMPTY
    commit: bool = False
    partitions: set[TopicPartition] = field(default_factory=set)


class Coordinator:
    """Asked by the handlers; `logs` are all partitions of the broker."""

    def __init__(self, logs: dict[TopicPartition, PartitionLog]) -> None:
        self._logs = logs
        self._transactions: dict[str, Transaction] = {}
        self._next_id = 0
        self._markers_held = False
        self._found = False

    def find(self) -> None:
        """From now on it is one: the first search for a coordinator makes the topic that it needs."""
        self._found = True

    def hold_markers(self) -> None:
        """What is decided from now on stays without its markers until `write_markers`."""
        self._markers_held = True

    def write_markers(self) -> None:
        """End all transactions whose end is decided."""
        self._markers_held = False
        for transaction in self._transactions.values():
            self._complete(transaction)

    # InitProducerId

    def init(self, name: str | None, timeout_ms: int, producer_id: int, epoch: int) -> Identity:
        if name is None:
            return Identity(KafkaCode.NONE, self._new_id(), 0)
        if not name or (producer_id < 0) != (epoch < 0):
            return Identity(KafkaCode.INVALID_REQUEST)
        if not 0 < timeout_ms <= LONGEST_TIMEOUT_MS:
            return Identity(KafkaCode.INVALID_TRANSACTION_TIMEOUT)
        if not self._found:
            return Identity(KafkaCode.NOT_COORDINATOR)
        known = self._transactions.get(name)
        if known is None:
            known = self._transactions[name] = Transaction(self._new_id())
        elif producer_id not in (-1, known.producer_id):
            return Identity(KafkaCode.PRODUCER_FENCED)
        if known.state is State.PREPARED:
            return Identity(KafkaCode.CONCURRENT_TRANSACTIONS)
        if known.state is State.ONGOING:
            known.epoch, known.last_epoch = known.epoch + 1, known.epoch
            self._decide(known, commit=False)
            return Identity(KafkaCode.CONCURRENT_TRANSACTIONS)
        return self._renewed(known, epoch)

    def _renewed(self, known: Transaction, expected: int) -> Identity:
        if expected < 0:
            known.epoch, known.last_epoch = known.epoch + 1, -1
        elif known.epoch in (-1, expected):
            known.epoch, known.last_epoch = known.epoch + 1, known.epoch
        elif expected != known.last_epoch:
            return Identity(KafkaCode.PRODUCER_FENCED)
        known.state = State.EMPTY
        known.partitions.clear()
        return Identity(KafkaCode.NONE, known.producer_id, known.epoch)

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    # Inside of a transaction

    def add(self, name: str, producer_id: int, epoch: int, partitions: Collection[TopicPartition]) -> KafkaCode:
        known = self._owned(name, producer_id, epoch)
        if isinstance(known, KafkaCode):
            return known
        if known.state is State.PREPARED:
            return KafkaCode.CONCURRENT_TRANSACTIONS
        if known.state is not State.ONGOING:
            known.partitions.clear()
        known.state = State.ONGOING
        known.partitions.update(partitions)
        return KafkaCode.NONE

    def verify(self, name: str, producer_id: int, epoch: int, tp: TopicPartition) -> KafkaCode:
        """Whether a batch may be written: what the leader asks before the first one of a transaction."""
        known = self._owned(name, producer_id, epoch)
        if isinstance(known, KafkaCode):
            return KafkaCode.INVALID_PRODUCER_EPOCH if known is KafkaCode.PRODUCER_FENCED else known
        if known.state is State.PREPARED:
            return KafkaCode.NOT_ENOUGH_REPLICAS
        if known.state is State.ONGOING and tp in known.partitions:
            return KafkaCode.NONE
        return KafkaCode.TRANSACTION_ABORTABLE

    def end(self, name: str, producer_id: int, epoch: int, *, commit: bool) -> KafkaCode:
        known = self._owned(name, producer_id, epoch)
        if isinstance(known, KafkaCode):
            return known
        if known.state is State.ONGOING:
            self._decide(known, commit=commit)
            return KafkaCode.NONE
        if known.state is State.EMPTY or known.commit != commit:
            return KafkaCode.INVALID_TXN_STATE
        return KafkaCode.CONCURRENT_TRANSACTIONS if known.state is State.PREPARED else KafkaCode.NONE

    def _owned(self, name: str, producer_id: int, epoch: int) -> Transaction | KafkaCode:
        if not self._found:
            return KafkaCode.NOT_COORDINATOR
        known = self._transactions.get(name)
        if known is None or known.producer_id != producer_id:
            return KafkaCode.INVALID_PRODUCER_ID_MAPPING
        return known if known.epoch == epoch else KafkaCode.PRODUCER_FENCED

    # Markers

    def _decide(self, known: Transaction, *, commit: bool) -> None:
        known.state, known.commit = State.PREPARED, commit
        asyncio.get_running_loop().call_later(MARKERS_TAKE_S, self._complete_in_time, known)

    def _complete_in_time(self, known: Transaction) -> None:
        if not self._markers_held:
            self._complete(known)

    def _complete(self, known: Transaction) -> None:
        if known.state is not State.PREPARED:
            return
        for tp in sorted(known.partitions):
            self._logs[tp].mark(known.producer_id, known.epoch, commit=known.commit)
        known.state = State.COMPLETE
        known.partitions.clear()
