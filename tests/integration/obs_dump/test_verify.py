"""`verify` on a real bucket: quiet where all is right, and finding an object deleted, doubled, altered, foreign (obs-dump.md §12.12)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.conftest import MakeTopic
from tests.integration.cli.running import Cli, Said, SigningService
from tests.support.bucket import read_objects, s3_client
from tests.support.records import Outcome, RecordWriter, WriterOptions
from tests.support.service import Dump
from tests.support.waiting import eventually

Dumped = Callable[..., Awaitable[Dump]]


@pytest.fixture
def dumped(running: SigningService, kafka: KafkaCluster, bucket: str, make_topic: MakeTopic) -> Dumped:
    """A paused dump of two partitions with several objects each, some records of which come from transactions."""

    async def dump(name: str, **sink: object) -> Dump:
        topic = await make_topic(partitions=2)
        writer = RecordWriter(kafka.bootstrap_servers, topic, 2, WriterOptions(codec="zstd", value_size=200, with_keys=True))
        await writer.write(500)
        await writer.write_transaction(50, Outcome.ABORT)
        await writer.write_transaction(250)
        task = await running.create_dump(name, bucket, topics=topic, flush_size=200, **sink)
        await eventually(lambda: _read(task, 1500), 60, what="all records were read")
        await task.drained()
        return task

    return dump


async def _read(task: Dump, count: int) -> bool:
    return bool((await task.progress())["counters"]["records_in"] >= count)


def kinds(said: Said) -> list[str]:
    """What was found, in order; the last line is the summary."""
    return [finding["kind"] for finding in said.lines()[:-1]]


async def test_a_right_bucket_is_found_right_to_the_last_byte(
    cli: Cli, here: Cli, dumped: Dumped, s3: S3Server, bucket: str
) -> None:
    await dumped("right-dump", store_keys=True, kv_delimiter="=>", record_delimiter=";")
    said = (await cli("verify", "right-dump", "--deep", "--json")).assert_fine()
    summary = said.json()["summary"]
    assert (summary["wrong"], summary["objects"], summary["compared"], summary["partitions"]) == (0, 8, 8, 2)
    assert summary["nbytes"] == sum(len(stored.body) for stored in await read_objects(s3, bucket))
    told = (await here("verify", "right-dump")).assert_fine().out
    assert told.startswith("right-dump: every record is there once (8 objects, ")
    (await here("verify", "right-dump", "--topic", "another")).assert_one_line("neither a position nor an object", "another")
    (await here("verify", "right-dump", "--last", "5")).assert_one_line("--last is for Kafka replications")


async def test_a_running_task_is_found_right_too(here: Cli, dumped: Dumped) -> None:
    task = await dumped("live-dump")
    await task.act("resume")
    await task.shows("RUNNING")
    assert (await here("verify", task.id, "--deep", "--json")).assert_fine().json()["summary"]["compared"] == 8
    await task.delete()


async def test_a_deleted_object_is_a_gap_wherever_it_was(here: Cli, dumped: Dumped, s3: S3Server, bucket: str) -> None:
    await dumped("deleted-dump")
    objects = [stored for stored in await read_objects(s3, bucket) if "+0+" in stored.key]
    victims = [objects[0], objects[2], objects[-1]]
    assert len(objects) == 4
    for victim in victims:
        s3_client(s3).delete_object(Bucket=bucket, Key=victim.key)
    said = (await here("verify", "deleted-dump", "--json")).assert_one_line("2 gap")
    gaps = said.lines()[:-1]
    assert {(gap["kind"], gap["partition"], gap["run"]) for gap in gaps} == {("gap", 0, 1)}
    ranges = [(str(gap["start"]), str(gap["end"])) for gap in gaps]
    assert ranges[0] == (victims[0].metadata["sc-start"], victims[0].metadata["sc-end"])
    assert ranges[1] == (victims[1].metadata["sc-start"], victims[2].metadata["sc-end"])


async def test_a_doubled_object_is_an_overlap_or_foreign(here: Cli, dumped: Dumped, s3: S3Server, bucket: str) -> None:
    await dumped("doubled-dump")
    original = (await read_objects(s3, bucket))[0]
    client = s3_client(s3)
    twin, stranger = f"{original.key}+2", original.key.rsplit("/", 1)[0] + "/notes.txt"
    client.put_object(Bucket=bucket, Key=twin, Body=original.body, Metadata=dict(original.metadata))
    client.put_object(Bucket=bucket, Key=stranger, Body=b"hello")
    said = (await here("verify", "doubled-dump", "--json")).assert_one_line("1 foreign", "1 overlap")
    assert sorted(kinds(said)) == ["foreign", "overlap"]
    client.put_object(Bucket=bucket, Key=twin, Body=original.body)
    assert kinds(await here("verify", "doubled-dump", "--json")) == ["foreign", "foreign"]
    client.put_object(Bucket=bucket, Key=twin, Body=b"", Metadata={**original.metadata, "sc-task": "another"})
    said = await here("verify", "doubled-dump", "--json")
    assert (kinds(said), said.json()["summary"]["others"]) == (["foreign"], 1)


async def test_an_altered_object_differs_in_deep_only(here: Cli, dumped: Dumped, s3: S3Server, bucket: str) -> None:
    await dumped("altered-dump")
    victim = (await read_objects(s3, bucket))[2]
    damaged = bytearray(victim.body)
    damaged[300] ^= 1
    client = s3_client(s3)
    client.put_object(Bucket=bucket, Key=victim.key, Body=bytes(damaged), Metadata=dict(victim.metadata))
    (await here("verify", "altered-dump")).assert_fine()
    said = (await here("verify", "altered-dump", "--deep")).assert_one_line("1 differs")
    assert "byte 300" in said.out
    client.put_object(Bucket=bucket, Key=victim.key, Body=victim.body[:-1], Metadata=dict(victim.metadata))
    (await here("verify", "altered-dump", "--deep")).assert_one_line("1 differs")
    client.put_object(Bucket=bucket, Key=victim.key, Body=victim.body + b"x", Metadata=dict(victim.metadata))
    (await here("verify", "altered-dump", "--deep")).assert_one_line("1 differs")


async def test_what_kafka_no_longer_has_is_expired_and_no_fault(here: Cli, dumped: Dumped, kafka: KafkaCluster) -> None:
    task = await dumped("expired-dump")
    topic = str((await task.show())["topics"])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    for future in admin.delete_records([TopicPartition(topic, 0, 300)]).values():
        future.result(30)
    said = (await here("verify", "expired-dump", "--deep", "--json")).assert_fine()
    assert kinds(said) == ["expired", "expired"]


async def test_a_task_that_is_not_there_is_one_line(here: Cli) -> None:
    (await here("verify", "nobody")).assert_one_line("there is no task nobody")
