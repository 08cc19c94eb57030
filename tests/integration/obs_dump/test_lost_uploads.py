"""Uploads that somebody removes before they are visible, promised or not, and objects that a reader takes so early that they look like it:
read and uploaded again, or skipped; never in silence (obs-dump.md §3, §4 F1, F2, §8)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from smartconnect.domain.obs_dump_spec import OnLostUpload
from smartconnect.domain.progress import Level
from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.integration.obs_dump.story import CONTINUE, Story
from tests.support.bucket import left_uploads, read_objects, s3_client
from tests.support.dump_unit import DumpUnit, caught_up, row_of
from tests.support.ids import RecordId
from tests.support.s3_operations import Operation
from tests.support.s3_proxy import S3Proxy
from tests.support.services import Names
from tests.support.topics import create_topic
from tests.support.waiting import eventually

SKIP = replace(CONTINUE, on_lost_upload=OnLostUpload.SKIP)


@pytest.fixture
async def story(kafka: KafkaCluster, s3: S3Server, bucket: str, names: Names) -> Story:
    await create_topic(kafka.bootstrap_servers, names.topic("orders"), partitions=2)
    return Story(kafka, s3, bucket, names.topic("orders"))


async def promised(story: Story, unit: DumpUnit, store: S3Proxy) -> None:
    """An object of each partition is committed and not visible; its owner is dead."""
    completes = store.hold_request(Operation.COMPLETE_MULTIPART_UPLOAD, count=None)
    await story.writer.write(100)
    async with unit.killed():
        await completes.reached(2, 60)
    store.forget_rules()
    unit.spec = replace(unit.spec, flush_size=30)  # a next owner that reads them would cut elsewhere


async def removed_upload(story: Story) -> str:
    """The upload of the first partition's object, aborted by a stranger; the object's key."""
    upload = next(each for each in await left_uploads(story.s3, story.bucket) if "+0+" in each.key)
    client = s3_client(story.s3)
    await asyncio.to_thread(client.abort_multipart_upload, Bucket=story.bucket, Key=upload.key, UploadId=upload.upload_id)
    return upload.key


def lost(below: int) -> list[RecordId]:
    return [RecordId("old", 0, sequence) for sequence in range(below)]


async def test_an_upload_that_was_removed_before_it_was_promised_is_filled_again_from_the_position(
    story: Story, proxied_s3: S3Proxy
) -> None:
    """As a bucket's own rules do. The unit lives on: what it had read is not lost with the upload, and what others had is not twice."""
    unit = story.unit(writes=proxied_s3.endpoint)
    await story.writer.write(100)
    async with unit.running() as runner:
        await story.holds(story.writer.expected)
        parts = proxied_s3.hold_request(Operation.UPLOAD_PART, count=None)
        await story.writer.write(100)
        await parts.reached(2, 60)
        await story.writer.write(50)
        await removed_upload(story)
        parts.release()
        await story.holds(story.writer.expected)
        await caught_up(runner, 500)
    assert [(level, code) for level, code, _ in unit.ledger.events] == [(Level.WARNING, "upload_gone")]
    await story.is_tidy()


async def test_a_prepared_upload_that_was_removed_is_made_again_under_its_name(story: Story, proxied_s3: S3Proxy) -> None:
    unit = story.unit(writes=proxied_s3.endpoint)
    await promised(story, unit, proxied_s3)
    key = await removed_upload(story)
    async with unit.running() as runner:
        await story.holds(story.writer.expected)
        await caught_up(runner, 200)
        assert runner.progress().counters.get("gaps", 0) == 0
    assert [(level, code) for level, code, _ in unit.ledger.events] == [(Level.WARNING, "lost_upload")]
    assert f"{story.topic}-0 [0, 100)" in unit.ledger.events[0][2]
    assert [len(each.values()) for each in await read_objects(story.s3, story.bucket, key)] == [100]
    await story.is_tidy()


async def test_a_prepared_upload_that_was_removed_is_skipped_where_it_shall(story: Story, proxied_s3: S3Proxy) -> None:
    unit = story.unit(SKIP, writes=proxied_s3.endpoint)
    await promised(story, unit, proxied_s3)
    await removed_upload(story)
    await story.writer.write(30)
    async with unit.running() as runner:
        await story.holds(story.writer.expected, lost=lost(100))
        await caught_up(runner, 260)
    assert [(level, code) for level, code, _ in unit.ledger.events] == [(Level.ERROR, "lost_upload")]
    assert "are skipped" in unit.ledger.events[0][2]
    async with unit.running():
        await story.holds(story.writer.expected, lost=lost(100))
    assert len(unit.ledger.events) == 1
    await story.is_tidy()


@pytest.mark.parametrize("log_start", [40, 100], ids=["in part", "whole"])
async def test_what_kafka_no_longer_has_of_a_removed_upload_is_a_gap(story: Story, proxied_s3: S3Proxy, log_start: int) -> None:
    unit = story.unit(writes=proxied_s3.endpoint)
    await promised(story, unit, proxied_s3)
    await removed_upload(story)
    await story.delete_records(log_start)
    await story.writer.write(30)
    async with unit.running() as runner:
        await story.holds(story.writer.expected, lost=lost(log_start))
        await caught_up(runner, 260)
        assert unit.ledger.codes == ["lost_upload", "gap"]
        assert f"[0, {log_start})" in unit.ledger.events[1][2]
        assert (runner.progress().counters["gaps"], row_of(runner, story.topic).gaps) == (1, 1)
    await story.is_tidy()


async def test_a_removed_upload_of_a_topic_that_was_made_again_is_not_read_from_the_new_one(
    story: Story, proxied_s3: S3Proxy
) -> None:
    unit = story.unit(writes=proxied_s3.endpoint)
    completes = proxied_s3.hold_request(Operation.COMPLETE_MULTIPART_UPLOAD, count=2)
    await story.writer.write(100)
    async with unit.running() as runner:
        await completes.reached(2)
        old = await story.made_again(300)
        await eventually(lambda: unit.ledger.codes.count("topic_recreated") == 2, 60, what="both are known to be new")
        await removed_upload(story)
        completes.release()
        await story.holds(old, story.writer.expected, lost=lost(100))
        await caught_up(runner, 600)
        assert unit.ledger.codes[-2:] == ["lost_upload", "gap"]
    await story.is_tidy()


async def test_a_removed_upload_of_a_topic_that_was_made_again_is_not_read_from_the_new_one_by_the_next_owner(
    story: Story, proxied_s3: S3Proxy
) -> None:
    """Its owner dies when the position is one in the new topic and still names the object of the old one."""
    unit = story.unit(writes=proxied_s3.endpoint)
    completes = proxied_s3.hold_request(Operation.COMPLETE_MULTIPART_UPLOAD, count=None)
    await story.writer.write(100)
    async with unit.killed():
        await completes.reached(2)
        old = await story.made_again(300)
        await eventually(lambda: _begun_again(story, unit), 60, what="the start in the new topic is committed")
        await unit.ledger.report()
    proxied_s3.forget_rules()
    await removed_upload(story)
    async with unit.running() as runner:
        await story.holds(old, story.writer.expected, lost=lost(100))
        await caught_up(runner, 600)
        assert [unit.ledger.codes.count(code) for code in ("lost_upload", "gap")] == [1, 1]
    await story.is_tidy()


async def test_objects_of_two_topics_of_one_name_that_wait_to_appear_never_overwrite_each_other(
    story: Story, proxied_s3: S3Proxy
) -> None:
    """Without time directories both would have the same key."""
    unit = story.unit(writes=proxied_s3.endpoint)
    unit.spec = replace(unit.spec, time_format="")
    completes = proxied_s3.hold_request(Operation.COMPLETE_MULTIPART_UPLOAD, count=2)
    await story.writer.write(100)
    async with unit.running() as runner:
        await completes.reached(2)
        old = await story.made_again(300)

        async def began_again() -> bool:
            return await story.committed(unit) == {0: 0, 1: 0} and [row_of(runner, story.topic, n).gaps for n in (0, 1)] != [0, 0]

        await eventually(began_again, 60, what="both partitions have their new start")
        completes.release()
        await story.holds(old, story.writer.expected)
    await story.is_tidy()


@pytest.mark.parametrize("policy", list(OnLostUpload), ids=str)
async def test_an_object_that_a_reader_took_before_its_owner_died_looks_like_a_removed_upload(
    policy: OnLostUpload, story: Story, proxied_s3: S3Proxy
) -> None:
    unit = story.unit(replace(CONTINUE, on_lost_upload=policy), writes=proxied_s3.endpoint)
    answers = proxied_s3.hold_answer(Operation.COMPLETE_MULTIPART_UPLOAD, count=None)
    await story.writer.write(100)
    async with unit.killed():
        await answers.reached(2)
        await story.holds(story.writer.expected)
        taken = next(each.key for each in await read_objects(story.s3, story.bucket) if "+0+" in each.key)
        await asyncio.to_thread(s3_client(story.s3).delete_object, Bucket=story.bucket, Key=taken)
    proxied_s3.forget_rules()
    async with unit.running() as runner:
        await caught_up(runner, 200)
        await eventually(lambda: unit.ledger.codes == ["lost_upload"], 60, what="it is told")
        await story.holds(story.writer.expected, lost=lost(100) if policy is OnLostUpload.SKIP else ())
    assert unit.ledger.codes == ["lost_upload"]
    await story.is_tidy()


async def _begun_again(story: Story, unit: DumpUnit) -> bool:
    return await story.committed(unit) == {0: 0, 1: 0}
