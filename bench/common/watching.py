"""Watches something grow until it is whole, and takes the time, the CPU and the memory of one side at that moment."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bench.common.processes import cpu_of, family
from smartconnect.domain.errors import SandboxFailed

_POLL_S: Final = 0.1
_STANDSTILL_S: Final = 120.0


@dataclass(slots=True)
class Measured:
    """One side, one topic. `wall_s` and `cpu_s` from the start of the measurement until all is there; `peak_mib` by process (role);
    `others_cpu_s`: the servers that both sides use, in that time; `load`: the machine's load average at the beginning and the end."""

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
        usages = family(root)
        self._cpu = 0.0 if from_birth else sum(usage.cpu_s for usage in usages.values())
        self._pids = set(usages)
        self._others_cpu = cpu_of(others)

    def again(self) -> Watch:
        """A second one of the same processes, from now on."""
        return Watch(self._root, self._others, from_birth=False)

    async def until(self, total: int, seen: Callable[[], int], *, poll_s: float = _POLL_S) -> Measured:
        """Until `seen` gives `total` or more. Raises SandboxFailed when nothing more comes, or a process has died."""
        last, grown = -1, time.monotonic()
        while (now_seen := seen()) < total:
            now = time.monotonic()
            if now_seen != last:
                last, grown = now_seen, now
            elif now - grown > _STANDSTILL_S:
                raise SandboxFailed(f"{now_seen} of {total} have been there for {_STANDSTILL_S:.0f} s, and nothing more comes")
            await asyncio.sleep(poll_s)
        return self.measured()

    def measured(self) -> Measured:
        """Until now. Raises SandboxFailed if a process has ended."""
        wall_s, usages = time.monotonic() - self._begun, family(self._root)
        if not self._pids <= set(usages):
            raise SandboxFailed("a process ended during the measurement; its CPU is not known")
        return Measured(
            wall_s=wall_s,
            cpu_s=sum(usage.cpu_s for usage in usages.values()) - self._cpu,
            peak_mib={f"{usage.role} {number}": round(usage.peak_mib, 1) for number, usage in enumerate(usages.values())},
            others_cpu_s={name: cpu - self._others_cpu[name] for name, cpu in cpu_of(self._others).items()},
            load=(self._load, os.getloadavg()[0]),
        )
