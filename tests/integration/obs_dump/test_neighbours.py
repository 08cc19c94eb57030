"""Nobody starves another: with one of 18 tasks broken the others keep at least 90 % of their rate (architecture.md §8.7, obs-dump.md
§12.11).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.conftest import MakeTopic
from tests.integration.obs_dump.stories import drained_at, published, steady_load, trouble
from tests.support.bucket import count_bucket
from tests.support.records import RecordWriter, WriterOptions
from tests.support.service import Dump, Service
from tests.support.waiting import eventually

TASKS = 18
FLUSH_SIZE = 50
WINDOW_S = 8.0


async def test_with_the_keys_of_one_of_eighteen_tasks_revoked_the_others_keep_nine_tenths_of_their_rate(
    service: Service, kafka: KafkaCluster, s3: S3Server, bucket: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic(partitions=2)
    writer = RecordWriter(kafka.bootstrap_servers, topic, 2, WriterOptions(codec="lz4", value_size=500))
    somebody = await s3.add_account()
    await s3.give_bucket(bucket, somebody)
    keys = {"access_key": somebody.access_key, "secret_key": somebody.secret_key}
    common: dict[str, Any] = {"topics": topic, "flush_size": FLUSH_SIZE, "task_num": 1}
    unlucky = await service.create_dump("unlucky-dump", bucket, obs_path="unlucky", **common, **keys)
    others = await asyncio.gather(
        *(service.create_dump(f"lucky-dump-{number}", bucket, obs_path=f"lucky-{number}", **common) for number in range(TASKS - 1))
    )
    async with steady_load(writer, 10):
        await eventually(lambda: _all_move([unlucky, *others]), 60, what="all tasks deliver", poll_s=0.25)
        before = await _rate(others)
        await s3.revoke(somebody)
        await eventually(lambda: trouble(unlucky), 40, what="the task says that its keys are refused")
        after = await _rate(others)
    assert after >= 0.9 * before, f"{before:.0f} records/s before, {after:.0f} after"
    assert await trouble(unlucky)
    await asyncio.gather(*(drained_at(dump, sum(writer.expected.values())) for dump in others))
    for number in range(len(others)):
        (await count_bucket(s3, bucket, writer.expected, prefix=f"lucky-{number}/")).assert_exactly_once()


async def _rate(dumps: Sequence[Dump]) -> float:
    """Visible records per second of all of them together, over at least `WINDOW_S`, by the times of their own reports."""
    first = [await _reported(dump) for dump in dumps]
    last: list[tuple[int, int]] = []

    async def over() -> bool:
        last[:] = [await _reported(dump) for dump in dumps]
        return all(end - start >= WINDOW_S * 1000 for (start, _), (end, _) in zip(first, last, strict=True))

    await eventually(over, 4 * WINDOW_S, what=f"every task has reported for {WINDOW_S:g} s", poll_s=0.25)
    return sum(1000 * (after - before) / (end - start) for (start, before), (end, after) in zip(first, last, strict=True))


async def _reported(dump: Dump) -> tuple[int, int]:
    """When the dump's only unit reported last (ms), and how many records were visible then."""
    progress = await dump.progress()
    return int(progress["units"][0]["reported_at"]), int(progress["counters"]["records_out"])


async def _all_move(dumps: Sequence[Dump]) -> bool:
    return all([await published(dump) for dump in dumps])
