"""The field on which the faults are played: one service whose Kafka and store lie behind fault proxies, and the hands that kill, freeze
and revive its processes. Guarantees that nothing frozen or killed is left behind. Used by the chaos run.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.integration.chaos.load import Load
from tests.integration.chaos.rows import StepTail
from tests.support.freezing import freeze, send_signal
from tests.support.kafka_proxy import KafkaProxy
from tests.support.s3_proxy import S3Proxy
from tests.support.service import Service
from tests.support.waiting import eventually

RECOVERS_WITHIN_S = 120.0
AIM_S = 90.0


@dataclass(slots=True)
class Field:
    """`tail` follows the step log. `frozen` are stopped now. `done` counts what was played. `random` is the only source of chance."""

    service: Service
    kafka: KafkaProxy
    store: S3Proxy
    tail: StepTail
    load: Load
    random: Random
    frozen: list[int] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    starting: asyncio.Task[None] | None = None

    # -- hands ---------------------------------------------------------------------------------------------------------------
    def kill_workers(self) -> None:
        """kill -9 of every worker, now; also of one that is frozen."""
        self.kill(self.service.pids("worker"))

    def kill(self, pids: Iterable[int]) -> None:
        """kill -9 of these children, now."""
        killed = list(pids)
        send_signal(killed, signal.SIGKILL)
        self.frozen = [pid for pid in self.frozen if pid not in killed]

    def freeze_workers(self) -> None:
        """SIGSTOP of every worker, now."""
        pids = self.service.pids("worker")
        freeze(pids, self.service.registry)
        self.frozen += pids

    def thaw(self) -> list[int]:
        """SIGCONT of what is frozen. Returns who was woken."""
        woken, self.frozen = self.frozen, []
        send_signal(woken, signal.SIGCONT)
        return woken

    async def replace_everything(self) -> None:
        """kill -9 of the parent and of all that is not frozen; a new parent starts new workers, the frozen ones stay. Does not wait
        for the API: the workers do not either."""
        await self.started()
        children = self.service.pids()
        self.service.kill_parent()
        self.kill(pid for pid in children if pid not in self.frozen)
        self._start_again()

    async def replace_parent(self) -> None:
        """kill -9 of the parent alone: its children have to see it and end by themselves, while a new parent starts others."""
        await self.started()
        orphans = self.service.pids()
        self.service.kill_parent()
        self._start_again()
        await self.gone(orphans, RECOVERS_WITHIN_S)

    def _start_again(self) -> None:
        self.starting = asyncio.create_task(self.service.start())

    # -- waiting -------------------------------------------------------------------------------------------------------------
    async def started(self) -> None:
        """Until the service answers again."""
        if self.starting is not None:
            await self.starting

    async def gone(self, pids: Iterable[int], within_s: float) -> None:
        """Until these processes have ended by themselves."""
        watched = list(pids)
        await eventually(lambda: not any(map(_lives, watched)), within_s, what=f"the processes {watched} end")

    async def steps(self, number: int) -> None:
        """Until so many more lines of the step log were written."""
        goal = self.tail.follow().lines + number
        await eventually(lambda: self.tail.follow().lines >= goal, AIM_S, what=f"{number} more steps")

    async def losses(self, number: int) -> None:
        """Until so many more calls went without an answer."""
        goal = self.tail.follow().lost + number
        await eventually(lambda: self.tail.follow().lost >= goal, AIM_S, what=f"{number} more calls without an answer")

    async def strike(self, row: str, within_s: float = AIM_S, *, idle: bool = False) -> None:
        """kill -9 of every worker at a moment when a unit *provably* stands in this row of the crash table, and with `idle` while nothing
        is on its way anywhere: they are frozen first, and die only if the log still says so then."""

        def stands() -> bool:
            tail = self.tail.follow()
            return tail.stands_in(row) and (tail.is_idle() or not idle)

        def struck() -> bool:
            if not stands():
                return False
            self.freeze_workers()
            if stands():
                self.kill_workers()
                return True
            self.thaw()
            return False

        await eventually(struck, within_s, what=f"a unit stands in row {row}")

    async def replaced(self, before: dict[str, str]) -> None:
        """New incarnations of all units, other than `before` (see `StepTail.begun`)."""

        def all_new() -> bool:
            now = self.tail.follow().begun()
            return all(now[unit] != name for unit, name in before.items())

        await eventually(all_new, RECOVERS_WITHIN_S, what="every unit has a new incarnation")

    async def recovered(self, before: dict[str, str]) -> None:
        """Faults are over; new incarnations of all units, each of which makes objects appear."""
        self.forget_faults()
        await self.replaced(before)
        await self.moves_on()

    async def moves_on(self) -> None:
        """Every unit makes one more object appear."""
        before = self.tail.follow().completed.copy()
        await eventually(
            lambda: all(self.tail.follow().completed[unit] > before[unit] for unit in self.tail.begun()),
            RECOVERS_WITHIN_S,
            what="every unit makes objects appear",
        )

    # -- the end of a play ---------------------------------------------------------------------------------------------------
    def forget_faults(self) -> None:
        """Everything passes again."""
        for proxy in (self.kafka, self.store):
            proxy.forget_rules()
            proxy.heal()

    def bury(self) -> None:
        """End whatever is still frozen, whatever happened."""
        send_signal(self.frozen, signal.SIGKILL)
        if self.starting is not None:
            self.starting.cancel()


def _lives(pid: int) -> bool:
    """Runs or is stopped; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
