"""What a run has shown: a table for each topic with all sides, both ratios beside the targets, and the result files: JSON for machines,
Markdown for people."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from signal import SIGKILL, SIGTERM
from statistics import median
from typing import Any, Final

from rich.console import Console

from bench.common.bento import VERSION as BENTO_VERSION
from bench.common.data import PARTITIONS
from bench.common.resting import Rest
from bench.common.results import SHORTEST, Verdict, at_least, at_most, free_name, machine, show_sides, show_targets, versions
from bench.kafka_replication import bento, markdown, mirror_maker, ours, published
from bench.kafka_replication.beside import Beside
from bench.kafka_replication.cases import Copy
from bench.kafka_replication.copying import Copied
from bench.kafka_replication.latency import Latency
from bench.kafka_replication.pause import Pauses
from bench.kafka_replication.wide import Wide
from smartconnect.sandbox.kafka import BENCHMARK_JVM, KAFKA_VERSION

RESULTS: Final = Path(__file__).parent.parent / "results"
_PEERS: Final = {mirror_maker.NAME: "MirrorMaker 2", bento.NAME: "Bento"}
_WORKER_MIB: Final = 250


@dataclass(frozen=True, slots=True)
class Compared:
    """One topic, one copy for each side that ran; a side that failed has its reason in `failed`."""

    case: Copy
    stored_bytes: int
    sides: Mapping[str, Copied]
    failed: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        case, batches = self.case, -(-self.case.per_partition // self.case.per_batch) * PARTITIONS
        return {
            "case": case.name,
            "records": case.total,
            "value_bytes": case.size,
            "records_per_batch": case.per_batch,
            "stored_batch_bytes": round(self.stored_bytes / batches),
            "compressed": round(case.total * case.size / self.stored_bytes, 2),
            "exactly_once": {ours.NAME: case.exactly_once, mirror_maker.NAME: case.peer_exactly_once, bento.NAME: False},
            "sides": {name: row(copied, case) for name, copied in self.sides.items()},
            "failed": dict(self.failed),
            "ratios": self.ratios(),
            "targets": self.targets(),
            "void": self.void,
        }

    @property
    def void(self) -> list[str]:
        """Peers that were much slower than they are known to be: the machine was busy with something else."""
        known = {name: published.known(name, self.case) for name in self.sides if name in _PEERS}
        return [
            _PEERS[name]
            for name, expected in known.items()
            if expected is not None and row(self.sides[name], self.case)["mb_per_s"] < SHORTEST * expected.mb_per_s
        ]

    def ratios(self) -> dict[str, dict[str, float]]:
        """Peer → how many times our CPU it took, and how many times its throughput ours was, both in the steady state; and its CPU as a
        multiple of what it takes on a quiet machine: above 1.3 the run says little."""
        if ours.NAME not in self.sides:
            return {}
        mine = row(self.sides[ours.NAME], self.case)
        found = {}
        for name in _PEERS:
            if name in self.sides:
                theirs = row(self.sides[name], self.case)
                found[name] = {
                    "cpu": round(theirs["cpu_s_per_gb"] / max(mine["cpu_s_per_gb"], 1e-9), 2),
                    "throughput": round(mine["mb_per_s"] / max(theirs["mb_per_s"], 1e-9), 2),
                }
                if (expected := published.known(name, self.case)) is not None:
                    found[name]["its_cpu_against_published"] = round(theirs["cpu_s_per_gb"] / expected.cpu_s_per_gb, 2)
        return found

    def targets(self) -> dict[str, Verdict]:
        """Name → [value, target, verdict]."""
        if ours.NAME not in self.sides:
            return {}
        mine, ratios, cpu = self.sides[ours.NAME], self.ratios(), published.cpu_wanted(self.case)
        worker = max((mib for role, mib in mine.whole.peak_mib.items() if "worker" in role), default=0.0)
        found = {
            "each record once, in order (faults)": at_most(0 if mine.count.perfect else 1, 0),
            "start to first record, s": at_most(round(mine.start_s, 2), 1),
            "worker's peak, MiB": at_most(worker, _WORKER_MIB),
        }
        for name, ratio in ratios.items():
            if name in cpu:
                found[f"CPU, {_PEERS[name]}'s as a multiple of ours"] = at_least(ratio["cpu"], cpu[name])
                found[f"throughput, ours as a multiple of {_PEERS[name]}'s"] = at_least(ratio["throughput"], published.WALL[name])
        return found


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that one run measured."""

    compared: list[Compared] = field(default_factory=list)
    latencies: list[Latency] = field(default_factory=list)
    beside: list[Beside] = field(default_factory=list)
    pauses: list[Pauses] = field(default_factory=list)
    wide: list[Wide] = field(default_factory=list)
    idle: list[Rest] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def faultless(self) -> bool:
        """Ours copied everything it was asked to, once and in order."""
        ran = all(ours.NAME not in one.failed for one in self.compared) and not self.failed
        once = all(not one.lost and not one.twice for one in self.pauses)
        return ran and once and all(one.sides[ours.NAME].count.perfect for one in self.compared if ours.NAME in one.sides)


def row(copied: Copied, case: Copy) -> dict[str, Any]:
    """What is printed and stored of a side."""
    steady, whole = copied.steady, copied.whole
    gigabytes = max(copied.records, 1) * case.size / 1e9
    wall_s = max(steady.wall_s, 1e-3)
    return {
        "mb_per_s": round(1000 * gigabytes / wall_s, 1),
        "records_per_s": round(copied.records / wall_s),
        "cpu_s_per_gb": round(steady.cpu_s / gigabytes, 3),
        "start_to_first_record_s": round(copied.start_s, 2),
        "rss_mib": round(sum(whole.peak_mib.values()), 1),
        "peak_mib": whole.peak_mib,
        "steady_records": copied.records,
        "steady_wall_s": round(steady.wall_s, 2),
        "steady_cpu_s": round(steady.cpu_s, 2),
        "whole_wall_s": round(whole.wall_s, 2),
        "whole_cpu_s_per_gb": round(whole.cpu_s / case.gigabytes, 3),
        "brokers_cpu_s_per_gb": {name: round(cpu / gigabytes, 2) for name, cpu in steady.others_cpu_s.items()},
        "target_batches": copied.batches,
        "target_markers": copied.markers,
        "load_average": [round(load, 2) for load in whole.load],
        "ids": {name: value for name, value in asdict(copied.count).items() if name != "seen"},
    }


def latency_targets(one: Latency) -> dict[str, Verdict]:
    """At least once: to the append on the target. Exactly once: as a read_committed reader sees it."""
    if one.side != ours.NAME or not one.seen_ms:
        return {}
    if one.exactly_once:
        return {"p50, ms": at_most(one.seen_ms["p50"], 40), "p99, ms": at_most(one.seen_ms["p99"], 100)}
    return {"p50, ms": at_most(one.append_ms["p50"], 4), "p99, ms": at_most(one.append_ms["p99"], 15)}


def beside_targets(one: Beside) -> dict[str, Verdict]:
    return {"p99 beside a dump, as a multiple of alone": at_most(one.ratio, 3)}


def pause_targets(one: Pauses) -> dict[str, Verdict]:
    """The longest of all; a worker's return is part of it."""
    return {
        "take-over after kill -9, longest pause, s": at_most(round(max(one.longest_ms(SIGKILL)) / 1000, 2), 3),
        "rolling restart, longest pause, s": at_most(round(max(one.longest_ms(SIGTERM)) / 1000, 2), 2),
        "records lost or twice": at_most(one.lost + one.twice, 0),
    }


def wide_targets(wide: Wide) -> dict[str, Verdict]:
    share = round(100 * wide.markers / max(wide.records, 1), 1)
    return {
        "wide: % of a core": at_most(wide.rest.cpu_percent, 70),
        "wide: markers, % of the records": at_most(share, 25),
        "wide: worker, MiB": at_most(wide.rest.worker_mib, _WORKER_MIB),
        "wide: % of what was sent is visible": at_least(round(100 * wide.records / max(wide.sent, 1), 1), 99),
    }


def idle_targets(idle: Rest) -> dict[str, Verdict]:
    return {"idle: % of a core": at_most(idle.cpu_percent, 5), "idle: worker, MiB": at_most(idle.worker_mib, _WORKER_MIB)}


def show(findings: Findings) -> None:
    """Print the tables."""
    console = Console()
    for one in findings.compared:
        content = one.as_dict()
        show_sides(console, f"{one.case.name}: {one.case.total:,} records, {one.case.gigabytes:.2f} GB", content["sides"])
        for peer, ratio in content["ratios"].items():
            console.print(f"{_PEERS[peer]}: {ratio['cpu']} x our CPU; our throughput {ratio['throughput']} x its {_against(ratio)}")
        for side, why in one.failed.items():
            console.print(f"[bold red]{one.case.name}: {side} failed[/]: {why}")
        show_targets(console, one.case.name, content["targets"])
        if one.void:
            console.print(
                f"[bold red]{one.case.name}: void[/] — more than 30 % slower than known: {', '.join(one.void)}; run it again"
            )
    for late in findings.latencies:
        title = f"{late.side}, {_of(late)}"
        show_sides(console, title, {title: asdict(late)})
        if wanted := latency_targets(late):
            show_targets(console, title, wanted)
    for title, content, wanted in _others(findings):
        console.print_json(json.dumps({title: content}))
        show_targets(console, title, wanted)
    for why in findings.failed:
        console.print(f"[bold red]failed[/]: {why}")


def store(findings: Findings, command: str, settings: Mapping[str, object]) -> Path:
    """Write both result files; the path of the Markdown."""
    now = datetime.datetime.now(datetime.UTC)
    name = free_name(RESULTS, "kafka_replication-", now)
    content = {
        "at": now.isoformat(timespec="seconds"),
        "command": command,
        "machine": machine(),
        "versions": versions(mirror_maker=KAFKA_VERSION, bento=BENTO_VERSION),
        "settings": {**_settings(), **settings},
        "compared": [one.as_dict() for one in findings.compared],
        "latencies": [{**asdict(one), "targets": latency_targets(one)} for one in findings.latencies],
        "others": [{"mode": title, **found, "targets": wanted} for title, found, wanted in _others(findings)],
        "failed": findings.failed,
    }
    name.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n")
    path = name.with_suffix(".md")
    path.write_text(markdown.page(content))
    return path


def _against(ratio: Mapping[str, float]) -> str:
    share = ratio.get("its_cpu_against_published")
    return "" if share is None else f"({share} x the CPU that it takes on a quiet machine)"


def _others(findings: Findings) -> Sequence[tuple[str, dict[str, Any], dict[str, Verdict]]]:
    """Mode, figures, targets."""
    return [
        *((f"beside a dump, {_of(one.alone)}", _beside(one), beside_targets(one)) for one in findings.beside),
        *(("pause", _pauses(one), pause_targets(one)) for one in findings.pauses),
        *(("wide", asdict(one), wide_targets(one)) for one in findings.wide),
        *(("idle", asdict(one), idle_targets(one)) for one in findings.idle),
    ]


def _of(late: Latency) -> str:
    return f"{late.rate}/s, {'exactly' if late.exactly_once else 'at least'} once"


def _beside(one: Beside) -> dict[str, Any]:
    return {"ratio_of_p99": one.ratio, **asdict(one)}


def _pauses(one: Pauses) -> dict[str, Any]:
    """With the median and the longest of each kind."""
    found = {"kill_9_ms": one.longest_ms(SIGKILL), "rolling_restart_ms": one.longest_ms(SIGTERM)}
    summary = {name: {"median": round(median(values), 1), "max": max(values)} for name, values in found.items()}
    return {**summary, **asdict(one)}


def _settings() -> dict[str, object]:
    return {
        "partitions": PARTITIONS,
        "broker_jvm": " ".join(BENCHMARK_JVM),
        "mirror_maker": {
            "jvm": " ".join(mirror_maker.JVM),
            "tasks.max": mirror_maker.TASKS,
            "consumer": mirror_maker.CONSUMER,
            "producer": {**mirror_maker.PRODUCER, "batch.size": "the topic's", "compression.type": "the topic's"},
        },
        "bento": bento.SETTINGS,
        "bento_batching": bento.BATCHING,
    }
