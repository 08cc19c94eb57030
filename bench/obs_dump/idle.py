"""What the service costs when nothing happens: 18 dumps of topics without a record."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import Final

from bench.obs_dump.data import make_topics
from bench.obs_dump.ours import serve
from bench.obs_dump.processes import cpu_of, family
from bench.obs_dump.stage import Stage
from smartconnect.kafka.admin import NewTopic

TASKS: Final = 18
_SETTLE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Idle:
    """`cpu_percent`: of one core, all our processes over `seconds`; `rss_mib`: their sum at the end."""

    partitions: int
    seconds: float
    cpu_percent: float
    rss_mib: float
    by_process: dict[str, float]
    others_cpu_percent: dict[str, float]
    load: float


async def measure(stage: Stage, workers: int, partitions: int, seconds: float) -> Idle:
    """`partitions`: of all topics together. The API is not called while it is measured."""
    each = max(1, partitions // TASKS)
    topics = [NewTopic(f"idle-{number}", each) for number in range(TASKS)]
    await make_topics(stage.cluster, topics)
    stage.make_bucket("idle")
    async with serve(stage, stage.folder / "service-idle", workers) as service:
        tasks = [await service.create(stage, "idle", topic.name) for topic in topics]
        for task in tasks:
            await service.until(task, status="RUNNING")
            await service.until(f"{task}/progress", phase="dumping")
        await asyncio.sleep(_SETTLE_S)
        roots = {"ours": service.pid, **stage.others}
        before = cpu_of(roots)
        await asyncio.sleep(seconds)
        used = {name: round(100 * (cpu - before[name]) / seconds, 2) for name, cpu in cpu_of(roots).items()}
        usages = list(family(service.pid).values())
    return Idle(
        partitions=each * TASKS,
        seconds=seconds,
        cpu_percent=used.pop("ours"),
        rss_mib=round(sum(usage.rss_mib for usage in usages), 1),
        by_process={f"{usage.role} {number}": round(usage.rss_mib, 1) for number, usage in enumerate(usages)},
        others_cpu_percent=used,
        load=round(os.getloadavg()[0], 2),
    )
