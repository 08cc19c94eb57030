"""Many partitions with one record each second: what the whole service costs then, how much of the target's log is markers, and how much
memory it takes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from bench.common.data import make_topics
from bench.common.resting import Rest, rest
from bench.common.sending import sending
from bench.common.trickle import Trickle
from bench.kafka_replication.job import target_topic
from bench.kafka_replication.ours import NAME, Size, served
from bench.kafka_replication.stage import Stage
from bench.kafka_replication.tail import Tail
from smartconnect.domain.errors import SandboxFailed
from smartconnect.kafka.admin import NewTopic
from smartconnect.kafka.types import TopicPartition

TOPICS: Final = 10
_CONFIGS: Final = {"index.interval.bytes": str(1 << 20)}
"""Else every partition takes its first disk block for an index after the same 25 records: on a slow disk both brokers then stand still for
half a minute. The replication gives the target's topics the same."""
_START_WITHIN_S: Final = 300.0
_SETTLE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Wide:
    """`records`, `markers`: on the target, in the measured time; `arrears`: sent and not yet visible at its end."""

    rest: Rest
    sent: int
    records: int
    markers: int
    arrears: int


async def measure(stage: Stage, size: Size, partitions: int, seconds: float) -> Wide:
    """`partitions`: of all topics together. Raises SandboxFailed if they do not all start."""
    each = max(1, partitions // TOPICS)
    names = [f"wide-{number}" for number in range(TOPICS)]
    tps = [TopicPartition(name, number) for number in range(each) for name in names]
    await make_topics(stage.reads, [NewTopic(name, each, configs=_CONFIGS) for name in names])
    tail = Tail(stage.target.folder / "node-1" / "data", {target_topic(NAME, name): each for name in names})
    async with served(stage, size.workers) as us, sending(stage.reads, tps[0]) as sender:
        await us.create("wide", ",".join(names), task_num=size.tasks)
        load = Trickle(sender, tps)
        writing = asyncio.create_task(load.run())
        try:
            await _flowing(tail, load, len(tps))
            await asyncio.sleep(_SETTLE_S)
            before = (load.sent, await asyncio.to_thread(tail.visible), tail.batches, tail.markers)
            measured = await rest(us.service.pid, stage.others, len(tps), seconds)
            sent, visible = load.sent, await asyncio.to_thread(tail.visible)
            if writing.done():
                await writing
        finally:
            writing.cancel()
            await asyncio.wait([writing])
    return Wide(measured, sent - before[0], visible - before[1], tail.markers - before[3], max(0, sent - visible))


async def _flowing(tail: Tail, load: Trickle, partitions: int) -> None:
    """Until what was sent is visible but for a few seconds' worth."""
    deadline = time.monotonic() + _START_WITHIN_S
    while (visible := await asyncio.to_thread(tail.visible)) == 0 or load.sent - visible > 5 * partitions:
        if time.monotonic() > deadline:
            raise SandboxFailed(f"{visible} of {load.sent} records are on the target after {_START_WITHIN_S:.0f} s")
        await asyncio.sleep(1)
