"""A dump comes to rest as soon as nothing is left that it can do, not only when its time is up (obs-dump.md §5)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.integration.obs_dump.story import CONTINUE, Story
from tests.support.s3_answers import NO_SUCH_UPLOAD, Answer, error
from tests.support.s3_operations import Operation
from tests.support.s3_proxy import S3Proxy
from tests.support.services import Names
from tests.support.topics import create_topic
from tests.support.waiting import eventually


@pytest.mark.parametrize("answer", [NO_SUCH_UPLOAD, error(400, "InvalidRequest")], ids=["gone", "refused"])
async def test_a_drain_does_not_wait_for_an_upload_that_was_lost(
    answer: Answer, kafka: KafkaCluster, s3: S3Server, proxied_s3: S3Proxy, bucket: str, names: Names
) -> None:
    await create_topic(kafka.bootstrap_servers, names.topic("orders"), partitions=2)
    story = Story(kafka, s3, bucket, names.topic("orders"))
    unit = story.unit(replace(CONTINUE, drain_timeout_s=300), writes=proxied_s3.endpoint)
    unit.spec = replace(unit.spec, deliver_time_interval_s=300, flush_size=1000)
    refused = proxied_s3.refuse(Operation.UPLOAD_PART, answer, count=None)
    await story.writer.write(100)
    async with asyncio.timeout(60), unit.running() as runner:
        await eventually(lambda: runner.progress().counters.get("records_in") == 200, 60, what="both objects are open")
    assert len(unit.ledger.events) == 2, "of each lost upload"
    assert await story.committed(unit) == {0: 0, 1: 0}
    refused.remove()
    async with unit.running() as runner:
        await eventually(lambda: runner.progress().counters.get("records_in") == 400, 60, what="both are read again")
    await story.holds(story.writer.expected)
