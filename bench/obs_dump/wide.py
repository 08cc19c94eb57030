"""Many partitions with one record each second: what a dump of all of them costs us, and what it costs the broker, beside Bento."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.common.data import make_topics
from bench.common.resting import Rest, rest
from bench.common.sending import sending
from bench.common.trickle import Trickle
from bench.obs_dump import bento
from bench.obs_dump.ours import body, serve
from bench.obs_dump.stage import Stage
from smartconnect.kafka.admin import NewTopic
from smartconnect.kafka.types import TopicPartition

TOPICS: Final = 10
INTERVAL_S: Final = 300
_SETTLE_S: Final = 30.0
_WARM_S: Final = 45.0


@dataclass(frozen=True, slots=True)
class Wide:
    """Each side over the same number of seconds, with the same load. `unread`: records that were sent and that our side had not told to
    have read, at the end."""

    ours: Rest
    unread: int
    bento: Rest | None


async def measure(stage: Stage, workers: int, partitions: int, seconds: float, program: Path | None) -> Wide:
    """`partitions`: of all topics together; `program` None: our side alone. The API is not called while it is measured."""
    each = max(1, partitions // TOPICS)
    names = [f"wide-{number}" for number in range(TOPICS)]
    tps = [TopicPartition(name, number) for number in range(each) for name in names]
    await make_topics(stage.cluster, [NewTopic(name, each) for name in names])
    for bucket in ("wide-ours", "wide-bento"):
        stage.make_bucket(bucket)
    async with _loaded(stage, tps):
        await asyncio.sleep(_WARM_S)  # the broker's JVM compiles now, and not in the time of whoever comes first
    async with serve(stage, stage.folder / "service-wide", workers) as service:
        request = body(stage.s3, "wide-ours", "wide", deliver_time_interval=INTERVAL_S)
        task = await service.create({**request, "topics": "", "topics_regex": "wide-[0-9]+"})
        await service.until(task, status="RUNNING")
        async with _loaded(stage, tps) as load:
            ours = await rest(service.pid, stage.others, len(tps), seconds)
            sent, told = load.sent, await service.until(f"{task}/progress")
            unread = max(0, sent - int(told["counters"]["records_in"]))
    theirs = None
    if program is not None:
        async with bento.started(stage, names, "wide-bento", program, period_s=INTERVAL_S) as server, _loaded(stage, tps):
            theirs = await rest(server.pid, stage.others, len(tps), seconds)
    return Wide(ours, unread, theirs)


@contextlib.asynccontextmanager
async def _loaded(stage: Stage, tps: list[TopicPartition]) -> AsyncIterator[Trickle]:
    """Load for a while already, and until the context ends."""
    async with sending(stage.cluster, tps[0]) as sender:
        load = Trickle(sender, tps)
        writing = asyncio.create_task(load.run())
        try:
            await asyncio.sleep(_SETTLE_S)
            yield load
            if writing.done():
                await writing
        finally:
            writing.cancel()
            await asyncio.wait([writing])
