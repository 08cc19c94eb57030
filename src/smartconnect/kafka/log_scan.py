"""One partition's log read once, from an offset up to an end that is known: for topics of our own that are small.

Guarantees: every batch that the log still holds in [start, end) is given once, in order, whatever transactions it belongs to (isolation 0);
it ends also where compaction left nothing before the end. A leader that moves is followed for the cluster's patience; a log that was cut
below the end is an error, never a short answer. One answer of at most `max_bytes` is held at a time. The topic is asked for by name: nobody
but us makes it. For continuous reading there is `fetcher`. Used by the replication's positions and producer ids."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from smartconnect.kafka import messages
from smartconnect.kafka.batch import extent
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import LEADER_MOVED, RETRIABLE, KafkaCode, failure
from smartconnect.kafka.errors import refusal
from smartconnect.kafka.fetch_codec import (
    LAST_BY_NAME,
    FetchQuestion,
    PartitionAnswer,
    TopicRef,
    Wanted,
    decode_fetch,
    encode_fetch,
)
from smartconnect.kafka.offsets import EARLIEST, LATEST, READ_UNCOMMITTED, list_offsets
from smartconnect.kafka.timing import TryAgain
from smartconnect.kafka.types import TopicPartition

_LANE: Final = "scan"
_NO_SESSION: Final = (0, -1)


@dataclass(frozen=True, slots=True)
class LogSlice:
    """Whole batches; the first may begin before `fetch_offset`, the last may end beyond the scan's end."""

    fetch_offset: int
    records: memoryview


async def log_bounds(cluster: Cluster, tp: TopicPartition) -> tuple[int, int]:
    """(log start, high watermark). Not the last stable offset: an open transaction of anybody would hold that back. A leader just elected
    that does not know its high watermark yet is asked again (OFFSET_NOT_AVAILABLE)."""
    found = []
    for time in (EARLIEST, LATEST):
        listed = (await list_offsets(cluster, {tp: time}, READ_UNCOMMITTED))[tp]
        if listed.error is not None:
            raise refusal(f"tell where {tp} begins and ends", listed.error)
        found.append(listed.offset)
    return found[0], found[1]


async def scan(cluster: Cluster, tp: TopicPartition, start: int, end: int, *, max_bytes: int = 1 << 20) -> AsyncIterator[LogSlice]:
    """The batches with offsets in [start, end)."""
    at = start
    while at < end:
        answer = await _fetch(cluster, tp, at, end, max_bytes)
        found = extent(answer.records)
        if not found.end and answer.records:
            raise refusal(f"read {tp} at offset {at}", KafkaCode.CORRUPT_MESSAGE)
        if not found.end:
            return
        yield LogSlice(at, answer.records[: found.end])
        at = found.next_offset


async def _fetch(cluster: Cluster, tp: TopicPartition, at: int, end: int, max_bytes: int) -> PartitionAnswer:
    """One answer: with records, or empty where the log holds nothing in [at, end)."""
    doing = f"read {tp} at offset {at}"

    async def attempt() -> PartitionAnswer:
        leader = (await cluster.leaders_of([tp])).get(tp)
        if leader is None:
            raise _again(cluster, tp, doing, KafkaCode.LEADER_NOT_AVAILABLE)
        connection = await cluster.connection(leader[0], _LANE)
        version = min(connection.version(messages.FETCH), LAST_BY_NAME)
        question = FetchQuestion(0, 0, max_bytes, READ_UNCOMMITTED, *_NO_SESSION, "")
        wanted = [(TopicRef(tp.topic), [Wanted(tp.partition, leader[1], at, max_bytes)])]
        request = encode_fetch(version, question, wanted, {})
        answer = decode_fetch(version, await connection.exchange(messages.FETCH, version, [request]), {})
        connection.throttle(answer.throttle_ms / 1000)
        part = next((part for part in answer.partitions if (part.topic, part.partition) == tp), None)
        code = failure(answer.error) or (KafkaCode.UNKNOWN_SERVER_ERROR if part is None else failure(part.error))
        if code is not None and (code in RETRIABLE or code is KafkaCode.UNKNOWN_SERVER_ERROR):
            raise _again(cluster, tp, doing, code)
        if code is not None:
            raise refusal(doing, code)
        assert part is not None
        if not part.records and part.high_watermark < end:
            raise _again(cluster, tp, f"read {tp} up to offset {end}", KafkaCode.OFFSET_NOT_AVAILABLE)
        return part

    return await cluster.persist(attempt)


def _again(cluster: Cluster, tp: TopicPartition, doing: str, code: KafkaCode) -> TryAgain:
    if code in LEADER_MOVED:
        cluster.leaders.invalidate([tp.topic])
    return TryAgain(doing, code)
