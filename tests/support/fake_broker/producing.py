"""One Produce request: what concerns it as a whole, then each partition for itself."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from smartconnect.kafka.batch import headers, parse_header
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels.batch import TRANSACTIONAL
from tests.support.fake_broker.batch_checks import Refused, single_batch
from tests.support.fake_broker.coordinator import Coordinator
from tests.support.fake_broker.log import PartitionLog

QUESTION_TAKES_S: Final = 0.0005
ABORTABLE_SINCE: Final = 11
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
        self._questions: dict[str, object] = {}

    async def produce(
        self, version: int, name: str | None, batches: dict[TopicPartition, bytes], now_ms: int
    ) -> dict[TopicPartition, Answer]:
        """`batches` in any order: a mapping, as on a broker, so that a partition listed twice has its last batch only."""
        owners = {tp: producer for tp, sent in batches.items() if (producer := _transactional(sent)) is not None}
        if owners and name is None:
            return dict.fromkeys(batches, Answer(KafkaCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED))
        if len(set(owners.values())) > 1:
            return dict.fromkeys(batches, Answer(KafkaCode.INVALID_PRODUCER_ID_MAPPING))
        answers: dict[TopicPartition, Answer] = {}
        whole: dict[TopicPartition, bytes] = {}
        for tp, sent in batches.items():
            try:
                whole[tp] = self._acceptable(tp, sent)
            except Refused as refused:
                answers[tp] = Answer(refused.code)
        begun = {tp: batch for tp, batch in whole.items() if tp in owners and not self._logs[tp].takes_part(owners[tp])}
        answers |= await self._verify(version, name or "", begun)
        return {tp: answers.get(tp) or self._append(tp, whole[tp], now_ms) for tp in batches}

    def _acceptable(self, tp: TopicPartition, sent: bytes) -> bytes:
        """The one batch for a partition that is here."""
        log = self._logs.get(tp)
        if log is None:
            raise Refused(KafkaCode.UNKNOWN_TOPIC_OR_PARTITION)
        batch = single_batch(sent)
        if log.leads_later:
            log.leads_later -= 1
            raise Refused(KafkaCode.NOT_LEADER_OR_FOLLOWER)
        return batch

    def _append(self, tp: TopicPartition, batch: bytes, now_ms: int) -> Answer:
        try:
            return Answer(KafkaCode.NONE, *self._logs[tp].append(batch, now_ms))
        except Refused as refused:
            return Answer(refused.code, records=refused.records)

    async def _verify(self, version: int, name: str, begun: dict[TopicPartition, bytes]) -> dict[TopicPartition, Answer]:
        """Ask the coordinator about the partitions that a request begins to write to, all at once. One question at a time for each
        transactional id: a second one takes the first one's place."""
        if not begun:
            return {}
        for tp, batch in begun.items():
            self._logs[tp].tried(batch)
        question = self._questions[name] = object()
        await asyncio.sleep(QUESTION_TAKES_S)
        if self._questions.get(name) is not question:
            return dict.fromkeys(begun, Answer(KafkaCode.NOT_ENOUGH_REPLICAS))
        del self._questions[name]
        answers = {}
        for tp, batch in begun.items():
            header = parse_header(batch)
            code = self._coordinator.verify(name, header.producer_id, header.producer_epoch, tp)
            if code is KafkaCode.TRANSACTION_ABORTABLE and version < ABORTABLE_SINCE:
                code = KafkaCode.INVALID_TXN_STATE
            if code is not KafkaCode.NONE:
                answers[tp] = Answer(code)
        return answers


def _transactional(sent: bytes) -> int | None:
    """The producer of a transactional batch; None for what is no such thing."""
    if len(sent) <= 16 or sent[16] != 2:
        return None
    return next((header.producer_id for _, header in headers(sent) if header.attributes & TRANSACTIONAL), None)
