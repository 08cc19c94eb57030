"""What stories of one unit have in common: looking at a partition's row, at a side's records, and waiting for both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from smartconnect.domain.errors import Retryable
from smartconnect.domain.progress import PartitionProgress
from smartconnect.engine.unit import StopCause, StopSignal
from smartconnect.jobs.kafka_replication.runner import ReplicationRunner
from tests.support.mirror import Content, Side, content
from tests.support.replication_unit import UnitUnderTest
from tests.support.waiting import eventually


def row_of(runner: ReplicationRunner, topic: str, partition: int = 0) -> PartitionProgress:
    """The partition's row of progress."""
    found = [row for row in runner.progress().partitions if (row.topic, row.partition) == (topic, partition)]
    assert len(found) == 1, f"{len(found)} rows of {topic}-{partition}"
    return found[0]


async def blocked(runner: ReplicationRunner, topic: str, code: str, partition: int = 0, within_s: float = 60) -> PartitionProgress:
    """Until the partition stands still for this reason."""

    def is_blocked() -> PartitionProgress | None:
        row = row_of(runner, topic, partition)
        return row if row.reason is not None and row.reason.code == code else None

    found: PartitionProgress = await eventually(is_blocked, within_s, what=f"{topic}-{partition} is blocked: {code}")
    return found


async def contents(side: Side, partition: int = 0) -> list[Content]:
    """What a read_committed reader sees of a partition."""
    return [content(record) for record in (await side.read()).get(partition, [])]


async def eventually_holds(side: Side, wanted: Sequence[Content], partition: int = 0, within_s: float = 60) -> None:
    """Until the partition has exactly these records; fails early where it has one too many."""

    async def holds() -> bool:
        found = await contents(side, partition)
        assert len(found) == len(wanted), f"{len(found)} records, {len(wanted)} wanted"
        return found == list(wanted)

    await eventually(holds, within_s, what=f"{side.topic}-{partition} holds {len(wanted)} records", poll_s=0.2)


async def delete_records(servers: str, topic: str, before: int, partition: int = 0) -> None:
    """The log begins at `before` now."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    for future in admin.delete_records([TopicPartition(topic, partition, before)]).values():
        await asyncio.to_thread(future.result, 30)


@asynccontextmanager
async def supervised(unit: UnitUnderTest) -> AsyncIterator[Callable[[], ReplicationRunner]]:
    """The unit, run again when it ends with something that waiting may cure, as the engine does. Gives whoever runs now; leaving drains."""
    stop, now = StopSignal(), unit.runner()

    async def live() -> None:
        nonlocal now
        while not stop.is_set():
            try:
                await now.run(stop)
            except Retryable:
                now = unit.runner()

    life = asyncio.create_task(live())
    try:
        yield lambda: now
    finally:
        stop.set(StopCause.PAUSE)
        await life
