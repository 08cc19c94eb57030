"""What every report is made of: verdicts on targets, tables, the machine, versions, and the name of today's result file."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from smartconnect import kernels
from smartconnect.sandbox.kafka import KAFKA_VERSION

Verdict = list[float | str]
"""[value, what is wanted, "met" or "missed"]."""
_LOOPS = 3_000_000
SHORTEST = 0.7
"""A run in which a peer reaches less than this share of its published rate says nothing and is void."""


def at_least(value: float, target: float) -> Verdict:
    return [value, f">= {target:g}", "met" if value >= target else "missed"]


def at_most(value: float, target: float) -> Verdict:
    return [value, f"<= {target:g}", "met" if value <= target else "missed"]


def show_targets(console: Console, title: str, targets: Mapping[str, Sequence[float | str]]) -> None:
    table = Table("target", "value", "wanted", "", title=title)
    for name, cells in targets.items():
        table.add_row(name, *(cell(one) for one in cells))
    console.print(table)


def show_sides(console: Console, title: str, sides: Mapping[str, Mapping[str, object]]) -> None:
    """One column for each side; the rows are the fields of the first."""
    table = Table(title=title)
    table.add_column("")
    for name in sides:
        table.add_column(name, justify="right")
    for row in next(iter(sides.values()), {}):
        table.add_row(row, *(cell(side.get(row, "")) for side in sides.values()))
    console.print(table)


def cell(value: object) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{name} {cell(part)}" for name, part in value.items())
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def free_name(folder: Path, stem: str, now: datetime.datetime) -> Path:
    """The result file of today, without its ending; a second one of the day gets a number."""
    folder.mkdir(exist_ok=True)
    number, name = 1, f"{stem}{now:%Y-%m-%d}"
    while (folder / f"{name}.json").exists():
        number += 1
        name = f"{stem}{now:%Y-%m-%d}-{number}"
    return folder / name


def machine() -> dict[str, object]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python_loop_ns": _loop_ns(),
    }


def _loop_ns() -> float:
    """CPU of one addition in a loop of Python: how fast the cores are now. On shared ones that moves by a factor of two in an hour, and
    with it all that is given in % of a core or in CPU-seconds."""
    total, began = 0, time.process_time_ns()
    for number in range(_LOOPS):
        total += number
    return round((time.process_time_ns() - began) / _LOOPS, 1)


def versions(**peers: str) -> dict[str, str]:
    """Ours, Kafka's, Python's, and those given."""
    git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "smart-connect": f"{version('smartconnect')} ({git.stdout.strip() or 'no git'}), {kernels.IMPLEMENTATION} kernels",
        **peers,
        "kafka": KAFKA_VERSION,
        "python": platform.python_version(),
    }
