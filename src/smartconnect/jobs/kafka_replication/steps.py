"""The steps of the replication's transaction by name, and the log of them by which kill tests count their hits (kafka-replication.md
§6.4, §15.4).

One line per step, written whole by a single append, so that several processes share one file and a kill -9 leaves at most one torn
line. Off by default (`NullStepLog`)."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class StepLog(Protocol):
    """Where steps go."""

    @property
    def enabled(self) -> bool: ...

    def log(self, line: Mapping[str, object]) -> None: ...


class NullStepLog:
    """Production: nothing is kept."""

    enabled: bool = False

    def log(self, line: Mapping[str, object]) -> None:
        """Forgets it."""


class JsonStepLog:
    """JSON lines appended to a file that any number of processes may share. Raises OSError like any write."""

    enabled: bool = True

    def __init__(self, path: Path, *, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._now = monotonic_ns

    def log(self, line: Mapping[str, object]) -> None:
        """The newline in front keeps a predecessor's torn line apart from ours."""
        stamped = {"t": self._now(), "pid": os.getpid(), **line}
        os.write(self._fd, b"\n" + json.dumps(stamped, separators=(",", ":")).encode() + b"\n")


@dataclass(frozen=True, slots=True)
class IncarnationSteps:
    """The pen of one incarnation. Steps of the transactional id come from `kafka.transactions` ("init.sent", "end.lost", …); our own
    are `start`, `produce.sent` (first batch of a transaction), `acked` (all of it), `positions.sent`, `positions.acked`, `stopped`."""

    sink: StepLog
    task: str
    unit: str
    incarnation: str

    def note(self, step: str, details: Mapping[str, object] | None = None) -> None:
        if self.sink.enabled:
            told = {} if details is None else {key: value for key, value in details.items() if key in _TOLD}
            self.sink.log({"step": step, "task": self.task, "unit": self.unit, "incarnation": self.incarnation, **told})


_TOLD = frozenset({"producer_id", "producer_epoch", "committed", "code", "older"})
