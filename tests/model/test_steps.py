"""The step log itself: whole lines from several processes, nothing while it is off."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

from smartconnect.jobs.obs_dump.steps import (
    IncarnationSteps,
    JsonStepLog,
    NamedUpload,
    NullStepLog,
    Outcome,
    Step,
    StepEvent,
)
from tests.model.logs import read_logs

LINES = 300


def test_every_field_comes_back_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    entry = NamedUpload("u1", 7, 10)
    event = StepEvent(
        Step.TXN_OFFSET_COMMIT, Outcome.SENT, "task", "dump-1-0", "life", 2, 1, 3, "orders-3", 12, 10, "u1", "u0", (entry,),
        ("u1", "u2"), "dump-0-0", 5,
    )  # fmt: skip
    log = JsonStepLog(path, monotonic_ns=iter([17]).__next__)
    log.log(event)
    log.close()
    assert read_logs([path]).lines == ((17, event),)


def test_processes_share_one_file_and_no_line_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_write, args=(path, f"life-{number}")) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    log = read_logs([path])
    assert log.torn == 0
    assert [line.at for line in log.lines] == sorted(line.at for line in log.lines)
    for number in range(3):
        told = [event.offset for _, event in log.lines if event.incarnation == f"life-{number}"]
        assert told == list(range(LINES))


def test_nothing_is_built_while_the_log_is_off() -> None:
    class Forbidding(NullStepLog):
        def log(self, event: StepEvent) -> None:
            raise AssertionError("a log that is off was given an event")

    pen = IncarnationSteps(Forbidding(), "task", "dump-1-0", "life", 1, 1, 1)
    pen.note(Step.SEAL, partition="orders-3", upload="u1", start=0, offset=10)
    assert not pen.log.enabled


def _write(path: Path, name: str) -> None:
    pen = IncarnationSteps(JsonStepLog(path), "task", "dump-1-0", name, 1, 1, 1)
    for number in range(LINES):
        pen.note(Step.SEAL, partition="orders-3", upload="x" * 200, start=0, offset=number)
