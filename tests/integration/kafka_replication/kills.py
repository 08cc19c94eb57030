"""Deaths at chosen steps of the replication's transaction: the step log says where every worker is; one is frozen as soon as it stands
where it shall die, and its last step is read before it is killed. Hits are counted by step."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from tests.support.service import Service

STEPS: Final = (
    "init.sent",
    "init.ok",
    "add_partitions.sent",
    "produce.sent",
    "acked",
    "positions.sent",
    "positions.acked",
    "end.sent",
    "end.ok",
)
"""Where a unit may die: before the answer to, or after, each step of kafka-replication.md §6.4."""


class StepReader:
    """Follows the step log of running services. `last` is the last step of each process, `told` that of each incarnation, `newest` the
    incarnation of each unit that began last, and `commits` counts what the newest of each unit has committed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._rest = b""
        self.last: dict[int, str] = {}
        self.told: dict[str, str] = {}
        self.newest: dict[str, str] = {}
        self.commits: Counter[str] = Counter()

    def read(self) -> list[dict[str, Any]]:
        """Lines since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as log:
            log.seek(self._at)
            data = log.read()
        self._at += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        lines = [json.loads(line) for line in whole if line.startswith(b"{") and line.endswith(b"}")]
        for line in lines:
            self.last[line["pid"]] = self.told[line["incarnation"]] = line["step"]
            if line["step"] == "start":
                self.newest[line["unit"]] = line["incarnation"]
            if line["step"] == "end.ok" and line["committed"] and line["incarnation"] == self.newest[line["unit"]]:
                self.commits[line["unit"]] += 1
        return lines

    def standing(self, unit: str) -> str:
        """The last step of the unit's newest incarnation, read now; "" before its first."""
        self.read()
        return self.told.get(self.newest.get(unit, ""), "")


class Killer:
    """Kills workers of one service where it is told to."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._steps = StepReader(service.replication_step_log)
        self.hits: Counter[str] = Counter()

    async def kill_at(self, step: str, within_s: float = 60) -> bool:
        """kill -9 a worker whose last step is `step`; False if none was found there in time. Looks without a pause: between some steps
        there is less than a millisecond."""
        deadline = time.monotonic() + within_s
        self._steps.read()
        while time.monotonic() < deadline:
            for line in self._steps.read():
                if line["step"] == step and self._kill_if_there(line["pid"], step):
                    return True
            await asyncio.sleep(0)
        return False

    def _kill_if_there(self, pid: int, step: str) -> bool:
        """Freeze it, then look: what was logged before the freeze is where it stands."""
        try:
            os.kill(pid, signal.SIGSTOP)
        except ProcessLookupError:
            return False
        self._steps.read()
        at = self._steps.last[pid]
        if at != step:
            os.kill(pid, signal.SIGCONT)
            return False
        os.kill(pid, signal.SIGKILL)
        self.hits[at] += 1
        return True

    def report(self) -> str:
        return " ".join(f"{step}:{self.hits[step]}" for step in STEPS)
