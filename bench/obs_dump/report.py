"""What a run has shown: the table with both sides, their ratios beside the targets, and the result file."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.obs_dump.bento import BATCH_PERIOD_S, OBJECT_BYTES
from bench.obs_dump.bento import VERSION as BENTO_VERSION
from bench.obs_dump.count import Count
from bench.obs_dump.data import BATCH_BYTES, PARTITIONS, Case
from bench.obs_dump.idle import Idle
from bench.obs_dump.watching import Measured
from smartconnect import kernels
from smartconnect.sandbox.kafka import KAFKA_VERSION
from smartconnect.sandbox.s3 import VERSITYGW_VERSION

RESULTS: Final = Path(__file__).with_name("results")
_SMALL: Final = 100
_PUBLISHED_CPU: Final = {100: 1.27, 1024: 3.25}
"""Bento's on a quiet machine of this kind: CPU seconds per million records at 100 B, per GB at 1 KiB (http, lz4)."""
_PUBLISHED_RATE: Final = {100: 923_000.0, 1024: 193_000_000 / 1024}
"""Bento's records per second there. A run in which it falls more than 30 % short says nothing and is void."""
_SHORTEST: Final = 0.7


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison."""

    measured: Measured
    count: Count

    def row(self, case: Case) -> dict[str, Any]:
        """What is printed and stored."""
        measured, records = self.measured, case.per_partition * PARTITIONS
        gigabytes = records * case.size / 1e9
        return {
            "wall_s": round(measured.wall_s, 2),
            "records_per_s": round(records / measured.wall_s),
            "mb_per_s": round(1000 * gigabytes / measured.wall_s, 1),
            "cpu_s": round(measured.cpu_s, 2),
            "records_per_cpu_s": round(records / measured.cpu_s),
            "cpu_s_per_gb": round(measured.cpu_s / gigabytes, 2),
            "peak_mib": measured.peak_mib,
            "others_cpu_s_per_gb": {name: round(cpu / gigabytes, 2) for name, cpu in measured.others_cpu_s.items()},
            "load_average": [round(load, 2) for load in measured.load],
            **{name: round(value, 2) for name, value in measured.notes.items()},
            "ids": {name: value for name, value in asdict(self.count).items() if name != "seen"},
        }


@dataclass(frozen=True, slots=True)
class Compared:
    """One topic; `stored_bytes`: of its batches. `theirs` None: our side ran alone."""

    case: Case
    stored_bytes: int
    ours: Side
    theirs: Side | None

    def as_dict(self) -> dict[str, Any]:
        case = self.case
        return {
            "case": case.name,
            "records": case.per_partition * PARTITIONS,
            "value_bytes": case.size,
            "codec": case.codec.name.lower(),
            "compressed": round(case.per_partition * PARTITIONS * case.size / self.stored_bytes, 2),
            "ours": self.ours.row(case),
            "bento": self.theirs.row(case) if self.theirs else None,
            "ratios": self._ratios(),
            "targets": self._targets(),
            "void": self.void,
        }

    @property
    def void(self) -> bool:
        """The peer was much slower than it is known to be: the machine was busy with something else."""
        if self.theirs is None or self.case.size not in _PUBLISHED_RATE:
            return False
        return bool(self.theirs.row(self.case)["records_per_s"] < _SHORTEST * _PUBLISHED_RATE[self.case.size])

    def _ratios(self) -> dict[str, float]:
        if self.theirs is None:
            return {}
        ours, theirs = self.ours.measured, self.theirs.measured
        return {
            "cpu": round(theirs.cpu_s / ours.cpu_s, 2),
            "wall": round(theirs.wall_s / ours.wall_s, 2),
            "wall_without_bentos_last_wait": round((theirs.wall_s - BATCH_PERIOD_S) / ours.wall_s, 2),
            "bento_cpu_against_published": round(self._theirs_published() or 0, 2),
        }

    def _theirs_published(self) -> float | None:
        """Bento's CPU here as a multiple of what it takes on a quiet machine; above 1.3 the run says little."""
        if self.theirs is None or self.case.size not in _PUBLISHED_CPU:
            return None
        row = self.theirs.row(self.case)
        here = 1e6 / row["records_per_cpu_s"] if self.case.size == _SMALL else row["cpu_s_per_gb"]
        return float(here) / _PUBLISHED_CPU[self.case.size]

    def _targets(self) -> dict[str, list[float | str]]:
        """Name → [value, target, verdict]."""
        row, ratios = self.ours.row(self.case), self._ratios()
        worker = max((mib for role, mib in row["peak_mib"].items() if role.startswith("worker")), default=0.0)
        found = {
            "each record once, in order (faults)": _at_most(0 if self.ours.count.perfect else 1, 0),
            "worker's peak, MiB": _at_most(worker, 400),
        }
        if self.case.size == _SMALL:
            found["records per CPU-second"] = _at_least(row["records_per_cpu_s"], 4e6)
            if ratios:
                found["CPU, times Bento's"] = _at_least(ratios["cpu"], 5)
                found["wall, times Bento's"] = _at_least(ratios["wall_without_bentos_last_wait"], 2)
        else:
            found["CPU-seconds per GB"] = _at_most(row["cpu_s_per_gb"], 1.3)
            if ratios:
                found["CPU, times Bento's"] = _at_least(ratios["cpu"], 2.5)
        return found


def idle_targets(idle: Idle) -> dict[str, list[float | str]]:
    """Name → [value, target, verdict]."""
    return {"idle: % of a core": _at_most(idle.cpu_percent, 5), "idle: MiB, all processes": _at_most(idle.rss_mib, 450)}


def show(compared: Sequence[Compared], idle: Idle | None) -> None:
    """Print the tables."""
    console = Console()
    for one in compared:
        _show_sides(console, one)
        _show_targets(console, one.case.name, one.as_dict()["targets"])
        if one.void:
            console.print(
                f"[bold red]{one.case.name}: void[/] — Bento was more than 30 % slower than it is known to be; run it again"
            )
    if idle is not None:
        console.print_json(json.dumps(asdict(idle)))
        _show_targets(console, "idle", idle_targets(idle))


def store(compared: Sequence[Compared], idle: Idle | None, command: str) -> Path:
    """Write the result file of today; a second one of the day gets a number."""
    RESULTS.mkdir(exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    number, path = 1, RESULTS / f"{now:%Y-%m-%d}.json"
    while path.exists():
        number += 1
        path = RESULTS / f"{now:%Y-%m-%d}-{number}.json"
    content = {
        "at": now.isoformat(timespec="seconds"),
        "command": command,
        "machine": _machine(),
        "versions": _versions(),
        "settings": {
            "partitions": PARTITIONS,
            "batch_bytes": BATCH_BYTES,
            "bento_object_bytes": OBJECT_BYTES,
            "bento_batch_period_s": BATCH_PERIOD_S,
        },
        "compared": [one.as_dict() for one in compared],
        "idle": None if idle is None else {**asdict(idle), "targets": idle_targets(idle)},
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path


def _show_sides(console: Console, one: Compared) -> None:
    content = one.as_dict()
    table = Table(title=f"{one.case.name}: {content['records']:,} records, compressed {content['compressed']} : 1")
    table.add_column("")
    sides = {name: content[name] for name in ("ours", "bento") if content[name] is not None}
    for name in sides:
        table.add_column(name, justify="right")
    for field in content["ours"]:
        table.add_row(field, *(_cell(side.get(field, "")) for side in sides.values()))
    console.print(table)
    if content["ratios"]:
        console.print(f"Ratios, Bento / ours: {content['ratios']}")


def _show_targets(console: Console, title: str, targets: Mapping[str, Sequence[float | str]]) -> None:
    table = Table("target", "value", "wanted", "", title=title)
    for name, cells in targets.items():
        table.add_row(name, *(_cell(cell) for cell in cells))
    console.print(table)


def _cell(value: object) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{name} {_cell(part)}" for name, part in value.items())
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _at_least(value: float, target: float) -> list[float | str]:
    return [value, f">= {target:g}", "met" if value >= target else "missed"]


def _at_most(value: float, target: float) -> list[float | str]:
    return [value, f"<= {target:g}", "met" if value <= target else "missed"]


def _machine() -> dict[str, object]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
    }


def _versions() -> dict[str, str]:
    git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "smart-connect": f"{version('smartconnect')} ({git.stdout.strip() or 'no git'}), {kernels.IMPLEMENTATION} kernels",
        "bento": BENTO_VERSION,
        "kafka": KAFKA_VERSION,
        "versitygw": VERSITYGW_VERSION,
        "python": platform.python_version(),
    }
