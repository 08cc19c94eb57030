"""The field on which the faults are played: one service whose Kafka and store lie behind fault proxies, and the hands that kill, freeze
and revive its processes. Guarantees that nothing frozen or killed is left behind. Used by the chaos run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.chaos.rows import StepTail
from tests.support.kafka_proxy import KafkaProxy
from tests.support.s3_proxy import S3Proxy
from tests.support.service import Service
from tests.support.waiting import eventually

RECOVERS_WITHIN_S = 60.0


@dataclass(slots=True)
class Field:
    """`tail` follows the step log. `frozen` are stopped now. `done` counts what was played."""

    service: Service
    kafka: KafkaProxy
    store: S3Proxy
    tail: StepTail
    frozen: list[int] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    starting: asyncio.Task[None] | None = None

    def kill_workers(self) -> None:
        """kill -9 of every worker, now."""
        _signal(self.service.pids("worker"), signal.SIGKILL)

    def freeze_workers(self) -> None:
        """SIGSTOP of every worker, now."""
        pids = self.service.pids("worker")
        _signal(pids, signal.SIGSTOP)
        self.frozen += pids

    async def replace_everything(self) -> None:
        """kill -9 of the parent and of all that is not frozen; a new parent starts new workers, the frozen ones stay. Does not wait
        for the API: the workers do not either."""
        await self.started()
        self.service.kill_parent()
        _signal([pid for pid in self.service.pids() if pid not in self.frozen], signal.SIGKILL)
        self.starting = asyncio.create_task(self.service.start())
        await asyncio.sleep(0)

    async def started(self) -> None:
        """Until the service answers again."""
        if self.starting is not None:
            await self.starting

    def thaw(self) -> list[int]:
        """SIGCONT of what is frozen. Returns who was woken."""
        woken, self.frozen = self.frozen, []
        _signal(woken, signal.SIGCONT)
        return woken

    async def gone(self, pids: Iterable[int], within_s: float) -> None:
        """Until these processes have ended by themselves."""
        await eventually(lambda: not any(map(_lives, pids)), within_s, what=f"the woken processes {pids} end")

    async def recovered(self, before: dict[str, str]) -> None:
        """New incarnations of all units (other than `before`, see `StepTail.begun`), each of which makes objects appear."""
        self.forget_faults()

        def all_new() -> bool:
            now = self.tail.follow().begun()
            return all(now[unit] != name for unit, name in before.items())

        await eventually(all_new, RECOVERS_WITHIN_S, what="every unit has a new incarnation")
        await self.moves_on()

    async def moves_on(self) -> None:
        """Every unit makes one more object appear."""
        before = self.tail.follow().completed.copy()
        await eventually(
            lambda: all(self.tail.follow().completed[unit] > before[unit] for unit in self.tail.begun()),
            RECOVERS_WITHIN_S,
            what="every unit makes objects appear",
        )

    def forget_faults(self) -> None:
        """Everything passes again."""
        for proxy in (self.kafka, self.store):
            proxy.forget_rules()
            proxy.heal()

    def bury(self) -> None:
        """End whatever is still frozen, whatever happened."""
        _signal(self.frozen, signal.SIGKILL)
        if self.starting is not None:
            self.starting.cancel()


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _lives(pid: int) -> bool:
    """Runs or is stopped; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
