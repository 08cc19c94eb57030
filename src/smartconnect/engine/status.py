"""How one unit is, as its worker sees it: the supervisor writes it, the reporter turns it into rows. It decides which state and reason
are shown, lets counters continue from earlier owners, and sends partitions only when that is worth it or somebody waits for it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from smartconnect.domain.clock import Clock
from smartconnect.domain.planning import UnitName
from smartconnect.domain.progress import PartitionProgress, Progress, UnitState
from smartconnect.domain.task import Reason, Task
from smartconnect.engine import rates
from smartconnect.engine.ledger import Outbox, RegistryLedger
from smartconnect.engine.ports import UnitReport
from smartconnect.engine.unit import UnitRunner

STARTING_PHASE: Final = "starting"


class UnitStatus:
    """`changed` is called when the state may have become another: the reporter then does not wait for its 2 s."""

    def __init__(self, task: Task, unit: UnitName, *, owner: str, clock: Clock, changed: Callable[[], None]) -> None:
        self.task = task
        self.unit = unit
        self.outbox = Outbox(unit, clock, wanted=changed)
        self.epoch = 0
        self.ended = False
        self._owner = owner
        self._clock = clock
        self._changed = changed
        self._state = UnitState.STARTING
        self._reason: Reason | None = None
        self._runner: UnitRunner | None = None
        self._ledger: RegistryLedger | None = None
        self.base: Mapping[str, int] = {}
        self._last: Progress | None = None
        self._throughput = rates.Throughput()
        self._awaited: tuple[asyncio.Future[None], ...] = ()
        self._sent: tuple[int, int] | None = None
        self._sent_at = -math.inf
        self.partitions = 0
        """How many the last report knew of."""

    # -- written by the supervisor -----------------------------------------------------------------------------------------
    def taken(self, epoch: int, base: Mapping[str, int]) -> None:
        """The unit is ours with this epoch. `base`: its counters in this run as the registry knows them; what we counted ourselves
        and could not tell yet is not forgotten."""
        self.epoch = epoch
        last = {} if self._last is None else self._last.counters
        self.base = {name: max(base.get(name, 0), last.get(name, 0)) for name in {**base, **last}}
        self._sent = None

    def driving(self, runner: UnitRunner, ledger: RegistryLedger) -> None:
        """An incarnation moves data now."""
        self._runner, self._ledger = runner, ledger
        self._set(UnitState.STARTING, self._reason)

    def draining(self) -> None:
        self._set(UnitState.DRAINING, self._reason)

    def retrying(self, reason: Reason) -> None:
        self._keep_last()
        self._set(UnitState.RETRYING, reason)

    def end(self, state: UnitState, reason: Reason | None = None) -> None:
        """No incarnation will follow here: the next report is the last."""
        self._keep_last()
        self.ended = True
        self._set(state, reason)

    # -- read by the supervisor and the reporter -----------------------------------------------------------------------------
    def key(self) -> tuple[str, UnitName]:
        return self.task.id, self.unit

    def final_state(self) -> UnitState:
        """The state of the last report, once `ended`."""
        return self._state

    def reached_work(self) -> bool:
        """Whether the present incarnation has got beyond starting; told to the reporter at once."""
        if self._runner is None or self._runner.progress().phase == STARTING_PHASE:
            return False
        self._changed()
        return True

    def report(self, partitions_every_s: float) -> UnitReport | None:
        """The row to write now; None while the unit was never taken. Partitions that changed are part of it that often, and at once where
        one is blocked or somebody waits for them."""
        if self.epoch == 0:
            return None
        progress = self._progress()
        if progress is not None and not self.ended:
            self._throughput.note(self._clock.monotonic(), progress.counters)
        self.partitions = 0 if progress is None else len(progress.partitions)
        state = self._shown(progress)
        self._awaited = self.outbox.awaited()
        return UnitReport(
            task_id=self.task.id,
            unit=self.unit,
            epoch=self.epoch,
            run=self.task.run,
            revision=self.task.revision,
            state=state,
            owner=self._owner,
            reported_at=self._clock.now_ms(),
            progress=None if progress is None else replace(progress, partitions=()),
            reason=self._shown_reason(state, progress),
            throughput=rates.stopped() if self.ended else self._throughput.rates(),
            partitions=self._due_partitions(progress, partitions_every_s),
            events=self.outbox.waiting(),
        )

    def delivered(self, report: UnitReport) -> None:
        """This report is stored."""
        self.outbox.delivered(report.events)
        for waits in self._awaited:
            if not waits.done():
                waits.set_result(None)

    def refused(self) -> None:
        """The last report is not stored: its partitions were not told."""
        self._sent = None

    # -- inside ------------------------------------------------------------------------------------------------------------
    def _set(self, state: UnitState, reason: Reason | None) -> None:
        self._state, self._reason = state, reason
        self._changed()

    def _keep_last(self) -> None:
        self._last = self._progress()
        self._runner = None

    def _shown(self, progress: Progress | None) -> UnitState:
        """Starting again after an error is still `retrying`, and so is a running unit that gives a reason of its own."""
        if self._state is not UnitState.STARTING:
            return self._state
        if self._runner is not None and progress is not None and progress.phase != STARTING_PHASE:
            return UnitState.RETRYING if progress.reason else UnitState.RUNNING
        return UnitState.RETRYING if self._reason else UnitState.STARTING

    def _shown_reason(self, state: UnitState, progress: Progress | None) -> Reason | None:
        if state is UnitState.RUNNING:
            return None
        own = progress.reason if progress is not None and self._runner is not None else None
        return own or self._reason

    def _progress(self) -> Progress | None:
        if self._runner is None:
            return self._last
        progress = self._runner.progress()
        return replace(progress, counters=self._counters(progress.counters))

    def _counters(self, own: Mapping[str, int]) -> Mapping[str, int]:
        """Of the run, over all owners. A job that asked the ledger counts on from there itself; until it has, it must not make the
        stored numbers fall; one that never asks is added to them."""
        names = {**self.base, **own}
        if self._ledger is not None and self._ledger.base_given:
            return {name: max(self.base.get(name, 0), own.get(name, 0)) for name in names}
        return {name: self.base.get(name, 0) + own.get(name, 0) for name in names}

    def _due_partitions(self, progress: Progress | None, every_s: float) -> Sequence[PartitionProgress] | None:
        if progress is None or (not progress.partitions and (self._sent is None or progress.phase == STARTING_PHASE)):
            return None  # it does not know them yet: what was told last stays
        versions = (progress.partitions_version, progress.blocked_version)
        if versions == self._sent and not self._awaited:
            return None
        now = self._clock.monotonic()
        at_once = self._awaited or self.ended or self._sent is None or versions[1] != self._sent[1]
        if not (at_once or now - self._sent_at >= every_s):
            return None
        self._sent, self._sent_at = versions, now
        return progress.partitions
