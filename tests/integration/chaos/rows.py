"""Which row of the crash table (obs-dump.md §4) a death or an awakening was, read from the step log that the real processes wrote.

Guarantees that a row counts only if the dead incarnation's own last lines show it: nothing is taken on trust from whoever aimed the
kill. Called by the chaos run, while it aims and for its report.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CRASHES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "m")
ZOMBIES = ("z1", "z2", "z3")

_TRANSACTIONAL = {"add_offsets", "txn_offset_commit", "end_commit", "new_epoch"}
_VISIBLE = {"ok", "gone"}
_IDLE = {"0", "8"}


@dataclass(slots=True)
class Life:
    """One incarnation, as far as the log tells. `begun`: it has passed step 3. `over`: it ended by itself or fenced."""

    unit: str
    begun_at: int | None = None
    over: bool = False
    creating: Counter[str] = field(default_factory=Counter)
    sending: Counter[str] = field(default_factory=Counter)
    transaction: dict[str, list[str]] | None = None  # partition → uploads that it is about to name
    ending: bool = False
    named: dict[str, list[str]] = field(default_factory=dict)  # partition → uploads that its position names
    completing: set[str] = field(default_factory=set)
    completed: set[str] = field(default_factory=set)
    dropped: int = 0

    def rows(self) -> set[str]:
        """The rows in which this incarnation stands; several, because its partitions stand at different steps."""
        named = {upload for uploads in self.named.values() for upload in uploads}
        found = {
            "1": bool(+self.creating),
            "2": bool(+self.sending),
            "3": self.transaction is not None and not self.ending,
            "4": self.ending,
            "5": bool(named - self.completing - self.completed),
            "6": bool(self.completing),
            "7": bool(named & self.completed),
            "m": self.transaction is not None and len(self.transaction) > 1,
        }
        standing = {row for row, stands in found.items() if stands}
        return standing or ({"8"} if self.dropped else {"0"})

    def read(self, line: dict[str, Any]) -> None:
        """One more line of this incarnation."""
        step, outcome, upload = line["step"], line["outcome"], line.get("upload", "")
        match step:
            case "check_registry" if outcome == "ok":
                self.begun_at = line["t"]
            case "read_positions" if outcome == "ok":
                self.named[line["partition"]] = _uploads(line)
            case "create_upload":
                self.creating[line["partition"]] += 1 if outcome == "sent" else -1
            case "upload_part":
                self.sending[upload] += 1 if outcome == "sent" else -1
            case "add_offsets" | "txn_offset_commit" | "end_commit" | "end_abort":
                self._transact(line)
            case "complete" | "head_object":
                self._complete(step, outcome, upload)
            case "stopped" | "fenced":
                self.over = True

    def _transact(self, line: dict[str, Any]) -> None:
        step, outcome = line["step"], line["outcome"]
        if step == "add_offsets" and outcome == "sent":
            self.transaction, self.ending = {}, False
        elif step == "txn_offset_commit" and outcome == "sent" and self.transaction is not None:
            self.transaction[line["partition"]] = _uploads(line)
        elif step == "end_commit" and outcome == "sent":
            self.ending = True
        elif step == "end_commit" and outcome == "ok":
            for partition, uploads in (self.transaction or {}).items():
                self.dropped += len(set(self.named.get(partition, [])) - set(uploads))
                self.named[partition] = uploads
            self.transaction, self.ending = None, False
        elif step == "end_abort" and outcome == "ok":
            self.transaction, self.ending = None, False

    def _complete(self, step: str, outcome: str, upload: str) -> None:
        if step == "complete" and outcome == "sent":
            self.completing.add(upload)
        elif outcome in _VISIBLE:
            self.completing.discard(upload)
            self.completed.add(upload)


class StepTail:
    """Follows a step log that is being written. Call `follow` before looking."""

    def __init__(self, path: Path) -> None:
        self.lives: dict[str, Life] = {}
        self.zombies: Counter[str] = Counter()
        self.completed: Counter[str] = Counter()
        """Objects that became visible, by unit."""
        self.lines = 0
        self.lost = 0
        """Lines read so far, and those that say that a call got no answer."""
        self._path = path
        self._read = 0
        self._newest: dict[str, str] = {}
        self._visible_by: dict[str, str] = {}

    def follow(self) -> StepTail:
        """Read what has been written since, whole lines only."""
        if not self._path.exists():
            return self
        with self._path.open("rb") as file:
            file.seek(self._read)
            chunk = file.read()
        whole = chunk[: chunk.rfind(b"\n") + 1]
        self._read += len(whole)
        for raw in whole.split(b"\n"):
            if raw.startswith(b"{") and raw.endswith(b"}"):
                self._take(raw)
        return self

    def crashes(self) -> Counter[str]:
        """How often incarnations that never came to an end stood in each row; for a quiet service: those that were killed."""
        return Counter(row for life in self.lives.values() if not life.over for row in life.rows())

    def stands_in(self, row: str) -> bool:
        """Does the newest incarnation of any unit stand in this row?"""
        return any(not life.over and row in life.rows() for life in self._living())

    def is_idle(self) -> bool:
        """Has no unit anything on its way?"""
        return all(life.rows() <= _IDLE for life in self._living())

    def _living(self) -> list[Life]:
        return [self.lives[name] for name in self._newest.values()]

    def is_visible(self, upload: str) -> bool:
        """Has somebody completed this upload, and been told so?"""
        return upload in self._visible_by

    def begun(self) -> dict[str, str]:
        """The newest incarnation of each unit that has passed step 3."""
        return dict(self._newest)

    def _take(self, raw: bytes) -> None:
        try:
            line = json.loads(raw)
        except ValueError:  # torn by a kill, glued to the next
            return
        self.lines += 1
        self.lost += line["outcome"] == "lost"
        name, unit = line["incarnation"], line["unit"]
        life = self.lives.setdefault(name, Life(unit))
        self._zombie(name, life, line)
        life.read(line)
        if life.begun_at is not None and line["step"] == "check_registry":
            self._newest[unit] = name
        if line["step"] == "complete" and line["outcome"] == "ok":
            self.completed[unit] += 1
            self._visible_by.setdefault(line["upload"], name)

    def _zombie(self, name: str, life: Life, line: dict[str, Any]) -> None:
        successor = self._newest.get(life.unit, name)
        if successor == name or life.begun_at is None:
            return
        step, outcome = line["step"], line["outcome"]
        if step in _TRANSACTIONAL and outcome == "fenced":
            self.zombies["z1"] += 1
        elif step == "complete" and self._visible_by.get(line["upload"]) not in (None, name):
            self.zombies["z2"] += 1
        elif step == "upload_part":
            self.zombies["z3"] += 1


def _uploads(line: dict[str, Any]) -> list[str]:
    return [entry[0] for entry in line.get("entries", [])]
