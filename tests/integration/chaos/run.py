"""One chaos run from its stage to its verdict: faults are played one after the other while producers write; then everything comes to rest
and is counted. Guarantees that a run that comes through has lost nothing, doubled nothing, torn nothing, left nothing over, has hit every
row of the crash table, and that the protocol's model accepts what the processes logged. Called by the short and by the long form.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.integration.chaos import rows
from tests.integration.chaos.crashes import Play
from tests.integration.chaos.field import Field
from tests.integration.chaos.load import Load
from tests.integration.chaos.rows import StepTail
from tests.model.replay import replay_files
from tests.support.bucket import count_bucket, count_visible, left_uploads
from tests.support.kafka_proxy import kafka_proxy
from tests.support.records import RecordWriter, WriterOptions
from tests.support.s3_proxy import s3_proxy
from tests.support.service import Dump, ServiceOptions, running_service

PARTITIONS = 6
_FLUSH_SIZE = 100
_COUNTED_EVERY = 10
_RESTS_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a run takes place. `say` takes the report, line by line; `seed` is where all chance of the run comes from."""

    folder: Path
    cluster: KafkaCluster
    s3: S3Server
    topic: str
    bucket: str
    seed: int
    say: Callable[[str], None]


async def run(stage: Stage, choose: Callable[[Random], Iterable[Play]]) -> None:
    """Play what `choose` gives, and judge. AssertionError tells what is wrong."""
    stage.say(f"chaos run with seed {stage.seed}")
    async with _field(stage) as field:
        await field.load.burst()
        dump = await field.service.create_dump("chaos-dump", stage.bucket, topics=stage.topic, flush_size=_FLUSH_SIZE)
        async with field.load.running():
            await field.moves_on()
            for number, play in enumerate(choose(field.random), 1):
                began = time.monotonic()
                await play(field)
                stage.say(f"{number:3} {play.__name__}: {time.monotonic() - began:.1f} s")
                if number % _COUNTED_EVERY == 0:
                    await _nothing_is_wrong_so_far(stage, field)
        await _come_to_rest(field, dump)
        await _judge(stage, field)


@asynccontextmanager
async def _field(stage: Stage) -> AsyncIterator[Field]:
    """Few places for control requests, so that a held Complete keeps others from being sent."""
    servers = stage.cluster.bootstrap_servers
    writer = RecordWriter(servers, stage.topic, PARTITIONS, WriterOptions(codec="lz4", value_size=100))
    async with kafka_proxy(stage.cluster) as kafka, s3_proxy(stage.s3) as store:
        options = ServiceOptions(
            kafka.bootstrap_servers, stage.s3, endpoint=store.endpoint, workers=2, dump={"control_requests": 2}
        )
        async with running_service(stage.folder, options) as service:
            tail = StepTail(service.step_log)
            load = Load(writer, servers, PARTITIONS, _FLUSH_SIZE, visible=lambda: count_visible(stage.s3, stage.bucket))
            field = Field(service, kafka, store, tail, load, Random(stage.seed))
            try:
                yield field
            finally:
                field.forget_faults()
                field.bury()


async def _nothing_is_wrong_so_far(stage: Stage, field: Field) -> None:
    """What readers see while it runs may be incomplete, and nothing else."""
    async with field.load.quiet():
        count = await count_bucket(stage.s3, stage.bucket, field.load.writer.expected)
    count.lost.clear()
    count.assert_exactly_once()


async def _come_to_rest(field: Field, dump: Dump) -> None:
    """One more take-over, whose janitor sweeps what the last fault left; then everything is read, visible, and the entries are dropped."""
    field.forget_faults()
    await field.replace_everything()
    await field.started()
    await dump.caught_up(_RESTS_WITHIN_S, offsets=await field.load.end_offsets())
    await dump.drained()


async def _judge(stage: Stage, field: Field) -> None:
    tail = field.tail.follow()
    hits = tail.crashes() + tail.zombies
    table = (*rows.CRASHES, *rows.ZOMBIES)
    stage.say("played: " + ", ".join(f"{count} {what}" for what, count in field.done.items()))
    stage.say("hits of each row: " + "  ".join(f"{row}: {hits[row]}" for row in table))
    count = await count_bucket(stage.s3, stage.bucket, field.load.writer.expected)
    left = await left_uploads(stage.s3, stage.bucket)
    stage.say(f"{tail.completed.total()} objects, {count}; {len(left)} uploads left over")
    count.assert_exactly_once()
    assert left == []
    replayed = replay_files([field.service.step_log])
    stage.say(f"the model accepts {replayed.lines} steps of {replayed.partitions} partitions")
    assert replayed.partitions == PARTITIONS
    assert [row for row in table if not hits[row]] == [], "rows of the crash table that were not hit"
