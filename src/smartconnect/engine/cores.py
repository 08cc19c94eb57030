"""How many cores this process may use: the default number of workers. Affinity (taskset, cpuset) and the CPU quota of the control
group both count; a container with half a core gets one worker.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

CGROUP: Final = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = CGROUP) -> int:
    """At least 1."""
    allowed = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return max(1, allowed if quota is None else min(allowed, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """Cores by quota: cgroup v2 `cpu.max` ("max 100000" or "150000 100000"), else v1; None without one."""
    words = _read(cgroup / "cpu.max").split()
    if len(words) != 2:
        words = [_read(cgroup / "cpu" / "cpu.cfs_quota_us").strip(), _read(cgroup / "cpu" / "cpu.cfs_period_us").strip()]
    if not all(word.isdigit() for word in words) or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1])


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
