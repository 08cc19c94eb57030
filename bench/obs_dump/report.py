"""What a run has shown: the table with both sides, their ratios beside the targets, and the result file."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from bench.common.bento import VERSION as BENTO_VERSION
from bench.common.data import BATCH_BYTES, PARTITIONS, Case
from bench.common.resting import Rest
from bench.common.results import (
    SHORTEST,
    Verdict,
    at_least,
    at_most,
    free_name,
    machine,
    show_sides,
    show_targets,
    versions,
)
from bench.common.watching import Measured
from bench.obs_dump.bento import BATCH_PERIOD_S, OBJECT_BYTES
from bench.obs_dump.count import Count
from bench.obs_dump.wide import Wide
from smartconnect.sandbox.s3 import VERSITYGW_VERSION

RESULTS: Final = Path(__file__).with_name("results")
_SMALL: Final = 100
_PUBLISHED_CPU: Final = {100: 1.27, 1024: 3.25}
"""Bento's on a quiet machine of this kind: CPU seconds per million records at 100 B, per GB at 1 KiB (http, lz4)."""
_PUBLISHED_RATE: Final = {100: 923_000.0, 1024: 193_000_000 / 1024}
"""Bento's records per second there."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison."""

    measured: Measured
    count: Count

    def row(self, case: Case) -> dict[str, Any]:
        """What is printed and stored."""
        measured, records = self.measured, case.total
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
    """One topic; `stored_bytes`: of its batches. `theirs` None: our side ran alone. `https`: to the store."""

    case: Case
    stored_bytes: int
    ours: Side
    theirs: Side | None
    https: bool

    @property
    def name(self) -> str:
        return f"{self.case.name}, https" if self.https else self.case.name

    def as_dict(self) -> dict[str, Any]:
        case = self.case
        return {
            "case": self.name,
            "records": case.total,
            "value_bytes": case.size,
            "codec": case.codec.name.lower(),
            "compressed": round(case.total * case.size / self.stored_bytes, 2),
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
        return bool(self.theirs.row(self.case)["records_per_s"] < SHORTEST * _PUBLISHED_RATE[self.case.size])

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

    def _targets(self) -> dict[str, Verdict]:
        """Name → [value, target, verdict]."""
        row, ratios = self.ours.row(self.case), self._ratios()
        worker = max((mib for role, mib in row["peak_mib"].items() if role.startswith("worker")), default=0.0)
        found = {
            "each record once, in order (faults)": at_most(0 if self.ours.count.perfect else 1, 0),
            "worker's peak, MiB": at_most(worker, 400),
        }
        if self.case.size == _SMALL:
            found["records per CPU-second"] = at_least(row["records_per_cpu_s"], 2.5e6 if self.https else 4e6)
            if ratios:
                found["CPU, times Bento's"] = at_least(ratios["cpu"], 5)
                found["wall, times Bento's"] = at_least(ratios["wall_without_bentos_last_wait"], 2)
        elif not self.https:
            found["CPU-seconds per GB"] = at_most(row["cpu_s_per_gb"], 1.3)
            if ratios:
                found["CPU, times Bento's"] = at_least(ratios["cpu"], 2.5)
        return found


@dataclass(slots=True)
class Rests:
    """What was measured beside the topics, if anything."""

    idle: Rest | None = None
    wide: Wide | None = None

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """By name, with targets."""
        found: dict[str, dict[str, Any]] = {}
        if self.idle is not None:
            found["idle"] = {**asdict(self.idle), "targets": idle_targets(self.idle)}
        if self.wide is not None:
            found["wide"] = {**asdict(self.wide), "targets": wide_targets(self.wide)}
        return found


def wide_targets(wide: Wide) -> dict[str, Verdict]:
    """Name → [value, target, verdict]."""
    found = {
        "wide: % of a core": at_most(wide.ours.cpu_percent, 50),
        "wide: worker, MiB": at_most(wide.ours.worker_mib, 400),
        "wide: seconds' worth of records not told as read at the end": at_most(round(wide.unread / wide.ours.partitions, 1), 4),
    }
    if wide.bento is not None:
        theirs = wide.bento.others_cpu_percent["broker"]
        found["wide: broker's CPU, times that with Bento"] = at_most(round(wide.ours.others_cpu_percent["broker"] / theirs, 2), 1)
    return found


def idle_targets(idle: Rest) -> dict[str, Verdict]:
    """Name → [value, target, verdict]."""
    return {"idle: % of a core": at_most(idle.cpu_percent, 5), "idle: MiB, all processes": at_most(idle.rss_mib, 450)}


def show(compared: Sequence[Compared], rests: Rests) -> None:
    """Print the tables."""
    console = Console()
    for one in compared:
        content = one.as_dict()
        sides = {name: content[name] for name in ("ours", "bento") if content[name] is not None}
        show_sides(console, f"{one.name}: {content['records']:,} records, compressed {content['compressed']} : 1", sides)
        if content["ratios"]:
            console.print(f"Ratios, Bento / ours: {content['ratios']}")
        show_targets(console, one.name, content["targets"])
        if one.void:
            console.print(
                f"[bold red]{one.case.name}: void[/] — Bento was more than 30 % slower than it is known to be; run it again"
            )
    for name, measured in rests.as_dict().items():
        console.print_json(json.dumps({key: value for key, value in measured.items() if key != "targets"}))
        show_targets(console, name, measured["targets"])


def store(compared: Sequence[Compared], rests: Rests, command: str) -> Path:
    """Write the result file."""
    now = datetime.datetime.now(datetime.UTC)
    path = free_name(RESULTS, "", now).with_suffix(".json")
    content = {
        "at": now.isoformat(timespec="seconds"),
        "command": command,
        "machine": machine(),
        "versions": versions(bento=BENTO_VERSION, versitygw=VERSITYGW_VERSION),
        "settings": {
            "partitions": PARTITIONS,
            "batch_bytes": BATCH_BYTES,
            "bento_object_bytes": OBJECT_BYTES,
            "bento_batch_period_s": BATCH_PERIOD_S,
        },
        "compared": [one.as_dict() for one in compared],
        **rests.as_dict(),
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path
