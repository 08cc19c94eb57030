"""The guard against loops that needs no look into records: batches name their producer, and our producers are on record
(kafka-replication.md §8.2).

Writing side: `OriginWriter` puts an `i/` record for each producer id of ours into the positions topic of the *target*, acknowledged before
anything with that id can be visible. It is a plain record: no abort can undo it. Reading side: `ProducerLoops` asks the positions topic of
the *source* about ids that it does not know, up to a high watermark asked for after the batch was seen: it cannot judge too early. Ids are
unique in a cluster and never used again, so answers stay true. This also stops two one-way tasks that cross.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, Protocol

from smartconnect.domain.errors import MalformedData, PermissionMissing, Retryable
from smartconnect.jobs.kafka_replication.committed import LogDamaged
from smartconnect.jobs.kafka_replication.origins import Origin, decode_origin, encode_key, encode_origin, parse_producer
from smartconnect.jobs.kafka_replication.position_store import build_batch
from smartconnect.jobs.kafka_replication.positions_topic import IDENTITIES
from smartconnect.jobs.kafka_replication.topic_view import Link
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.errors import BrokerRefused
from smartconnect.kafka.log_scan import log_bounds, scan
from smartconnect.kafka.plain_produce import produce_plain
from smartconnect.kernels import Batch, KernelError, Kind, Scratch, sections, verify_crc, walk
from smartconnect.kernels.records import records

_MOST_STRANGERS: Final = 200_000
_SCRATCH_BYTES: Final = 1 << 20
_MOST_BYTES: Final = 64 << 20
_NEEDLE: Final = b"i/"


class OriginUnreadable(Retryable):
    """A producer is one of ours, but this version cannot tell from where: copying could go round in circles."""

    code = "producer_origin_unreadable"


class OriginWriter:
    """One incarnation's; `announce` before the first batch of each id."""

    def __init__(self, target: Cluster, origin: Origin, now_ms: Callable[[], int]) -> None:
        self._target, self._origin, self._now_ms = target, origin, now_ms
        self._announced = -1

    async def announce(self, producer_id: int) -> None:
        """Returns when the record is stored; at once for the id announced last."""
        if producer_id == self._announced:
            return
        batch = build_batch([(encode_key(producer_id), encode_origin(self._origin))], self._now_ms())
        await produce_plain(self._target, IDENTITIES, batch)
        self._announced = producer_id


class Origins:
    """What a cluster's positions topic tells about producers; asked again only for ids never seen. For one caller at a time.

    `on_blind`: without the right to read that topic everybody counts as a stranger, and this is told once; None: the right is needed."""

    def __init__(self, source: Cluster, on_blind: Callable[[PermissionMissing], None] | None = None) -> None:
        self._source, self._on_blind = source, on_blind
        self._ours: dict[int, bytes] = {}
        self._strangers: set[int] = set()
        self._at = 0
        self._scratch = Scratch(_SCRATCH_BYTES, _MOST_BYTES)
        self._blind = False

    async def of(self, producers: Collection[int]) -> dict[int, Origin]:
        """The origins of those that are ours. Raises OriginUnreadable, LogDamaged, and what the cluster raises."""
        wanted = {producer for producer in producers if producer >= 0}
        unknown = wanted - self._strangers - self._ours.keys()
        if unknown and not self._blind and await self._look():
            self._remember_strangers(unknown - self._ours.keys())
        return {producer: self._decoded(producer) for producer in wanted & self._ours.keys()}

    def _remember_strangers(self, strangers: set[int]) -> None:
        if len(self._strangers) + len(strangers) > _MOST_STRANGERS:
            self._strangers.clear()
        self._strangers |= strangers

    async def _look(self) -> bool:
        """Read what was added; False where there is no such topic, so that nobody of ours can have written there yet."""
        try:
            start, end = await log_bounds(self._source, IDENTITIES)
            async for part in scan(self._source, IDENTITIES, max(start, self._at), end):
                await asyncio.to_thread(self._feed, part.records, part.fetch_offset, end)
        except PermissionMissing as missing:
            if self._on_blind is None:
                raise
            self._blind = True
            self._on_blind(missing)
            return False
        except BrokerRefused as refused:
            if refused.kafka_code is KafkaCode.UNKNOWN_TOPIC_OR_PARTITION:
                return False
            raise
        self._at = max(self._at, end)
        return True

    def _feed(self, blob: memoryview, fetch_offset: int, end: int) -> None:
        try:
            for key, value in _keyed(blob, fetch_offset, end, self._scratch):
                producer = parse_producer(key)
                if producer is not None:
                    self._ours[producer] = value
        except KernelError as error:
            raise LogDamaged(f"{IDENTITIES} cannot be read behind offset {fetch_offset}: {error}") from error

    def _decoded(self, producer: int) -> Origin:
        try:
            return decode_origin(self._ours[producer])
        except MalformedData as error:
            raise OriginUnreadable(f"producer {producer} belongs to a Smart Connect task, but {error}") from error


def _keyed(blob: memoryview, fetch_offset: int, end: int, scratch: Scratch) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of every record that may be an `i/` record, whatever became of its transaction."""
    for batch in walk(blob, fetch_offset, ()):
        if batch.base_offset >= end:
            return
        if not verify_crc(blob, batch):
            raise LogDamaged(f"{IDENTITIES} has a wrong checksum at offset {batch.base_offset}")
        for section in (section for group in sections(blob, [batch], scratch) for section in group):
            if bytes(section.data).find(_NEEDLE) < 0:
                continue
            for record in records(section):
                if record.key is not None and record.value is not None and bytes(record.key).startswith(_NEEDLE):
                    yield bytes(record.key), bytes(record.value)


class Linked(Protocol):
    """What is needed of a partition: where it is read and where it is written."""

    @property
    def link(self) -> Link: ...


class ProducerLoops:
    """Judges the batches of one direction. `target_cluster`: the id of the cluster that we write to."""

    def __init__(self, origins: Origins, target_cluster: str) -> None:
        self._origins, self._target_cluster = origins, target_cluster

    async def judge(self, partition: Linked, rows: Sequence[Batch]) -> Callable[[int], bool] | None:
        """For the batches of one fetch answer: tells of a producer id whether copying its batches would bring them back to where they
        came from; None if that is so of none of them. Only batches with records are asked about: a marker may be older than the record
        that tells whose it is."""
        link, found = partition.link, await self._origins.of({row.producer_id for row in rows if row.kind is Kind.DATA})
        try:
            back = {
                producer
                for producer, origin in found.items()
                if origin.copies_back(link.source.topic, self._target_cluster, link.target.topic)
            }
        except MalformedData as error:
            raise OriginUnreadable(f"a producer belongs to a Smart Connect task, but {error}") from error
        return back.__contains__ if back else None
