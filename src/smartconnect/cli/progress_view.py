"""A task's progress (api.md §7) as a person reads it: one panel for rich, or one line where there is no terminal. Pure: JSON in, text out.
Used by `tasks watch` and `demo`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from smartconnect.cli import words
from smartconnect.cli.progress_topics import partitions_now, topics
from smartconnect.domain.task import Kind

_BAR_WIDTH: Final = 40
_MOST_BLOCKED: Final = 5
_MOST_EVENTS: Final = 5
_MOST_UNITS: Final = 8

Progress = Mapping[str, Any]


def panel(progress: Progress) -> RenderableType:
    """Everything worth seeing while a task runs."""
    parts: list[RenderableType] = [_table(progress)]
    for title, table in (
        ("Topics", topics(progress)),
        ("Units", _units(progress)),
        ("Blocked", _blocked(progress)),
        ("Newest events", _events(progress)),
    ):
        if table is not None:
            parts += [Text(f"\n{title}", style="bold"), table]
    return _framed(progress, Group(*parts))


def brief(progress: Progress) -> RenderableType:
    """The same without units and events, for several tasks above each other."""
    return _framed(progress, _table(progress))


def _framed(progress: Progress, content: RenderableType) -> RenderableType:
    title = f"[bold]{escape(str(progress['task_name']))}[/]  {words.state(progress['status'])}  {words.state(progress['health'])}"
    footer = f"run {progress['run']} · {progress['kind']} · as of {words.clock(progress['as_of'])}"
    return Panel(content, title=title, title_align="left", subtitle=footer, subtitle_align="right", padding=(0, 1))


def _table(progress: Progress) -> Table:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", min_width=10)
    facts.add_column()
    for name, value in _facts(progress):
        facts.add_row(name, value)
    return facts


def line(progress: Progress) -> str:
    """The same in one line without colours, for logs."""
    counters = progress["counters"]
    percent = progress["percent"]
    advance = "" if percent is None else f" {percent:.0f} %"
    text = (
        f"{progress['task_name']}: {progress['status']} {progress['health']}, {progress['phase']}{advance}, "
        f"{words.number(counters.get('records_in'))} records read, {_carried(progress)}, "
        f"lag {words.number(progress['lag_records'])} records, {words.number(progress['throughput'].get('records_per_s'))} records/s"
    )
    reason = progress["reason"]
    return text if reason is None else f"{text}; {reason['message']}"


def _facts(progress: Progress) -> Iterator[tuple[str, RenderableType]]:
    yield "phase", _phase(progress)
    yield "lag", _lag(progress)
    rates = progress["throughput"]
    yield (
        "rate",
        (
            f"{words.size(rates.get('bytes_in_per_s'))}/s read; {words.number(rates.get('records_per_s'))} records/s "
            f"({words.size(rates.get('bytes_out_per_s'))}/s) became visible"
        ),
    )
    counters = progress["counters"]
    yield (
        "so far",
        (
            f"{words.number(counters.get('records_in'))} records read, {words.number(counters.get('records_out'))} visible "
            f"({words.size(counters.get('bytes_out'))}), {_carried(progress)}"
        ),
    )
    yield "partitions", _partitions(progress)
    if (reason := progress["reason"]) is not None:
        since = words.clock(reason["since"])
        yield "reason", f"[yellow]{escape(reason['message'])}[/] [dim](since {since}, {reason['attempts']} tries)[/]"


def _carried(progress: Progress) -> str:
    """What the records travelled in."""
    counters = progress["counters"]
    if progress["kind"] != Kind.KAFKA_REPLICATION:
        return f"{words.number(counters.get('objects'))} objects"
    return (
        f"{words.number(counters.get('batches_passed', 0))} batches passed as they were, "
        f"{words.number(counters.get('batches_rewritten', 0))} rewritten"
    )


def _phase(progress: Progress) -> RenderableType:
    phase, percent = progress["phase"] or "not started", progress["percent"]
    if percent is None or phase == "dumping":
        return str(phase)
    row = Table.grid(padding=(0, 2))
    eta = progress["eta_ms"]
    row.add_row(
        str(phase),
        ProgressBar(total=100, completed=percent, width=_BAR_WIDTH),
        f"{percent:.1f} %" + ("" if eta is None else f", {words.duration(eta)} left"),
    )
    return row


def _lag(progress: Progress) -> str:
    records, waiting = progress["lag_records"], progress["lag_ms"]
    if records == 0:
        return "[green]nothing is missing[/]"
    return f"{words.number(records)} records, the oldest has been waiting {words.duration(waiting)}"


def _partitions(progress: Progress) -> str:
    states = Counter(str(row["state"]) for row in partitions_now(progress))
    shown, total = sum(states.values()), progress["partitions_total"]
    each = ", ".join(
        f"[red]{count} {name}[/]" if name == "blocked" else f"{count} {name}" for name, count in sorted(states.items())
    )
    rest = f" (of the first {shown})" if shown < total else ""
    return f"{words.number(total)}" + (f": {each}{rest}" if each else "")


def _units(progress: Progress) -> Table | None:
    units = progress["units"][:_MOST_UNITS]
    if not units:
        return None
    table = Table.grid(padding=(0, 2))
    for unit in units:
        reason = unit["reason"]
        told = "" if reason is None or progress["reason"] is not None else escape(reason["message"])
        table.add_row(
            f"  {unit['name']}",
            words.state(unit["state"]),
            f"{unit['owner'] or 'nobody'}",
            f"[dim]epoch {unit['epoch']}[/]",
            f"lag {words.number(unit['lag_records'])}",
            told,
        )
    left = len(progress["units"]) - len(units)
    if left > 0:
        table.add_row(f"  … and {left} more")
    return table


def _blocked(progress: Progress) -> Table | None:
    blocked = [row for row in progress["partitions"] if row["state"] == "blocked"]
    if not blocked:
        return None
    table = Table.grid(padding=(0, 2))
    for row in blocked[:_MOST_BLOCKED]:
        reason = row["reason"]
        way = f"{row['direction']} " if row.get("direction") else ""
        table.add_row(f"  [red]{way}{row['topic']}-{row['partition']}[/]", "" if reason is None else escape(reason["message"]))
    if len(blocked) > _MOST_BLOCKED:
        table.add_row(f"  … and {len(blocked) - _MOST_BLOCKED} more")
    return table


def _events(progress: Progress) -> Table | None:
    events = progress["events"][:_MOST_EVENTS]
    if not events:
        return None
    table = Table.grid(padding=(0, 2))
    for event in events:
        table.add_row(f"  [dim]{words.clock(event['at'])}[/]", words.state(event["level"]), escape(event["message"]))
    return table
