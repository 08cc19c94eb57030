"""Progress as a person reads it, from the JSON of the API."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from smartconnect.cli import progress_view

REASON = {
    "code": "target_unreachable", "message": "bucket [lake]: connection refused", "unit": "dump-1-0",
    "since": 1767322100000, "attempts": 3, "next_try_at": None,
}  # fmt: skip
PROGRESS: dict[str, Any] = {
    "task_id": "3c0a", "task_name": "orders-dump", "kind": "obs_dump", "status": "RUNNING", "health": "retrying", "run": 1,
    "run_started_at": 1767322000000, "as_of": 1767322123456, "reason": REASON, "phase": "initial_copy",
    "phase_started_at": 1767322000500, "percent": 41.7, "eta_ms": 93000,
    "counters": {"records_in": 581000, "records_out": 580000, "bytes_out": 59000000, "objects": 14},
    "throughput": {"records_per_s": 120000.0, "bytes_in_per_s": 12600000.0, "bytes_out_per_s": 12200000.0},
    "lag_records": 812000, "lag_ms": 214000, "lag_bytes": None,
    "units": [{"name": "dump-1-0", "state": "retrying", "owner": "host-a/worker-2", "epoch": 7, "reason": REASON, "lag_records": 3}],
    "partitions": [
        {"topic": "orders", "partition": 3, "state": "blocked", "reason": {"message": "position of orders-3 is gone"}},
        {"topic": "orders", "partition": 4, "state": "moving", "reason": None},
    ],
    "partitions_total": 12,
    "events": [{"at": 1767322000000, "level": "warning", "code": "gap", "message": "retention removed [5, 9)", "unit": None}],
}  # fmt: skip
BEFORE_THE_START: dict[str, Any] = PROGRESS | {
    "status": "WAITING", "health": "stopped", "run": 0, "reason": None, "phase": None, "percent": None, "eta_ms": None,
    "counters": {}, "throughput": {}, "lag_records": None, "lag_ms": None, "units": [], "partitions": [], "partitions_total": 0,
    "events": [],
}  # fmt: skip


def shown(progress: dict[str, Any]) -> str:
    console = Console(width=120, file=io.StringIO(), force_terminal=False)
    console.print(progress_view.panel(progress))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_panel_shows_phase_lag_rate_blocked_partitions_reason_and_events() -> None:
    text = shown(PROGRESS)
    for piece in (
        "orders-dump", "RUNNING", "initial_copy", "41.7 %", "1 min 33 s left", "812,000 records", "3 min 34 s",
        "120,000 records/s", "581,000 records read", "14 objects", "1 blocked", "position of orders-3 is gone",
        "bucket [lake]: connection refused", "3 tries", "host-a/worker-2", "retention removed [5, 9)",
    ):  # fmt: skip
        assert piece in text, piece


def test_what_is_not_known_is_no_zero() -> None:
    text = shown(BEFORE_THE_START)
    assert "not started" in text
    assert "– records" in text


def test_the_line_has_the_same_without_markup() -> None:
    line = progress_view.line(PROGRESS)
    assert "orders-dump: RUNNING retrying, initial_copy 42 %, 581,000 records read, 14 objects, lag 812,000 records" in line
    assert line.endswith("bucket [lake]: connection refused")


def test_a_replication_tells_how_its_batches_travelled() -> None:
    replication = PROGRESS | {"kind": "kafka_replication", "counters": {"records_in": 7, "batches_passed": 1200, "objects": 0}}
    line = progress_view.line(replication)
    assert "7 records read, 1,200 batches passed as they were, 0 rewritten, lag" in line
    assert "objects" not in line and "1,200 batches passed as they were, 0 rewritten" in shown(replication)


def test_brief_leaves_units_and_events_out() -> None:
    console = Console(width=120, file=io.StringIO(), force_terminal=False)
    console.print(progress_view.brief(PROGRESS))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "orders-dump" in text and "812,000 records" in text and "connection refused" in text
    assert "host-a/worker-2" not in text and "retention removed" not in text
