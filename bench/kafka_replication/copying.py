"""One side copies one topic: from the start of the side to the first record that a read_committed reader sees, from there to the last."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from bench.common.data import PARTITIONS
from bench.common.lines import Count
from bench.common.watching import Measured, Watch
from bench.kafka_replication import check
from bench.kafka_replication.cases import Copy
from bench.kafka_replication.job import Job, job_of, target_topic
from bench.kafka_replication.stage import Stage
from bench.kafka_replication.tail import Tail

_FIRST_POLL_S: Final = 0.01
_POLL_S: Final = 0.1

Run = Callable[[Stage, Job], AbstractAsyncContextManager[Watch]]
"""How a side is run: inside the context it copies; it is measured from the moment of the watch."""


@dataclass(frozen=True, slots=True)
class Copied:
    """`steady`: from the first visible record to the last; `records`: written in that time, so those in the open transactions of its
    beginning do not count; `whole`: with the start. `batches` and `markers`: on the target."""

    start_s: float
    steady: Measured
    whole: Measured
    records: int
    batches: int
    markers: int
    count: Count


async def copy(stage: Stage, side: str, run: Run, case: Copy) -> Copied:
    """Then every id is counted, and the topic deleted. Raises SandboxFailed when nothing more comes."""
    topic = target_topic(side, case.topic)
    await asyncio.to_thread(os.sync)  # what others have written goes to the disk now, and not in our time
    tail = Tail(stage.target.folder / "node-1" / "data", {topic: PARTITIONS})
    async with run(stage, job_of(case)) as born:
        first = await born.until(1, tail.visible, poll_s=_FIRST_POLL_S)
        watch, before = born.again(), tail.written
        steady = await watch.until(case.total, tail.visible, poll_s=_POLL_S)
        records, whole = tail.written - before, born.measured()
    count = await asyncio.to_thread(check.count, stage.target.internal_servers, topic, case)
    await stage.forget(source=[], target=[topic])
    return Copied(first.wall_s, steady, whole, records, tail.batches, tail.markers, count)
