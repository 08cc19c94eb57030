"""One Produce request: what concerns it as a whole, then each partition for itself."""

from __future__ import annotations

from typing import NamedTuple

from smartconnect.kafka.batch import headers, parse_header
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels.batch import TRANSACTIONAL
from tests.support.fake_broker.batch_checks import Refused, single_batch
from tests.support.fake_broker.coordinator import Coordinator
from tests.support.fake_broker.log import PartitionLog

ABORTABLE_SINCE = 11
"""The version of Produce that knows TRANSACTION_ABORTABLE; before it the code is INVALID_TXN_STATE."""


class Answer(NamedTuple):
    """What a Produce answer says of one partition."""

    code: KafkaCode
    base_offset: int = -1
    time_ms: int = -1
    records: tuple[int, ...] = ()


class Producing:
    """Stores what requests bring."""

    def __init__(self, logs: dict[TopicPartition, PartitionLog], coordinator: Coordinator) -> None:
        self._logs, self._coordinator = logs, coordinator

    def produce(
        self, version: int, name: str | None, batches: dict[TopicPartition, bytes], now_ms: int
    ) -> dict[TopicPartition, Answer]:
        """`batches` in any order: a mapping, as on a broker, so that a partition listed twice has its last batch only."""
        owners = {tp: producer for tp, sent in batches.items() if (producer := _transactional(sent)) is not None}
        if owners and name is None:
            return dict.fromkeys(batches, Answer(KafkaCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED))
        if len(set(owners.values())) > 1:
            return dict.fromkeys(batches, Answer(KafkaCode.INVALID_PRODUCER_ID_MAPPING))
        return {tp: self._one(version, name, tp, sent, now_ms) for tp, sent in batches.items()}

    def _one(self, version: int, name: str | None, tp: TopicPartition, sent: bytes, now_ms: int) -> Answer:
        log = self._logs.get(tp)
        if log is None:
            return Answer(KafkaCode.UNKNOWN_TOPIC_OR_PARTITION)
        try:
            batch = single_batch(sent)
            if name is not None and _transactional(batch) is not None:
                self._verify(version, name, tp, log, batch)
            return Answer(KafkaCode.NONE, *log.append(batch, now_ms))
        except Refused as refused:
            return Answer(refused.code, records=refused.records)

    def _verify(self, version: int, name: str, tp: TopicPartition, log: PartitionLog, batch: bytes) -> None:
        header = parse_header(batch)
        if log.takes_part(header.producer_id):
            return
        log.tried(batch)
        code = self._coordinator.verify(name, header.producer_id, header.producer_epoch, tp)
        if code is KafkaCode.TRANSACTION_ABORTABLE and version < ABORTABLE_SINCE:
            code = KafkaCode.INVALID_TXN_STATE
        if code is not KafkaCode.NONE:
            raise Refused(code)


def _transactional(sent: bytes) -> int | None:
    """The producer of a transactional batch; None for what is no such thing."""
    if len(sent) <= 16 or sent[16] != 2:
        return None
    return next((header.producer_id for _, header in headers(sent) if header.attributes & TRANSACTIONAL), None)
