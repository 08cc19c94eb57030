"""What a replication copies where, topic by topic, as part of a task's progress panel. Pure: JSON in, a table out.

Partitions are reported more rarely than their units: where a unit says that nothing is missing, its partitions' older lag is not shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.markup import escape
from rich.table import Table

from smartconnect.cli import words

_MOST_TOPICS: Final = 8


@dataclass(slots=True)
class _Topic:
    """Sums over the partitions of one topic in one direction. None: one of them is not known."""

    partitions: int = 0
    lag: int | None = 0
    oldest_ms: int | None = 0
    held: int = 0

    def add(self, row: Mapping[str, Any]) -> None:
        lag, waiting = row["lag_records"], row["lag_ms"]
        self.partitions += 1
        self.lag = None if self.lag is None or lag is None else self.lag + lag
        self.oldest_ms = None if self.oldest_ms is None or waiting is None else max(self.oldest_ms, waiting)
        self.held += row.get("held_by_open_transaction") or 0


def partitions_now(progress: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The partitions of a progress answer, none of them behind what its unit has reported since."""
    done = {unit["name"] for unit in progress["units"] if unit["lag_records"] == 0}
    return [_arrived(row) if row.get("unit") in done else row for row in progress["partitions"]]


def _arrived(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**row, "lag_records": 0, "lag_ms": 0, "state": "idle" if row["state"] == "moving" else row["state"]}


def topics(progress: Mapping[str, Any]) -> Table | None:
    """Those that lag most come first; None where no partition has a direction."""
    found: dict[tuple[str, str, str], _Topic] = {}
    for row in partitions_now(progress):
        if row.get("direction"):
            found.setdefault((row["direction"], row["topic"], row["target"]), _Topic()).add(row)
    if not found:
        return None
    table = Table.grid(padding=(0, 2))
    ordered = sorted(found.items(), key=lambda item: (item[1].lag is not None, -(item[1].lag or 0), item[0]))
    for (direction, topic, target), sums in ordered[:_MOST_TOPICS]:
        name = escape(topic) if topic == target else f"{escape(topic)} → {escape(target)}"
        table.add_row(f"  {direction}", name, words.counted(sums.partitions, "partition"), _lag(sums), _held(sums))
    if len(ordered) > _MOST_TOPICS:
        table.add_row("", f"… and {len(ordered) - _MOST_TOPICS} more")
    return table


def _lag(sums: _Topic) -> str:
    if sums.lag == 0:
        return "[green]nothing is missing[/]"
    waiting = "" if sums.oldest_ms is None else f", {words.duration(sums.oldest_ms)}"
    return f"lag {words.number(sums.lag)}{waiting}"


def _held(sums: _Topic) -> str:
    return f"[yellow]{words.number(sums.held)} held by an open transaction[/]" if sums.held else ""
