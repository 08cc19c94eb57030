"""Renders the meters of all processes of this machine as Prometheus text. Each process's snapshot is one source; samples get the
label `process`, so sums over it are sums over the machine. No files are shared between processes: a dead one is simply not listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from smartconnect.telemetry.meters import Sample
from smartconnect.telemetry.names import ALL_METRICS, Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_KNOWN: Final[Mapping[str, Metric]] = {name: metric for metric in ALL_METRICS for name in metric.series}


def render(sources: Mapping[str, Sequence[Sample]]) -> str:
    """`sources`: samples by process name ("worker-0", "api"). A sample of a metric that is not in `names` is left out: its labels
    have no names. Families are sorted, so that two answers can be compared."""
    families: dict[Metric, list[str]] = {}
    for process in sorted(sources):
        for name, values, value in sources[process]:
            metric = _KNOWN.get(name)
            if metric is not None and len(values) == len(metric.series[name]):
                labels = [("process", process), *zip(metric.series[name], values, strict=True)]
                families.setdefault(metric, []).append(f"{name}{{{_labels(labels)}}} {_number(value)}")
    lines: list[str] = []
    for metric in sorted(families, key=lambda each: each.name):
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}", *families[metric]]
    return "\n".join(lines) + "\n"


def _labels(pairs: Sequence[tuple[str, str]]) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in pairs)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
