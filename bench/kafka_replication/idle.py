"""What the service costs when nothing happens: 18 replications of topics without a record."""

from __future__ import annotations

import asyncio
from typing import Final

from bench.common.data import make_topics
from bench.common.resting import Rest, rest
from bench.kafka_replication.ours import Size, served
from bench.kafka_replication.stage import Stage
from smartconnect.kafka.admin import NewTopic

TASKS: Final = 18
_SETTLE_S: Final = 30.0


async def measure(stage: Stage, size: Size, partitions: int, seconds: float) -> Rest:
    """`partitions`: of all topics together. The API is not called while it is measured."""
    each = max(1, partitions // TASKS)
    topics = [NewTopic(f"idle-{number}", each) for number in range(TASKS)]
    await make_topics(stage.reads, topics)
    async with served(stage, size.workers) as us:
        tasks = [await us.create(topic.name, topic.name, task_num=size.tasks) for topic in topics]
        for task in tasks:
            await us.service.until(task, status="RUNNING")
            await us.service.until(f"{task}/progress", phase="replicating")
        await asyncio.sleep(_SETTLE_S)
        return await rest(us.service.pid, stage.others, each * TASKS, seconds)
