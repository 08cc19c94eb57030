"""Uploads that were promised and not completed when the task was changed: whoever owns the unit next finishes them, whatever became of
the topic and of the run that they belong to (obs-dump.md §1.5, §10 restart, §12.9).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.conftest import MakeTopic
from tests.integration.cli.running import Cli
from tests.integration.obs_dump.stories import drained_at
from tests.support.bucket import left_uploads, read_objects
from tests.support.groups import committed_offsets
from tests.support.ids import count_ids
from tests.support.records import RecordWriter, WriterOptions
from tests.support.s3_operations import Operation
from tests.support.s3_proxy import S3Proxy
from tests.support.service import Dump, Service, ServiceOptions, running_service
from tests.support.waiting import eventually

FLUSH_SIZE = 100


@pytest.fixture
async def service(tmp_path: Path, kafka: KafkaCluster, s3: S3Server, proxied_s3: S3Proxy) -> AsyncIterator[Service]:
    async with running_service(tmp_path, ServiceOptions(kafka.bootstrap_servers, s3, endpoint=proxied_s3.endpoint)) as running:
        yield running


async def test_what_was_promised_before_a_topic_left_and_before_two_restarts_is_all_finished(
    service: Service, kafka: KafkaCluster, s3: S3Server, proxied_s3: S3Proxy, bucket: str, make_topic: MakeTopic
) -> None:
    stays, leaves = await make_topic("stays"), await make_topic("leaves")
    writers = [RecordWriter(kafka.bootstrap_servers, topic, 1, WriterOptions(tag=topic[-5:])) for topic in (stays, leaves)]
    gate = proxied_s3.hold_request(Operation.COMPLETE_MULTIPART_UPLOAD, count=None)
    dump = await service.create_dump(
        "unfinished-dump", bucket, topics=f"{stays},{leaves}", flush_size=FLUSH_SIZE, options={"drain_timeout_s": 1}
    )
    for writer in writers:
        await writer.write(2 * FLUSH_SIZE)
    group = f"smartconnect.{dump.id}.r1"

    async def promised() -> bool:
        return await committed_offsets(kafka.bootstrap_servers, group) == [2 * FLUSH_SIZE] * 2

    await eventually(promised, 60, what="two objects of each topic are promised")
    assert await read_objects(s3, bucket) == []

    await dump.modify(topics=stays)
    await dump.act("restart")
    await dump.act("restart")
    await eventually(lambda: _moves_in_run(dump, 3), 60, what="the third run has begun")
    gate.release()
    await drained_at(dump, 2 * FLUSH_SIZE)

    assert await left_uploads(s3, bucket) == []
    first = [stored for stored in await read_objects(s3, bucket) if stored.metadata["sc-run"] == "1"]
    expected = {source: count for writer in writers for source, count in writer.expected.items()}
    count_ids([stored.values() for stored in first], expected).assert_exactly_once()
    verified = await Cli(service.folder / "smart-connect.toml", in_process=True)("verify", "unfinished-dump", "--json")
    assert verified.assert_fine().json()["summary"]["wrong"] == 0


async def _moves_in_run(dump: Dump, run: int) -> bool:
    """Whether each unit has an owner in this run; they may still be finishing what they found."""
    progress = await dump.progress()
    return progress["run"] == run and all(unit["state"] in ("starting", "running") for unit in progress["units"])
