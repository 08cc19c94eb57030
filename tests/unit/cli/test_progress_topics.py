"""A replication's topics as the progress panel shows them."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from smartconnect.cli.progress_topics import partitions_now, topics
from smartconnect.cli.progress_view import panel
from tests.unit.cli.test_progress_view import PROGRESS


def row(topic: str, partition: int, lag: int | None, **more: Any) -> dict[str, Any]:
    return {
        "direction": "pull", "topic": topic, "target": f"rome.{topic}", "partition": partition, "unit": "pull-1-0", "state": "moving",
        "lag_records": lag, "lag_ms": None if lag is None else lag * 10, "held_by_open_transaction": None, "reason": None, **more,
    }  # fmt: skip


def unit(name: str, lag: int | None) -> dict[str, Any]:
    return {"name": name, "state": "running", "owner": "host", "epoch": 1, "reason": None, "lag_records": lag}


def shown(*rows: dict[str, Any], units: tuple[dict[str, Any], ...] = (unit("pull-1-0", 5),)) -> list[str]:
    """Lines of the table."""
    console = Console(width=120, file=io.StringIO(), force_terminal=False)
    table = topics({"units": list(units), "partitions": list(rows)})
    console.print("" if table is None else table)
    assert isinstance(console.file, io.StringIO)
    return [line.strip() for line in console.file.getvalue().splitlines() if line.strip()]


def test_each_topic_is_one_line_with_direction_target_and_lag_the_slowest_first() -> None:
    lines = shown(
        row("orders", 0, 20),
        row("orders", 1, 30),
        row("payments", 0, 400, held_by_open_transaction=7),
        row("idle", 0, 0, direction="push", target="idle"),
        row("new", 0, None),
    )
    assert [line.split()[1] for line in lines] == ["new", "payments", "orders", "idle"]
    assert "lag –" in lines[0]
    assert "payments → rome.payments" in lines[1] and "lag 400, 4.0 s" in lines[1] and "7 held by an open transaction" in lines[1]
    assert "2 partitions" in lines[2] and "lag 50, 300 ms" in lines[2]
    assert lines[3].startswith("push  idle ") and "→" not in lines[3] and "nothing is missing" in lines[3]


def test_older_rows_of_a_unit_that_has_arrived_show_no_lag() -> None:
    rows = [row("orders", 0, 20), row("orders", 1, 30, state="blocked"), row("other", 0, 9, unit="pull-1-1")]
    units = (unit("pull-1-0", 0), unit("pull-1-1", 9))
    now = partitions_now({"units": units, "partitions": rows})
    assert [(found["lag_records"], found["state"]) for found in now] == [(0, "idle"), (0, "blocked"), (9, "moving")]
    assert "lag" not in shown(*rows, units=units)[1]


def test_many_topics_end_with_how_many_more_and_a_dump_has_none() -> None:
    lines = shown(*(row(f"t{number}", 0, number) for number in range(1, 12)))
    assert len(lines) == 9 and lines[-1] == "… and 3 more"
    assert topics(PROGRESS) is None


def test_the_panel_tells_topics_and_the_direction_of_what_is_blocked() -> None:
    blocked = row("orders", 3, 5, state="blocked", reason={"message": "too large"})
    console = Console(width=120, file=io.StringIO(), force_terminal=False)
    console.print(panel(PROGRESS | {"kind": "kafka_replication", "partitions": [blocked]}))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "Topics" in text and "orders → rome.orders" in text and "pull orders-3" in text
