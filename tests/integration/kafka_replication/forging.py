"""Copies made by the test itself under a name of a task, so that they can be wrong: records on the target by one of its producer ids, and
the position that promises them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from smartconnect.domain.verification import Finding, VerifyRequest, VerifyResult
from smartconnect.jobs.kafka_replication.origins import Origin
from smartconnect.jobs.kafka_replication.position_store import PositionStore, StoredPosition
from smartconnect.jobs.kafka_replication.producer_ids import OriginWriter
from smartconnect.jobs.kafka_replication.verify.sides import Way
from smartconnect.jobs.kafka_replication.verify.verifier import Verifier
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.plain_produce import produce_plain
from smartconnect.kafka.producer_ids import new_producer_id
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import encode
from tests.support.records import Record
from tests.support.replication_unit import UnitUnderTest

_BATCH = 500


@dataclass
class Found:
    """What a verification has found."""

    findings: list[Finding]
    result: VerifyResult

    @property
    def kinds(self) -> list[str]:
        return [finding.kind.value for finding in self.findings]

    @property
    def places(self) -> list[tuple[int | None, int | None]]:
        """(source offset, target offset) of each."""
        return [(finding.start, finding.target_offset) for finding in self.findings]


@dataclass
class Both:
    """Clients for both ends of a unit that pulls."""

    unit: UnitUnderTest
    source: Cluster
    target: Cluster

    async def verify(self, request: VerifyRequest | None = None) -> Found:
        """As `smart-connect verify` does, in this loop, when the last commit is there for readers."""
        unit = self.unit
        await unit.commit_is_seen()
        way = Way(unit.task, unit.spec, unit.direction, self.source, self.target)
        result = VerifyResult()
        verifier = Verifier(way, request or VerifyRequest(), result)
        return Found([finding async for finding in verifier.run()], result)

    async def forge(
        self, topic: str, copies: Sequence[Record], next_source: int, *, target_next: int | None = None, start: int | None = None
    ) -> None:
        """`copies` appended to partition 0 of the target's topic, which exists and is empty; the position says that everything from `start`
        to `next_source` is copied."""
        unit, tp = self.unit, TopicPartition(topic, 0)
        store = PositionStore(self.target, unit.task_id, unit.run_number, unit.direction)
        await store.ensure_topic(None)
        producer, epoch = await new_producer_id(self.target)
        source_id = (await self.source.metadata([])).cluster_id
        await OriginWriter(self.target, Origin(unit.task_id, unit.direction, source_id, "identity"), lambda: 1).announce(producer)
        for first in range(0, len(copies), _BATCH):
            records = [_again(number, record) for number, record in enumerate(copies[first : first + _BATCH])]
            frame = encode.Frame(producer_id=producer, producer_epoch=epoch, base_sequence=first, leader_epoch=-1)
            await produce_plain(self.target, tp, encode.batch(records, frame))
        reached = len(copies) if target_next is None else target_next
        position = StoredPosition(1, None, next_source, -1, None, reached, 1, start=start)
        await produce_plain(self.target, store.tp, store.batch({tp: position}, 1))


@asynccontextmanager
async def both_ends(unit: UnitUnderTest) -> AsyncIterator[Both]:
    async with (
        Cluster(unit.spec.peer.bootstrap_servers, KafkaSecurity(), client_id="tests") as source,
        Cluster(unit.current_servers, KafkaSecurity(), client_id="tests") as target,
    ):
        yield Both(unit, source, target)


def _again(number: int, record: Record) -> encode.Record:
    headers = tuple((name.encode(), value) for name, value in record.headers)
    return encode.Record(number, record.value, record.key, record.timestamp_ms, headers)
