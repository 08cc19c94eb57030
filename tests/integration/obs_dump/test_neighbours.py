"""Nobody starves another: with one of 18 tasks broken the others keep at least 90 % of their rate (architecture.md §8.7, obs-dump.md
§12.11). What is written is little enough for all of them on a slow machine too, so whoever falls behind was kept from its work.
"""

from __future__ import annotations

from typing import Any

from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.conftest import MakeTopic
from tests.integration.obs_dump.stories import drained_at, steady_load, trouble
from tests.support.bucket import count_bucket
from tests.support.records import RecordWriter, WriterOptions
from tests.support.service import Service
from tests.support.waiting import eventually

OTHERS = 17
FLUSH_SIZE = 100
WRITTEN = 2000
LOAD = 5


async def test_with_the_keys_of_one_of_eighteen_tasks_revoked_the_others_keep_nine_tenths_of_their_rate(
    service: Service, kafka: KafkaCluster, s3: S3Server, bucket: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    writer = RecordWriter(kafka.bootstrap_servers, topic, 1, WriterOptions(value_size=500))
    somebody = await s3.add_account()
    await s3.give_bucket(bucket, somebody)
    common: dict[str, Any] = {"topics": topic, "flush_size": FLUSH_SIZE, "task_num": 1}
    keys = {"access_key": somebody.access_key, "secret_key": somebody.secret_key}
    unlucky = await service.create_dump("unlucky-dump", bucket, obs_path="unlucky", **common, **keys)
    others = [await service.create_dump(f"other-dump-{n}", bucket, obs_path=f"other-{n}", **common) for n in range(OTHERS)]

    def written() -> int:
        return sum(writer.expected.values())

    def visible() -> list[int]:
        """Records in the bucket now, for each of the others: their objects are cut by count alone."""
        folders = [s3.buckets / bucket / f"other-{number}" for number in range(OTHERS)]
        return [FLUSH_SIZE * sum(path.is_file() for path in folder.rglob("*")) for folder in folders]

    async with steady_load(writer, LOAD):
        await eventually(lambda: min(visible()) > written() - 2 * FLUSH_SIZE > 0, 60, what="all keep up", poll_s=0.2)
        await s3.revoke(somebody)
        await eventually(lambda: trouble(unlucky), 40, what="the task says that its keys are refused", poll_s=0.2)
        before, until = visible(), written() + WRITTEN
        await eventually(lambda: written() >= until, 90, what=f"{WRITTEN} more records are written", poll_s=0.2)
        moved = [end - start for start, end in zip(before, visible(), strict=True)]
    assert min(moved) >= 0.9 * WRITTEN - FLUSH_SIZE, (
        f"of {WRITTEN} records the others moved {moved}"
    )  # one object may be on its way
    assert await trouble(unlucky)
    for dump in others:  # all at once, their writes could wait longer for a slow disk than the registry's time-out
        await drained_at(dump, written())
    for number in range(OTHERS):
        (await count_bucket(s3, bucket, writer.expected, prefix=f"other-{number}/")).assert_exactly_once()
