"""Whatever a log holds, `read_committed(source) == read_committed(target)` (kafka-replication.md §15.1): random logs, really compacted,
with open transactions, copied under every option that decides about batches; and each rule of §3 has decided at least once over all of
them (but for those that no log of this broker can reach: batches of before 2017, loops, refusals, which have tests of their own).

The seed is printed; `SMARTCONNECT_CHAOS_SEED` plays it again. `make chaos` takes new seeds."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from smartconnect.domain.kafka_replication_spec import Delivery, ReplicationOptions, Timestamps
from smartconnect.jobs.kafka_replication.rules import _FATES as ALL_RULES
from smartconnect.jobs.kafka_replication.runner import ReplicationRunner
from smartconnect.kafka.admin import Resource, ResourceKind, incremental_alter_configs
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.log_scan import log_bounds, scan
from smartconnect.kafka.offsets import LATEST, READ_COMMITTED, list_offsets
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import Batch, Kind, walk
from smartconnect.kernels.forward import PROVENANCE
from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions, kafka_cluster
from tests.support.mirror import Content, content
from tests.support.random_log import RandomLog, Shape
from tests.support.records import Record, read_topic
from tests.support.replication_unit import MemoryLedger, UnitUnderTest, spec_of
from tests.support.services import Names, shared
from tests.support.topics import create_topic
from tests.support.waiting import eventually

PARTITIONS = 2
SEEDS = (20_260_708,)
LONG_ROUNDS = 12
COMPACTED = {
    "cleanup.policy": "compact",
    "segment.ms": "500",
    "min.cleanable.dirty.ratio": "0.01",
    "max.compaction.lag.ms": "200",
}
UNREACHABLE = {"legacy", "behind", "looped", "refused"}
SMALL = 100_000


@pytest.fixture(scope="module")
def source() -> Iterator[KafkaCluster]:
    """A Kafka whose cleaner does not rest."""
    with shared(kafka_cluster(KafkaOptions(properties={"log.cleaner.backoff.ms": "100"}))) as cluster:
        yield cluster


@dataclass(frozen=True, slots=True)
class Variant:
    """One task over the same logs. `inside`: it starts somewhere inside of the log, as with `latest`; `small`: the target's topics are
    somebody else's and take only small batches, and the topic of large records is left out."""

    name: str
    options: ReplicationOptions = field(default_factory=ReplicationOptions)
    compression: str | None = None
    provenance: bool = False
    inside: bool = False
    small: bool = False


EXACTLY = ReplicationOptions(refresh_interval_s=0.5)
AT_LEAST = replace(EXACTLY, delivery=Delivery.AT_LEAST_ONCE)
VARIANTS = (
    Variant("as-it-is", EXACTLY),
    Variant("zstd", EXACTLY, compression="zstd", inside=True),
    Variant("header", AT_LEAST, provenance=True),
    Variant("times", replace(AT_LEAST, timestamps=Timestamps.PRODUCER), inside=True),
    Variant("small", EXACTLY, small=True),
    Variant("bare", AT_LEAST, compression="none", inside=True),
)


@dataclass(slots=True)
class Logs:
    """The topics of one round on the source."""

    servers: str
    base: str
    hits: Counter[str] = field(default_factory=Counter)

    @property
    def plain(self) -> str:
        return f"{self.base}.plain"

    @property
    def appended(self) -> str:
        return f"{self.base}.appended"

    @property
    def compacted(self) -> str:
        return f"{self.base}.compacted"

    @property
    def large(self) -> str:
        return f"{self.base}.large"


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_readers_of_the_source_see_is_what_readers_of_the_target_see(
    seed: int, kafka: KafkaCluster, source: KafkaCluster, names: Names
) -> None:
    hits = await _round(int(os.environ.get("SMARTCONNECT_CHAOS_SEED") or seed), kafka, source, names.base)
    assert set(ALL_RULES) - UNREACHABLE <= set(hits), f"no batch met {set(ALL_RULES) - UNREACHABLE - set(hits)}"


@pytest.mark.long
async def test_the_same_with_many_new_seeds(kafka: KafkaCluster, source: KafkaCluster, names: Names) -> None:
    for number in range(LONG_ROUNDS):
        await _round(secrets.randbits(32), kafka, source, f"{names.base}-{number}")


async def _round(seed: int, kafka: KafkaCluster, source: KafkaCluster, base: str) -> Counter[str]:
    """One set of logs, copied by every variant; then what was open on the source ends, and all of them go on."""
    print(f"seed {seed}")
    draw, logs = random.Random(seed), Logs(source.bootstrap_servers, base)
    await _make_compacted(logs, draw)
    await _create(logs)
    await asyncio.to_thread(_write, logs, draw)
    plain = RandomLog(logs.servers, logs.plain, draw, Shape(), _now_ms())
    await plain.write_by_hand(1)
    transaction = await asyncio.to_thread(plain.write_open, 0, 4)
    units = [await _unit(variant, logs, kafka, draw) for variant in VARIANTS]
    await _copy_all(units, logs)
    await asyncio.to_thread(transaction.commit_transaction, 60)
    await asyncio.to_thread(plain.write, 0, 5)
    await _copy_all(units, logs)
    print(dict(logs.hits))
    return logs.hits


# -- the source


async def _create(logs: Logs) -> None:
    room = {"max.message.bytes": "2000000"}
    await create_topic(logs.servers, logs.plain, partitions=PARTITIONS, config=room)
    await create_topic(logs.servers, logs.large, partitions=PARTITIONS, config=room)
    appended = room | {"message.timestamp.type": "LogAppendTime"}
    await create_topic(logs.servers, logs.appended, partitions=PARTITIONS, config=appended)


def _write(logs: Logs, draw: random.Random) -> None:
    started = _now_ms() - 1_000_000
    plain = RandomLog(logs.servers, logs.plain, draw, Shape(largest=5000), started)
    plain.write_small(1, 1500, 1000)
    wide = RandomLog(logs.servers, logs.plain, draw, Shape(largest=50_000), started)
    appended = RandomLog(logs.servers, logs.appended, draw, Shape(), started)
    large = RandomLog(logs.servers, logs.large, draw, Shape(largest=1 << 20, most_records=1), started)
    for partition in range(PARTITIONS):
        plain.write(partition, 10)
        wide.write(partition, 5)
        appended.write(partition, 10)
        large.write(partition, 5)


async def _make_compacted(logs: Logs, draw: random.Random) -> None:
    """A topic that the cleaner has been through: with gaps, and with batches of which nothing is left. It stays as it is then."""
    await create_topic(logs.servers, logs.compacted, partitions=PARTITIONS, config=COMPACTED)
    log = RandomLog(logs.servers, logs.compacted, draw, Shape(keys=30, largest=500, step_ms=1000), _now_ms() - 1_000_000)
    for partition in range(PARTITIONS):
        await asyncio.to_thread(log.write, partition, 40)

    async def cleaned() -> bool:
        await asyncio.to_thread(log.write, 0, 1)  # the segment that is written to is never cleaned
        rows = await _batches(logs, TopicPartition(logs.compacted, 0))
        gaps = sum(row.kind is Kind.DATA and row.count < row.last_offset - row.base_offset + 1 for row in rows)
        assert gaps > 1 and any(row.kind is Kind.EMPTY for row in rows), f"{gaps} batches with gaps of {len(rows)}"
        return True

    await eventually(cleaned, 60, what="the cleaner has been through", poll_s=0.2)
    async with Cluster(logs.servers, KafkaSecurity(), client_id="tests") as cluster:
        resource = Resource(ResourceKind.TOPIC, logs.compacted)
        kept: Mapping[str, str | None] = {"cleanup.policy": "delete", "retention.ms": "-1", "segment.ms": None}
        assert await incremental_alter_configs(cluster, {resource: kept}) == {resource: None}
    before: list[Batch] = []

    async def stands_still() -> bool:
        nonlocal before
        last, before = before, await _batches(logs, TopicPartition(logs.compacted, 0))
        return before == last

    await eventually(stands_still, 30, what="the cleaner leaves it alone", poll_s=0.25)


async def _batches(logs: Logs, tp: TopicPartition) -> list[Batch]:
    """Every batch of a partition, without its place in an answer."""
    rows: list[Batch] = []
    async with Cluster(logs.servers, KafkaSecurity(), client_id="tests") as cluster:
        start, end = await log_bounds(cluster, tp)
        async for part in scan(cluster, tp, start, end):
            rows += walk(part.records, part.fetch_offset, ())
    return [row._replace(start=0, end=0, records_start=0) for row in rows]


def _now_ms() -> int:
    return int(time.time() * 1000)


# -- the copies


async def _unit(variant: Variant, logs: Logs, kafka: KafkaCluster, draw: random.Random) -> UnitUnderTest:
    topics = [logs.plain, logs.appended, logs.compacted, *(() if variant.small else (logs.large,))]
    spec = replace(
        spec_of(logs.servers, topics, variant.options),
        peer_alias=variant.name,
        rename=True,
        compression=variant.compression,
        provenance_header=variant.provenance,
    )
    starts: dict[tuple[str, int], int] = {}
    if variant.inside:
        async with Cluster(logs.servers, KafkaSecurity(), client_id="tests") as cluster:
            tps = [TopicPartition(topic, partition) for topic in topics for partition in range(PARTITIONS)]
            ends = await list_offsets(cluster, dict.fromkeys(tps, LATEST), READ_COMMITTED)
        starts = {(tp.topic, tp.partition): draw.randrange(ends[tp].offset) for tp in tps}
    if variant.small:
        for topic in topics:
            config = {"max.message.bytes": str(SMALL)}
            await create_topic(kafka.bootstrap_servers, f"{variant.name}.{topic}", partitions=PARTITIONS, config=config)
    return UnitUnderTest(kafka.bootstrap_servers, spec, ledger=MemoryLedger(starts_of=starts))


async def _copy_all(units: Sequence[UnitUnderTest], logs: Logs) -> None:
    seen = {topic: await read_topic(logs.servers, topic) for topic in units[0].spec.topics}
    for variant, unit in zip(VARIANTS, units, strict=True):
        wanted = {topic: _wanted(variant, unit, topic, seen[topic]) for topic in unit.spec.topics}
        await _copy(variant, unit, wanted, logs)


async def _copy(variant: Variant, unit: UnitUnderTest, wanted: Mapping[str, dict[int, list[Content]]], logs: Logs) -> None:
    """One incarnation, until the target is what it should be."""
    async with unit.running() as runner:
        for topic, records in wanted.items():
            await _eventually_equal(variant, unit, topic, records)
        assert [row.reason for row in runner.progress().partitions if row.reason is not None] == []
        logs.hits.update(_hits(runner))
    assert set(unit.ledger.codes) <= {"target_topic_unfit"}


def _hits(runner: ReplicationRunner) -> Counter[str]:
    intake = runner._meter._intake
    assert intake is not None
    return intake.hits


def _wanted(variant: Variant, unit: UnitUnderTest, topic: str, seen: dict[int, list[Record]]) -> dict[int, list[Content]]:
    """What the target has to hold: the source's records from the start on, with the times that the variant asks for."""
    producers_times = variant.options.timestamps is Timestamps.PRODUCER and topic.endswith(".appended")
    starts = unit.ledger.starts_of
    return {
        partition: [
            _with_producers_time(record) if producers_times else content(record)
            for record in records
            if record.offset >= starts.get((topic, partition), 0)
        ]
        for partition, records in seen.items()
    }


def _with_producers_time(record: Record) -> Content:
    (told,) = [value for name, value in record.headers[-1:] if name == "t"]
    assert told is not None
    return content(record)._replace(timestamp_ms=int(told))


async def _eventually_equal(variant: Variant, unit: UnitUnderTest, topic: str, wanted: dict[int, list[Content]]) -> None:
    async def equal() -> bool:
        read = await read_topic(unit.current_servers, f"{variant.name}.{topic}", client={"check.crcs": "true"})
        for partition, records in wanted.items():
            _assert_equal(partition, records, [content(record, {PROVENANCE.decode()}) for record in read.get(partition, [])])
        if variant.provenance:
            headers = [[name for name, _ in record.headers] for records in read.values() for record in records]
            assert {names.count(PROVENANCE.decode()) for names in headers} <= {1}, "each copy says once where it came from"
        return True

    await eventually(equal, 60, what=f"{variant.name}: {topic} is copied", poll_s=0.2)


def _assert_equal(partition: int, wanted: list[Content], copied: list[Content]) -> None:
    assert len(copied) == len(wanted), f"{len(copied)} records in partition {partition}, {len(wanted)} wanted"
    for number, (ours, theirs) in enumerate(zip(wanted, copied, strict=True)):
        assert ours == theirs, f"record {number} of partition {partition}: {_short(ours)} became {_short(theirs)}"


def _short(record: Content) -> str:
    value = record.value if record.value is None else (len(record.value), record.value[:20])
    return f"key {record.key!r}, value {value!r}, headers {record.headers!r:.200}, at {record.timestamp_ms}"
