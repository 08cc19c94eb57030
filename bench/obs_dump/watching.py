"""Watches a bucket fill until it holds everything, and takes the time, the CPU and the memory of one side at that moment."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.obs_dump.count import objects
from bench.obs_dump.data import Case
from bench.obs_dump.processes import cpu_of, family
from smartconnect.domain.errors import SandboxFailed

_POLL_S: Final = 0.1
_STANDSTILL_S: Final = 120.0


@dataclass(slots=True)
class Measured:
    """One side, one topic. `wall_s` and `cpu_s` from the start of the measurement until all is visible; `peak_mib` by process (role);
    `others_cpu_s`: broker and S3 server in that time; `load`: the machine's load average at the beginning and the end."""

    wall_s: float
    cpu_s: float
    peak_mib: dict[str, float]
    others_cpu_s: dict[str, float]
    load: tuple[float, float]
    notes: dict[str, float] = field(default_factory=dict)


class Watch:
    """`root`: the side's first process. Made when the measurement begins; `from_birth`: its CPU until now counts too."""

    def __init__(self, root: int, others: dict[str, int], *, from_birth: bool) -> None:
        self._root, self._others = root, others
        self._begun, self._load = time.monotonic(), os.getloadavg()[0]
        self._cpu = 0.0 if from_birth else sum(usage.cpu_s for usage in family(root).values())
        self._pids = set(family(root))
        self._others_cpu = cpu_of(others)

    async def until_visible(self, bucket: Path, case: Case, *, last_newline: bool) -> Measured:
        """`last_newline`: whether objects end with one. Raises SandboxFailed when nothing more comes, or a process has died."""
        size, grown = -1, self._begun
        while size < case.total_bytes:
            await asyncio.sleep(_POLL_S)
            now = time.monotonic()
            seen = sum(path.stat().st_size + (not last_newline) for path in objects(bucket))
            if seen != size:
                size, grown = seen, now
            elif now - grown > _STANDSTILL_S:
                raise SandboxFailed(f"the bucket has had {size} of {case.total_bytes} bytes for {_STANDSTILL_S:.0f} s")
        return self.measured()

    def measured(self) -> Measured:
        """Until now. Raises SandboxFailed if a process has ended."""
        usages = family(self._root)
        if not self._pids <= set(usages):
            raise SandboxFailed("a process ended during the measurement; its CPU is not known")
        return Measured(
            wall_s=time.monotonic() - self._begun,
            cpu_s=sum(usage.cpu_s for usage in usages.values()) - self._cpu,
            peak_mib={f"{usage.role} {number}": round(usage.peak_mib, 1) for number, usage in enumerate(usages.values())},
            others_cpu_s={name: cpu - self._others_cpu[name] for name, cpu in cpu_of(self._others).items()},
            load=(self._load, os.getloadavg()[0]),
        )
