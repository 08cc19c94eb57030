"""What the service costs when nothing happens: 18 dumps of topics without a record."""

from __future__ import annotations

import asyncio
from typing import Final

from bench.common.data import make_topics
from bench.common.resting import Rest, rest
from bench.obs_dump.ours import body, serve
from bench.obs_dump.stage import Stage
from smartconnect.kafka.admin import NewTopic

TASKS: Final = 18
_SETTLE_S: Final = 30.0


async def measure(stage: Stage, workers: int, partitions: int, seconds: float) -> Rest:
    """`partitions`: of all topics together. The API is not called while it is measured."""
    each = max(1, partitions // TASKS)
    topics = [NewTopic(f"idle-{number}", each) for number in range(TASKS)]
    await make_topics(stage.cluster, topics)
    stage.make_bucket("idle")
    async with serve(stage, stage.folder / "service-idle", workers) as service:
        tasks = [await service.create(body(stage.s3, "idle", topic.name)) for topic in topics]
        for task in tasks:
            await service.until(task, status="RUNNING")
            await service.until(f"{task}/progress", phase="dumping")
        await asyncio.sleep(_SETTLE_S)
        return await rest(service.pid, stage.others, each * TASKS, seconds)
