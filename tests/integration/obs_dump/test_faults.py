"""A dump in trouble, as its user sees it: it shows what hinders it, others go on, and once the cause is gone nothing is lost or twice."""

from __future__ import annotations

from pathlib import Path

from smartconnect.sandbox.kafka import KafkaCluster, kafka_cluster
from smartconnect.sandbox.s3 import S3Server
from tests.conftest import MakeTopic
from tests.integration.obs_dump.stories import delivered, trouble
from tests.support.bucket import count_bucket, left_uploads
from tests.support.records import RecordWriter, WriterOptions
from tests.support.s3_proxy import S3Proxy
from tests.support.service import Dump, Service, ServiceOptions, running_service
from tests.support.topics import create_topic
from tests.support.waiting import eventually

_FLUSH_SIZE = 100


async def test_revoked_keys_are_shown_and_cured_by_modify_while_another_task_goes_on(
    service: Service, kafka: KafkaCluster, s3: S3Server, bucket: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic(partitions=2)
    writer = RecordWriter(kafka.bootstrap_servers, topic, 2)
    somebody = await s3.add_account()
    await s3.give_bucket(bucket, somebody)
    keys = {"access_key": somebody.access_key, "secret_key": somebody.secret_key}
    unlucky = await service.create_dump("unlucky-dump", bucket, topics=topic, flush_size=_FLUSH_SIZE, **keys)
    lucky = await service.create_dump("lucky-dump", bucket, topics=topic, flush_size=_FLUSH_SIZE, obs_path="other")
    await writer.write(_FLUSH_SIZE * 2)
    await delivered(unlucky, 2 * 2 * _FLUSH_SIZE)
    await s3.revoke(somebody)
    await writer.write(_FLUSH_SIZE * 2)
    await delivered(lucky, 2 * 4 * _FLUSH_SIZE)
    reason = await eventually(lambda: trouble(unlucky), 30, what="the task says that its keys are refused")
    assert somebody.secret_key not in str(reason)
    assert (await unlucky.show())["status"] == "RUNNING"
    assert (await lucky.progress())["health"] == "ok"
    await unlucky.modify(sink_task={"access_key": s3.access_key, "secret_key": s3.secret_key})
    await delivered(unlucky, 2 * 4 * _FLUSH_SIZE, within_s=20)
    for dump, prefix in ((unlucky, "dump/"), (lucky, "other/")):
        await dump.drained()
        (await count_bucket(s3, bucket, writer.expected, prefix=prefix)).assert_exactly_once()
    assert await left_uploads(s3, bucket) == []


async def test_a_store_that_is_away_for_a_while_costs_nothing_but_time(
    tmp_path: Path, kafka: KafkaCluster, s3: S3Server, proxied_s3: S3Proxy, bucket: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic(partitions=2)
    writer = RecordWriter(kafka.bootstrap_servers, topic, 2)
    async with running_service(tmp_path, ServiceOptions(kafka.bootstrap_servers, s3, endpoint=proxied_s3.endpoint)) as service:
        dump = await service.create_dump("patient-dump", bucket, topics=topic, flush_size=_FLUSH_SIZE)
        await writer.write(_FLUSH_SIZE)
        await delivered(dump, 2 * _FLUSH_SIZE)
        proxied_s3.cut()
        await writer.write(_FLUSH_SIZE * 3)
        assert (await eventually(lambda: trouble(dump), 30, what="the task says that the store is away"))["code"]
        await eventually(lambda: _tried(dump, 6), 60, what="the store was asked again and again")
        proxied_s3.heal()
        await delivered(dump, 2 * 4 * _FLUSH_SIZE)
        await dump.drained()
    (await count_bucket(s3, bucket, writer.expected)).assert_exactly_once()
    assert await left_uploads(s3, bucket) == []


async def test_a_broker_that_is_killed_and_started_again_loses_and_doubles_nothing(
    tmp_path: Path, s3: S3Server, bucket: str
) -> None:
    async with kafka_cluster() as cluster:
        await create_topic(cluster.bootstrap_servers, "orders", partitions=2)
        writer = RecordWriter(cluster.bootstrap_servers, "orders", 2, WriterOptions(codec="lz4"))
        async with running_service(tmp_path, ServiceOptions(cluster.bootstrap_servers, s3)) as service:
            dump = await service.create_dump("broker-dump", bucket, topics="orders", flush_size=_FLUSH_SIZE)
            await writer.write(_FLUSH_SIZE * 20)
            await delivered(dump, 2 * _FLUSH_SIZE)
            await cluster.kill()
            await cluster.start()
            await writer.write(_FLUSH_SIZE * 5)
            await delivered(dump, 2 * 25 * _FLUSH_SIZE)
            await dump.drained()
    (await count_bucket(s3, bucket, writer.expected)).assert_exactly_once()
    assert await left_uploads(s3, bucket) == []


async def _tried(dump: Dump, times: int) -> bool:
    reason = await trouble(dump)
    return reason is not None and int(str(reason["attempts"])) >= times
