"""`tasks list` on terminals of any width: no name is cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from smartconnect.cli.tasks import table
from smartconnect.cli.tasks.find import Found
from smartconnect.cli.tasks.target import Place

TASK = {"task_name": "orders-to-the-lake", "status": "RUNNING", "id": "0dcef4d6-bc4e-4f83-bf61-58a1cd0c2986"}
PROGRESS = {
    "kind": "kafka_replication", "health": "retrying", "phase": "initial_copy", "lag_records": 297_123,
    "throughput": {"records_per_s": 11_900.0},
}  # fmt: skip


@pytest.mark.parametrize(("width", "left_out"), [(240, ""), (120, "ID"), (100, "ID"), (80, "PHASE ID"), (66, "KIND PHASE ID")])
def test_columns_go_where_there_is_no_room_and_no_name_is_cut(monkeypatch: pytest.MonkeyPatch, width: int, left_out: str) -> None:
    told = io.StringIO()
    monkeypatch.setattr(table, "console", lambda: Console(file=told, width=width))
    table.print_tasks([(Found(Place("p", "i"), TASK), PROGRESS)])
    header, row = told.getvalue().splitlines()
    assert [name for name in table._COLUMNS if name not in header.split()] == left_out.split()
    assert row.split()[0] == TASK["task_name"]
    assert "…" not in row


def test_no_tasks_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    table.print_tasks([])
    assert capsys.readouterr().out == "no tasks\n"
