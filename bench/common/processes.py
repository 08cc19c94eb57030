"""CPU and memory of a process and all of its descendants, from /proc: threads and children that have ended included."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PROC: Final = Path("/proc")
_OURS: Final = "smart-connect "


@dataclass(frozen=True, slots=True)
class Usage:
    """`role`: what a process of ours calls itself, or what a Python module was started as, else the program. `cpu_s`: user and system.
    Memory in MiB; `peak_mib` since the process began."""

    role: str
    cpu_s: float
    rss_mib: float
    peak_mib: float


def family(root: int) -> dict[int, Usage]:
    """Pid → usage of the process and its descendants that live; the root's CPU holds that of children it has waited for."""
    parents = dict(_parents())
    found: dict[int, Usage] = {}
    for pid in [root, *parents]:
        ancestor = pid
        while ancestor not in (root, 0, 1):
            ancestor = parents.get(ancestor, 0)
        if ancestor == root and (usage := _usage(pid, reaped=pid == root)) is not None:
            found[pid] = usage
    return found


def cpu_of(roots: dict[str, int]) -> dict[str, float]:
    """CPU seconds of each family, by the names given."""
    return {name: sum(usage.cpu_s for usage in family(pid).values()) for name, pid in roots.items()}


def _parents() -> Iterator[tuple[int, int]]:
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) is not None:
            yield int(entry.name), int(stat[1])


def _stat(pid: int) -> list[str] | None:
    """The fields of `stat` behind the name; the first is the state."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _usage(pid: int, *, reaped: bool) -> Usage | None:
    stat = _stat(pid)
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
        words = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    sizes = {name: int(rest.split()[0]) / 1024 for name, _, rest in (line.partition(":") for line in lines) if rest.endswith(" kB")}
    if stat is None or "VmRSS" not in sizes:
        return None
    ticks = sum(int(field) for field in stat[11 : 15 if reaped else 13])
    return Usage(_role(words), ticks / _TICKS, sizes["VmRSS"], sizes["VmHWM"])


def _role(words: list[str]) -> str:
    if words[0].startswith(_OURS):
        return words[0].removeprefix(_OURS).split()[0]
    return words[words.index("-m") + 2] if "-m" in words[:-2] else Path(words[0]).name
