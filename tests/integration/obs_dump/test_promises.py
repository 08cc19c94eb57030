"""What one commit has promised the next one promises too, until it is visible: its owner may die before that (obs-dump.md §3)."""

from __future__ import annotations

from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.integration.obs_dump.story import Story
from tests.support.s3_operations import Operation
from tests.support.s3_proxy import S3Proxy
from tests.support.services import Names
from tests.support.topics import create_topic
from tests.support.waiting import eventually


async def test_objects_of_several_commits_that_nobody_completed_all_appear_after_a_death(
    kafka: KafkaCluster, s3: S3Server, proxied_s3: S3Proxy, bucket: str, names: Names
) -> None:
    await create_topic(kafka.bootstrap_servers, names.topic("orders"), partitions=2)
    story = Story(kafka, s3, bucket, names.topic("orders"))
    unit = story.unit(writes=proxied_s3.endpoint)
    completes = proxied_s3.hold_request(Operation.COMPLETE_MULTIPART_UPLOAD, count=None)

    async def committed(count: int) -> None:
        async def are() -> bool:
            return await story.committed(unit) == {0: count, 1: count}

        await eventually(are, 60, what=f"the positions are {count}")

    async with unit.killed():
        for count in (100, 200, 300):
            await story.writer.write(100)
            await committed(count)
        await completes.reached(2, 60)
    proxied_s3.forget_rules()
    async with unit.running():
        await story.holds(story.writer.expected)
    await story.is_tidy()
