"""The table of `tasks list`. Names are never cut: where the terminal is too narrow for all columns, those go that `show` and `watch`
tell too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from rich.markup import escape
from rich.table import Table

from smartconnect.cli import words
from smartconnect.cli.output import console
from smartconnect.cli.tasks.find import Found

_COLUMNS: Final = ("NAME", "KIND", "STATUS", "HEALTH", "PHASE", "LAG", "RECORDS/S", "ID")
_NUMBERS: Final = ("LAG", "RECORDS/S")
_LEFT_OUT: Final = ((), ("ID",), ("ID", "PHASE"), ("ID", "PHASE", "KIND"))
_ANY_WIDTH: Final = 10_000

Row = tuple[Found, Mapping[str, Any]]


def print_tasks(rows: Sequence[Row]) -> None:
    """Each task with its progress."""
    if not rows:
        print("no tasks")
        return
    screen = console()
    endless = screen.options.update(max_width=_ANY_WIDTH)
    tables = [_table(rows, left_out) for left_out in _LEFT_OUT]
    screen.print(next((table for table in tables if screen.measure(table, options=endless).maximum <= screen.width), tables[-1]))


def _table(rows: Sequence[Row], left_out: Collection[str]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    shown = [name for name in _COLUMNS if name not in left_out]
    for name in shown:
        table.add_column(name, justify="right" if name in _NUMBERS else "left", overflow="fold")
    for found, progress in rows:
        cells = _cells(found, progress)
        table.add_row(*(cells[name] for name in shown))
    return table


def _cells(found: Found, progress: Mapping[str, Any]) -> Mapping[str, str]:
    return {
        "NAME": escape(found.task["task_name"]),
        "KIND": progress["kind"],
        "STATUS": words.state(found.task["status"]),
        "HEALTH": words.state(progress["health"]),
        "PHASE": progress["phase"] or "–",
        "LAG": words.number(progress["lag_records"]),
        "RECORDS/S": words.number(progress["throughput"].get("records_per_s")),
        "ID": found.task["id"],
    }
