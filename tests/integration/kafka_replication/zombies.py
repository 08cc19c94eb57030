"""A machine that stands still in the midst of the replication's transaction and wakes when another has long taken over: its parent, workers
and API are frozen while each unit stands at a step of its own, what a unit has sent or was answered is held on the wire, and both arrive
late (kafka-replication.md §6.4, §15.5). Hits are counted by step."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smartconnect.domain.planning import UnitName, transactional_id
from tests.integration.kafka_replication.kills import StepReader
from tests.integration.kafka_replication.under_load import Story
from tests.support.freezing import send_signal
from tests.support.kafka_api import ApiKey
from tests.support.kafka_proxy import Exchange, KafkaProxy
from tests.support.replication import Replication
from tests.support.rules import Gate
from tests.support.service import running_service
from tests.support.waiting import eventually

_HELD_WITHIN_S = 60.0
_ENDS_WITHIN_S = 60.0
_TAKES_OVER_WITHIN_S = 90.0
_API_OF: Final = {
    "init": ApiKey.INIT_PRODUCER_ID,
    "add_partitions": ApiKey.ADD_PARTITIONS_TO_TXN,
    "produce": ApiKey.PRODUCE,
    "positions": ApiKey.PRODUCE,
    "end": ApiKey.END_TXN,
}


@dataclass(frozen=True, slots=True)
class Halt:
    """Where a unit is frozen. `done`: the broker has done it already, and the answer is held; else the request itself is."""

    step: str
    done: bool

    def __str__(self) -> str:
        return f"{self.step}.{'done' if self.done else 'sent'}"


REQUESTS: Final = tuple(Halt(step, done=False) for step in _API_OF)
ANSWERS: Final = tuple(Halt(step, done=True) for step in _API_OF)


class Machines:
    """One after the other, all with the registry of the first. `hits`: halts at which a unit provably stood when its machine was frozen,
    and of which something arrived late; `woken`: the last words of their incarnations."""

    def __init__(self, story: Story, target: KafkaProxy, folder: Path, running: AsyncExitStack) -> None:
        self.story, self._target, self._folder, self._running = story, target, folder, running
        self._service = story.scene.service
        self._steps = StepReader(self._service.replication_step_log)
        self._number = 0
        self.hits: Counter[str] = Counter()
        self.woken: Counter[str] = Counter()

    async def stand_still(self, halts: Sequence[Halt], *, wakes: bool = True) -> None:
        """The workers die, and each unit of those that follow is held at its halt; then the machine is frozen and another takes over. What
        is held arrives late; then the frozen machine wakes, or dies without. In the end the other one is at work alone."""
        old = self._service
        send_signal(old.pids("worker"), signal.SIGKILL)
        self._steps.read()
        dead = set(self._steps.told)
        gates = [self._gate(UnitName("pull", 1, index), halt, dead) for index, halt in enumerate(halts)]
        for gate in gates:
            await gate.reached(1, _HELD_WITHIN_S)
        old.freeze()
        frozen = [self._frozen_at(f"pull-1-{index}", halt) for index, halt in enumerate(halts)]
        self._target.forget_rules()
        await self._another_machine()
        await eventually(lambda: self._have_successors(frozen), _TAKES_OVER_WITHIN_S, what="every unit has a new incarnation")
        await self._moves_on()
        for gate in gates:
            gate.release()
        await eventually(lambda: all(map(_has_arrived, gates)), what="what was held has arrived")
        self.hits.update(map(str, halts))
        if wakes:
            old.wake()
            await eventually(lambda: self._have_ended(frozen), _ENDS_WITHIN_S, what="the woken incarnations end")
            self.woken.update(self._steps.told[incarnation] for incarnation in frozen)
        old.kill()
        await self._moves_on()

    def _gate(self, unit: UnitName, halt: Halt, dead: Collection[str]) -> Gate[Exchange]:
        """The next request of this unit at this step, or its answer, not of those that are dead. Data and positions are both produced: the
        log tells which it is."""
        name = transactional_id(self.story.task.id, unit).encode()

        def is_it(exchange: Exchange) -> bool:
            stands_there = self._steps.standing(str(unit)) == f"{halt.step}.sent"
            return stands_there and self._steps.newest[str(unit)] not in dead and name in exchange.request.frame

        hold = self._target.hold_answer if halt.done else self._target.hold_request
        return hold(_API_OF[halt.step], when=is_it)

    def _frozen_at(self, unit: str, halt: Halt) -> str:
        """The unit's incarnation; it stands where it was to be frozen."""
        at = self._steps.standing(unit)
        assert at == f"{halt.step}.sent", f"{unit} was to be frozen at {halt} and stands at {at}"
        return self._steps.newest[unit]

    async def _moves_on(self) -> None:
        """Every unit commits twice: the first may be what a predecessor's end is repeated with."""
        self._steps.read()
        before = self._steps.commits.copy()

        def does() -> bool:
            self._steps.read()
            return all(self._steps.commits[unit] >= before[unit] + 2 for unit in self._steps.newest)

        await eventually(does, _TAKES_OVER_WITHIN_S, what="every unit commits")

    def _have_successors(self, frozen: Collection[str]) -> bool:
        self._steps.read()
        return not set(frozen) & set(self._steps.newest.values())

    def _have_ended(self, woken: Collection[str]) -> bool:
        self._steps.read()
        return all(self._steps.told[incarnation] in ("fenced", "stopped") for incarnation in woken)

    async def _another_machine(self) -> None:
        self._number += 1
        folder = self._folder / f"machine-{self._number}"
        folder.mkdir()
        first = self.story.scene.service
        self._service = await self._running.enter_async_context(running_service(folder, first.options, home=first.home))
        self.story.task = Replication(self._service, self.story.task.id)


def _has_arrived(gate: Gate[Exchange]) -> bool:
    """The broker has answered what was held."""
    return all(exchange.answer is not None for exchange in gate.held)
