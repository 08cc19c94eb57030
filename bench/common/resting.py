"""What a running service costs over a stretch of time in which nobody calls its API: when nothing happens, or little."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from bench.common.processes import cpu_of, family


@dataclass(frozen=True, slots=True)
class Rest:
    """`cpu_percent`: of one core, all our processes over `seconds`; `rss_mib`: their sum at the end."""

    partitions: int
    seconds: float
    cpu_percent: float
    rss_mib: float
    by_process: dict[str, float]
    others_cpu_percent: dict[str, float]
    load: float

    @property
    def worker_mib(self) -> float:
        """The largest worker's."""
        return max((mib for role, mib in self.by_process.items() if "worker" in role), default=0.0)


async def rest(pid: int, others: dict[str, int], partitions: int, seconds: float) -> Rest:
    """`pid`: the service's parent; `partitions`: how many it serves."""
    roots = {"ours": pid, **others}
    before = cpu_of(roots)
    await asyncio.sleep(seconds)
    used = {name: round(100 * (cpu - before[name]) / seconds, 2) for name, cpu in cpu_of(roots).items()}
    usages = list(family(pid).values())
    return Rest(
        partitions=partitions,
        seconds=seconds,
        cpu_percent=used.pop("ours"),
        rss_mib=round(sum(usage.rss_mib for usage in usages), 1),
        by_process={f"{usage.role} {number}": round(usage.rss_mib, 1) for number, usage in enumerate(usages)},
        others_cpu_percent=used,
        load=round(os.getloadavg()[0], 2),
    )
