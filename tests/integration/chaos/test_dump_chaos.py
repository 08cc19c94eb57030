"""A dump under fire, against the real Kafka and the real S3 server: processes killed and frozen at every step of the protocol,
answers lost, storms, cuts, while producers write. Nothing may be lost, twice, torn or left over, every row of the crash table must
have been hit, and the protocol's model must accept what the processes logged.

The short form plays every fault once; with `SMARTCONNECT_CHAOS=long` a hundred faults are drawn at random besides.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.conftest import MakeTopic
from tests.integration.chaos import rows
from tests.integration.chaos.faults import CRASHES, LONG_ONLY, TROUBLE, ZOMBIES, Play
from tests.integration.chaos.field import Field
from tests.integration.chaos.rows import StepTail
from tests.model.replay import replay_files
from tests.support.bucket import count_bucket, left_uploads
from tests.support.kafka_proxy import KafkaProxy
from tests.support.records import Outcome, RecordWriter, WriterOptions
from tests.support.s3_proxy import S3Proxy
from tests.support.service import Dump, ServiceOptions, running_service
from tests.support.waiting import eventually

LONG = os.environ.get("SMARTCONNECT_CHAOS") == "long"
_ROUNDS = 100
_PARTITIONS = 6
_FLUSH_SIZE = 100


@pytest.fixture
async def field(tmp_path: Path, s3: S3Server, proxied_kafka: KafkaProxy, proxied_s3: S3Proxy) -> AsyncIterator[Field]:
    """Few places for control requests, so that a held Complete keeps others from being sent."""
    options = ServiceOptions(
        proxied_kafka.bootstrap_servers, s3, endpoint=proxied_s3.endpoint, workers=2, dump={"control_requests": 2}
    )
    async with running_service(tmp_path, options) as service:
        playing = Field(service, proxied_kafka, proxied_s3, StepTail(service.step_log))
        try:
            yield playing
        finally:
            playing.forget_faults()
            playing.bury()


@pytest.mark.chaos
@pytest.mark.long
@pytest.mark.timeout(7000 if LONG else 900)
async def test_no_record_is_lost_or_twice_whatever_dies_freezes_or_breaks(
    field: Field, kafka: KafkaCluster, s3: S3Server, bucket: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic(partitions=_PARTITIONS)
    writer = RecordWriter(kafka.bootstrap_servers, topic, _PARTITIONS, WriterOptions(codec="lz4", value_size=100))
    await writer.write(_FLUSH_SIZE * 3)
    dump = await field.service.create_dump("chaos-dump", bucket, topics=topic, flush_size=_FLUSH_SIZE)
    async with _writing(writer):
        await field.moves_on()
        for play in _plays(Random(os.environ.get("SMARTCONNECT_CHAOS_SEED"))):
            began = time.monotonic()
            await play(field)
            print(f"{play.__name__}: {time.monotonic() - began:.1f} s", flush=True)
    await _come_to_rest(field, dump)
    hits = field.tail.follow().crashes() + field.tail.zombies
    _report(field, hits)
    (await count_bucket(s3, bucket, writer.expected)).assert_exactly_once()
    assert await left_uploads(s3, bucket) == []
    assert replay_files([field.service.step_log]).partitions == _PARTITIONS
    assert [row for row in (*rows.CRASHES, *rows.ZOMBIES) if not hits[row]] == []


def _plays(random: Random) -> list[Play]:
    plays = [*CRASHES, *ZOMBIES, *TROUBLE]
    if LONG:
        plays += random.choices([*CRASHES, *ZOMBIES, *TROUBLE, *LONG_ONLY], k=_ROUNDS)
    return plays


@contextlib.asynccontextmanager
async def _writing(writer: RecordWriter) -> AsyncIterator[None]:
    """Plain, committed and aborted records all the time."""
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            await writer.write(_FLUSH_SIZE)
            await writer.write_transaction(20)
            await writer.write_transaction(20, Outcome.ABORT)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.5)

    writing = asyncio.create_task(write())
    try:
        yield
    finally:
        stop.set()
        await writing


async def _come_to_rest(field: Field, dump: Dump) -> None:
    """One more take-over, whose janitor sweeps what the last fault left; then everything is read, visible, and the entries are dropped."""
    field.forget_faults()
    await field.replace_everything()
    await field.started()
    await eventually(lambda: _ends_are_known(dump), 60, what="progress has seen the end of every partition")
    await dump.caught_up(120)
    await dump.drained()


async def _ends_are_known(dump: Dump) -> bool:
    """A lag of 0 means nothing before every partition of the new incarnations has been asked once."""
    partitions = (await dump.progress())["partitions"]
    return len(partitions) == _PARTITIONS and all(partition["lag_records"] is not None for partition in partitions)


def _report(field: Field, hits: Counter[str]) -> None:
    played = ", ".join(f"{count} {what}" for what, count in field.done.items() if count)
    print(f"\nplayed: {played}; {sum(field.tail.completed.values())} objects")
    print("hits of each row: " + "  ".join(f"{row}: {hits[row]}" for row in (*rows.CRASHES, *rows.ZOMBIES)), flush=True)
