"""One `transactional.id` as one incarnation of a unit uses it: fence everybody older, then one transaction at a time.

What it guarantees (obs-dump.md §2, "Rules that make it true"):

* `initialise` bumps the epoch: from then on Kafka refuses every call of an older incarnation;
* EndTxn is repeated, the same one, until it is answered or we are fenced;
* one epoch, no unanswered call: after a lost answer InitProducerId with our own (id, epoch) comes before anything else of
  the next transaction. It never succeeds if somebody newer exists;
* an error that ends the transaction is raised only when the transaction is over (aborted) or not ours any more (Fenced);
* where a connection was lost since the last transaction with a group's offsets began, its end is given once more before the next one
  begins: Kafka may have forgotten it (`open_transactions`), and what it left open would share the end of the next one.

The object is for one task at a time. Each step is told to `observe` before its request is sent and after its outcome, under
the names `init`, `renew`, `add_offsets`, `add_partitions`, `commit_offsets`, `end`, each with `.sent` (details: the request's
fields), then `.ok`, `.again` (answered: ask again), `.lost` (no answer) or `.refused`; `.waiting` tells that the coordinator
cannot be reached. A model of the protocol is checked against these."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from smartconnect.domain.errors import ClusterUnreachable, Fenced, MalformedData, SmartConnectError
from smartconnect.kafka import messages
from smartconnect.kafka.cluster import GROUP, TRANSACTION, Cluster
from smartconnect.kafka.codes import COORDINATOR_MOVED, FENCED, RETRIABLE, UNAUTHORIZED, KafkaCode, failure
from smartconnect.kafka.connection import Connection
from smartconnect.kafka.errors import (
    BrokerRefused,
    ConnectionLost,
    MetadataTooLarge,
    PartitionRefused,
    PartitionsDenied,
    PartitionsNotAdded,
    TransactionAborted,
    refusal,
)
from smartconnect.kafka.groups import OffsetCommit, commit_fields
from smartconnect.kafka.messages import Api
from smartconnect.kafka.offsets import by_topic
from smartconnect.kafka.txn_answers import gravest, refused_parts
from smartconnect.kafka.types import TopicPartition

_NOTHING: Final[Mapping[str, object]] = {}
_OF_ONE_PARTITION: Final = frozenset({KafkaCode.UNKNOWN_TOPIC_OR_PARTITION, KafkaCode.TOPIC_AUTHORIZATION_FAILED})
"""AddPartitionsToTxn: the broker has not asked the transaction's coordinator then, whatever the other partitions are."""

Observe = Callable[[str, Mapping[str, object]], None]

__all__ = ["OffsetCommit", "TransactionalId"]


class TransactionalId:
    """`timeout_ms` is the broker's: an open transaction older than that is aborted and fences us."""

    def __init__(self, cluster: Cluster, name: str, *, timeout_ms: int = 30_000, observe: Observe | None = None) -> None:
        self.name = name
        self.producer_id, self.epoch = -1, -1
        self._cluster, self._timeout_ms = cluster, timeout_ms
        self._observe: Observe = observe or (lambda step, details: None)
        self._open = False
        self._unanswered = False
        self._committing = False
        self._fenced = False
        self._group = ""
        self._last_end: tuple[str, bool] | None = None
        self._losses = 0

    @property
    def is_open(self) -> bool:
        """Something was sent that belongs to a transaction which has not ended yet."""
        return self._open

    @property
    def must_renew(self) -> bool:
        """An answer is missing: the next transaction begins with a new epoch, so that a late copy of the call cannot touch it."""
        return self._unanswered

    async def initialise(self) -> None:
        """Take the id over. Aborts what a predecessor left open, waits for what it had decided."""
        self._fenced = False
        await self._init(producer_id=-1, epoch=-1)

    async def renew(self) -> None:
        """A new epoch for ourselves; an open transaction of ours is aborted. Fenced if somebody newer exists, and with
        an open transaction on Kafka before 4.0, which then cannot tell its own abort from a stranger's: `initialise`
        begins again. (EndTxn(abort) instead would let a late copy of a lost call into the next transaction.) Where somebody newer has
        a transaction open, Kafka aborts it before it refuses us: nothing of it counts, and its owner has to begin again too."""
        self._check_ours()
        await self._init(producer_id=self.producer_id, epoch=self.epoch)

    async def _init(self, *, producer_id: int, epoch: int) -> None:
        step = "init" if producer_id < 0 else "renew"
        fields = {
            "transactional_id": self.name,
            "transaction_timeout_ms": self._timeout_ms,
            "producer_id": producer_id,
            "producer_epoch": epoch,
        }
        markers, pauses = self._cluster.pauses(0.02, 1.0), self._cluster.pauses(0.05, 5.0)
        while True:
            answer = await self._ask(step, TRANSACTION, self.name, messages.INIT_PRODUCER_ID, fields)
            code = KafkaCode.NETWORK_EXCEPTION if answer is None else failure(answer.error_code)
            if code is None:
                assert answer is not None
                self.producer_id, self.epoch = answer.producer_id, answer.producer_epoch
                if self._open:
                    self._ended(commit=False)
                self._open = self._unanswered = self._committing = False
                self._tell(step, "ok")
                return
            if code is KafkaCode.CONCURRENT_TRANSACTIONS:
                self._tell(step, "again", {"code": code.name})
                await asyncio.sleep(markers.next())
            elif code in RETRIABLE:
                self._moved(step, TRANSACTION, self.name, code)
                await asyncio.sleep(pauses.next())
            else:
                raise self._refused(step, code)

    async def add_offsets(self, group: str) -> None:
        """Make the group's offsets part of the transaction, beginning one if none is open."""
        await self._prepare()
        if not self._open:
            while self._last_end is not None and self._cluster.losses != self._losses:
                losses = self._cluster.losses
                await self._repeat_end(*self._last_end)
                self._losses = losses
            self._losses = self._cluster.losses
        self._group = group
        await self._add_group(group)

    async def _repeat_end(self, group: str, commit: bool) -> None:
        """What becomes of the repetition itself changes nothing about the end that is to be repeated."""
        await self._coordinator("add_offsets", GROUP, group)  # without a leader there it would be forgotten again
        await self._add_group(group)
        await self.end(commit=commit)
        await self._prepare()

    async def _add_group(self, group: str) -> None:
        fields = self._ours() | {"group_id": group}
        await self._in_transaction("add_offsets", TRANSACTION, self.name, messages.ADD_OFFSETS_TO_TXN, fields)

    async def add_partitions(self, partitions: Collection[TopicPartition]) -> None:
        """Make partitions part of the transaction before anything is produced to them. PartitionsNotAdded where the broker refuses some of
        them by name: then it has added none, and what is open stays open."""
        await self._prepare()
        topics = [
            {"name": topic, "partitions": [tp.partition for tp in members]}
            for topic, members in by_topic(dict.fromkeys(partitions))
        ]
        fields = {f"v3_and_below_{name}": value for name, value in (self._ours() | {"topics": topics}).items()}
        was_open = self._open
        try:
            await self._in_transaction("add_partitions", TRANSACTION, self.name, messages.ADD_PARTITIONS_TO_TXN, fields)
        except PartitionsNotAdded:
            self._open = was_open
            raise

    async def commit_offsets(self, group: str, offsets: Mapping[TopicPartition, OffsetCommit]) -> None:
        """Offsets and metadata that become the group's when the transaction commits."""
        if not self._open:
            raise RuntimeError(f"add_offsets comes before commit_offsets of {self.name}")
        await self._prepare()
        topics = [
            {"name": topic, "partitions": [commit_fields(tp, offsets[tp]) for tp in members]}
            for topic, members in by_topic(offsets)
        ]
        membership = {"generation_id": -1, "member_id": "", "group_instance_id": None}
        fields = self._ours() | membership | {"group_id": group, "topics": topics}
        await self._in_transaction("commit_offsets", GROUP, group, messages.TXN_OFFSET_COMMIT, fields)

    async def end(self, *, commit: bool) -> None:
        """Commit or abort. Returns when the outcome is known; raises Fenced when it can not be ours to know. Without
        an open transaction aborting does nothing."""
        self._check_ours()
        if not self._open:
            if commit:
                raise RuntimeError(f"there is no open transaction of {self.name} to commit")
            return
        if self._committing and not commit:
            raise RuntimeError(f"the commit of {self.name} was sent: only its repetition can tell what became of it")
        self._committing = commit
        fields = self._ours() | {"committed": commit}
        markers, pauses = self._cluster.pauses(0.002, 0.05), self._cluster.pauses(0.05, 5.0)
        while True:
            answer = await self._ask("end", TRANSACTION, self.name, messages.END_TXN, fields)
            code = KafkaCode.NETWORK_EXCEPTION if answer is None else failure(answer.error_code)
            if code is None or (code is KafkaCode.INVALID_TXN_STATE and not commit):
                self._ended(commit=commit)
                self._open = self._committing = False
                self._unanswered |= code is not None
                self._tell("end", "ok", fields)
                return
            if code in FENCED or code is KafkaCode.INVALID_TXN_STATE or code in UNAUTHORIZED:
                raise self._refused("end", code)
            self._moved("end", TRANSACTION, self.name, code)
            await asyncio.sleep((markers if code is KafkaCode.CONCURRENT_TRANSACTIONS else pauses).next())

    # One call inside a transaction

    async def _prepare(self) -> None:
        """Renew the epoch where an answer is missing, also that of a call whose caller was cancelled."""
        self._check_ours()
        if not self._unanswered:
            return
        was_open = self._open
        await self.renew()
        if was_open:
            raise TransactionAborted(f"an answer was lost to {self.name}; its transaction is aborted")

    async def _in_transaction(self, step: str, kind: int, key: str, api: Api, fields: dict[str, object]) -> None:
        """Send until answered. What the answer says, and a lost one, ends as the table of obs-dump.md §2 tells."""
        self._open = True
        markers, pauses = self._cluster.pauses(0.002, 0.05), self._cluster.pauses(0.05, 5.0)
        while True:
            answer = await self._ask(step, kind, key, api, fields)
            if answer is None:
                await self.renew()
                raise TransactionAborted(f"the answer to {api.name} of {self.name} was lost; its transaction is aborted")
            codes = refused_parts(answer)
            if not codes:
                self._tell(step, "ok")
                return
            code = gravest(codes)
            if code is KafkaCode.CONCURRENT_TRANSACTIONS:
                self._tell(step, "again", {"code": code.name})
                await asyncio.sleep(markers.next())
            elif code in COORDINATOR_MOVED:
                self._moved(step, kind, key, code)
                await asyncio.sleep(pauses.next())
            elif api is messages.ADD_PARTITIONS_TO_TXN and code in _OF_ONE_PARTITION:
                self._tell(step, "refused", {"code": code.name})
                raise PartitionsNotAdded({tp: c for tp, c in codes.items() if tp is not None and c in _OF_ONE_PARTITION})
            else:
                await self._give_up(step, api, code, codes)

    async def _give_up(self, step: str, api: Api, code: KafkaCode, codes: Mapping[TopicPartition | None, KafkaCode]) -> None:
        """Abort the transaction, then raise what its user has to know."""
        error = self._refused(step, code)
        if isinstance(error, Fenced):
            raise error
        await self.end(commit=False)
        refused = {tp: c for tp, c in codes.items() if tp is not None and c is code}
        if code is KafkaCode.UNKNOWN_TOPIC_OR_PARTITION and refused:
            raise PartitionRefused(refused)
        if code is KafkaCode.OFFSET_METADATA_TOO_LARGE and refused:
            raise MetadataTooLarge(refused)
        if code is KafkaCode.TOPIC_AUTHORIZATION_FAILED and refused:
            raise PartitionsDenied(refused)
        if code in UNAUTHORIZED:
            raise error
        raise TransactionAborted(f"{api.name} of {self.name} was refused with {code.name}; its transaction is aborted")

    async def _ask(self, step: str, kind: int, key: str, api: Api, fields: Mapping[str, object]) -> Any | None:
        """The answer, or None when it was lost: the call may have been carried out."""
        connection = await self._coordinator(step, kind, key)
        self._tell(step, "sent", fields)
        before, self._unanswered = self._unanswered, True
        try:
            answer = await connection.call(api, fields)
        except (ConnectionLost, MalformedData) as error:
            self._cluster.forget_coordinator(kind, key)
            self._tell(step, "lost", {"reason": str(error)})
            return None
        self._unanswered = before
        return answer

    async def _coordinator(self, step: str, kind: int, key: str) -> Connection:
        """Its connection. A coordinator that cannot be reached has not been asked: look for it until it is found, but
        let the first step of an incarnation fail, so that its reason is seen."""
        pauses = self._cluster.pauses(0.05, 5.0)
        while True:
            try:
                return await self._cluster.coordinator(kind, key)
            except (ConnectionLost, ClusterUnreachable, BrokerRefused) as error:
                if step == "init" or (isinstance(error, BrokerRefused) and error.kafka_code not in RETRIABLE):
                    raise
                self._cluster.forget_coordinator(kind, key)
                self._tell(step, "waiting", {"reason": str(error)})
                await asyncio.sleep(pauses.next())

    # Small parts

    def _ended(self, *, commit: bool) -> None:
        if self._group:
            self._last_end, self._group = (self._group, commit), ""

    def _check_ours(self) -> None:
        if self._fenced:
            raise Fenced(f"transactional id {self.name} belongs to somebody newer")
        if self.producer_id < 0:
            raise RuntimeError(f"transactional id {self.name} was not initialised")

    def _ours(self) -> dict[str, object]:
        return {"transactional_id": self.name, "producer_id": self.producer_id, "producer_epoch": self.epoch}

    def _moved(self, step: str, kind: int, key: str, code: KafkaCode) -> None:
        if code is not KafkaCode.NETWORK_EXCEPTION:
            self._tell(step, "again", {"code": code.name})
        if code is not KafkaCode.CONCURRENT_TRANSACTIONS:
            self._cluster.forget_coordinator(kind, key)

    def _refused(self, step: str, code: KafkaCode) -> SmartConnectError:
        self._tell(step, "refused", {"code": code.name})
        if code in FENCED or (step == "end" and code is KafkaCode.INVALID_TXN_STATE):
            self._fenced = True
            return Fenced(f"transactional id {self.name} belongs to somebody newer, or its transaction timed out ({code.name})")
        return refusal(f"use transactional id {self.name} ({step})", code)

    def _tell(self, step: str, outcome: str, details: Mapping[str, object] = _NOTHING) -> None:
        known = {"transactional_id": self.name, "producer_id": self.producer_id, "producer_epoch": self.epoch}
        self._observe(f"{step}.{outcome}", {**known, **details})
