"""The parent of `serve` and `worker`: starts the processes of this machine, hands slots to the workers, passes nudges on, and replaces
what dies or freezes. It moves no data and imports nothing heavy. Its children see its end by the pipe and stop by themselves.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from smartconnect.domain.backoff import Backoff
from smartconnect.engine.children import Child, ChildEvents, ChildSpec
from smartconnect.engine.nursery import Nursery
from smartconnect.engine.protocol import Assign, Fleet, Hello, Message, Nudge, ProcessState, Released, Reload, Stop
from smartconnect.telemetry.logs import get_logger
from smartconnect.telemetry.meters import Meters
from smartconnect.telemetry.names import WORKER_BUCKETS, WORKER_STARTS, WORKER_UP

log = get_logger()

TICK_S: Final = 0.25
FLEET_EVERY_S: Final = 1.0
_OVERSLEPT_S: Final = 1.0
_LIVED_S: Final = 10.0


class Board(Protocol):
    """Who holds which bucket; see `coordination.board`."""

    def joined(self, worker: int, now: float) -> None: ...

    def gone(self, worker: int) -> None: ...

    def released(self, worker: int, buckets: Collection[int]) -> None: ...

    def changes(self, now: float) -> Mapping[int, frozenset[int]]: ...

    def share(self, worker: int) -> frozenset[int]: ...


@dataclass(frozen=True, slots=True)
class ParentTiming:
    """`frozen_after_s` without a heartbeat: killed. `start_within_s`: the time a child has to say hello. `stop_within_s`: to drain."""

    frozen_after_s: float = 10.0
    start_within_s: float = 60.0
    stop_within_s: float = 40.0
    kill_after_s: float = 5.0
    restart: Backoff = field(default_factory=lambda: Backoff(first_s=0.5, cap_s=30.0))


class Parent:
    """`run` returns when everything has stopped. `now`: monotonic seconds."""

    def __init__(
        self, specs: Sequence[ChildSpec], nursery: Nursery, board: Board, timing: ParentTiming, now: Callable[[], float]
    ) -> None:
        self._nursery = nursery
        self._specs = {spec.name: spec for spec in specs}
        self._board = board
        self._timing = timing
        self._now = now
        self._children: dict[str, Child] = {}
        self._early_deaths: dict[str, int] = {}
        self._start_at: dict[str, float] = dict.fromkeys(self._specs, 0.0)
        self._starts: dict[str, int] = dict.fromkeys(self._specs, 0)
        self._workers = sum(spec.worker is not None for spec in specs)
        self._meters = Meters()
        self._to_replace: list[str] = []
        self._stopping_since: float | None = None
        self._fleet_at = 0.0
        self._events = ChildEvents(born=self._born, message=self._message, ended=self._ended)
        self._wake = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._tell_all, Reload())
        loop.add_signal_handler(signal.SIGUSR1, self.replace_workers)
        last = self._now()
        while self._stopping_since is None or self._children:
            now = self._now()
            self._tick(now, overslept=now - last > TICK_S + _OVERSLEPT_S)
            last = now
            self._wake.clear()
            try:
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue
        log.info("stopped", took_s=round(self._now() - self._stopping_since, 1))

    def stop(self) -> None:
        """Drain everything and end; asked a second time, kill."""
        if self._stopping_since is not None:
            for child in self._children.values():
                child.kill()
            return
        self._stopping_since = self._now()
        log.info("stopping", within_s=self._timing.stop_within_s)
        self._nursery.close()
        self._tell_all(Stop(self._timing.stop_within_s))
        for child in self._children.values():
            if not child.ready:
                child.terminate()

    def replace_workers(self) -> None:
        """A new process for each worker, one after the other: the next goes when all work and hold their own share again. Where a new
        one cannot start (settings, an upgrade that failed), the others stay as they are until it can."""
        self._nursery.renew()
        self._to_replace = [name for name, spec in self._specs.items() if spec.worker is not None]
        log.info("workers will be replaced one after the other", workers=self._to_replace)

    # -- time passes ---------------------------------------------------------------------------------------------------------
    def _tick(self, now: float, *, overslept: bool) -> None:
        """`overslept`: we stood still ourselves, so nobody's silence means anything."""
        if overslept:
            for child in self._children.values():
                child.heard_at = now
        if self._stopping_since is None:
            self._start_due(now)
            self._replace_next(now)
        elif now - self._stopping_since > self._timing.stop_within_s + self._timing.kill_after_s:
            for child in self._children.values():
                child.kill()
        self._kill_frozen(now)
        self._hand_out(now)
        if now - self._fleet_at >= FLEET_EVERY_S:
            self._fleet_at = now
            self._tell_fleet(now)

    def _start_due(self, now: float) -> None:
        for name, due in list(self._start_at.items()):
            if now >= due:
                del self._start_at[name]
                self._starts[name] += 1
                self._children[name] = Child(self._specs[name], self._nursery, self._events, self._now)

    def _replace_next(self, now: float) -> None:
        if self._to_replace and all(self._at_home(name) for name, spec in self._specs.items() if spec.worker is not None):
            child = self._children[self._to_replace.pop(0)]
            log.info("worker is replaced", child=child.spec.name, pid=child.pid, left=len(self._to_replace))
            within_s = self._timing.stop_within_s
            child.replace(within_s, now + within_s + self._timing.kill_after_s)

    def _at_home(self, name: str) -> bool:
        """It works, and holds its own share and no other."""
        child = self._children.get(name)
        if child is None or child.spec.worker is None or child.end_by is not None:
            return False
        return self._board.share(child.spec.worker) == {child.spec.worker}

    def _kill_frozen(self, now: float) -> None:
        if any(not child.pid and child.silent_for(now) > self._timing.start_within_s for child in self._children.values()):
            log.error("no process can be started: the one that they are forked from does not answer and is killed")
            self._nursery.close()
        for child in self._children.values():
            limit = self._timing.frozen_after_s if child.ready else self._timing.start_within_s
            if child.silent_for(now) > limit:
                log.error("process does not answer and is killed", child=child.spec.name, pid=child.pid, silent_s=round(limit, 1))
                if child.spec.worker is not None:
                    self._board.gone(child.spec.worker)  # its slots move on now; the fences make what it still sends harmless
                child.kill()
            elif child.end_by is not None and now > child.end_by:
                log.error("the worker does not drain in time and is killed", child=child.spec.name, pid=child.pid)
                child.kill()

    def _hand_out(self, now: float) -> None:
        if self._stopping_since is not None:
            return
        for worker, buckets in self._board.changes(now).items():
            child = self._children.get(_worker_name(worker))
            if child is not None:
                log.info("slots handed out", child=child.spec.name, buckets=sorted(buckets))
                child.send(Assign(sorted(buckets), self._workers))

    # -- children ------------------------------------------------------------------------------------------------------------
    def _born(self, child: Child) -> None:
        name = child.spec.name
        log.info("process started", child=name, pid=child.pid, starts=self._starts[name])

    def _message(self, child: Child, message: Message) -> None:
        worker = child.spec.worker
        match message:
            case Hello():
                if worker is not None:
                    self._board.joined(worker, self._now())
                    self._hand_out(self._now())
                if self._stopping_since is not None:
                    child.send(Stop(self._timing.stop_within_s))
            case Released() if worker is not None:
                self._board.released(worker, message.buckets)
                self._hand_out(self._now())
            case Nudge():
                for other in self._children.values():
                    if other.spec.worker is not None and other is not child:
                        other.send(message)

    def _ended(self, child: Child, code: int) -> None:
        name, now = child.spec.name, self._now()
        del self._children[name]
        self._wake.set()
        if child.spec.worker is not None:
            self._board.gone(child.spec.worker)
        if self._stopping_since is not None:
            log.info("process ended", child=name, code=code)
            return
        early = now - child.started_at < _LIVED_S and child.end_by is None
        self._early_deaths[name] = self._early_deaths.get(name, 0) + 1 if early else 0
        deaths = self._early_deaths[name]
        wait = 0.0 if deaths <= 1 else self._timing.restart.ceiling(deaths - 2)
        self._start_at[name] = now + wait
        level, event = _told(child, code)
        by_signal = {} if code >= 0 else {"signal": signal.strsignal(-code)}  # not every number has a name in Python
        log.log(level, event, child=name, pid=child.pid, code=code, **by_signal, wait_s=wait)
        self._hand_out(now)

    def _tell_all(self, message: Message) -> None:
        for child in self._children.values():
            child.send(message)

    def _tell_fleet(self, now: float) -> None:
        fronts = [child for child in self._children.values() if child.spec.worker is None]
        if fronts:
            fleet = Fleet([*(self._state(name, now) for name in self._specs), self._own_state()])
            for front in fronts:
                front.send(fleet)

    def _state(self, name: str, now: float) -> ProcessState:
        child = self._children.get(name)
        worker = self._specs[name].worker
        buckets = 0 if worker is None else len(self._board.share(worker))
        alive = child is not None and child.ready and child.silent_for(now) <= self._timing.frozen_after_s
        meters: list[Sequence[object]] = [(WORKER_UP.name, (), float(alive)), (WORKER_STARTS.name, (), float(self._starts[name]))]
        if worker is not None:
            meters.append((WORKER_BUCKETS.name, (), float(buckets)))
        if child is None:
            return ProcessState(name, 0, alive=False, starts=self._starts[name], buckets=0, meters=meters)
        if worker is not None:  # the front adds its own meters itself
            meters += child.last.meters
        return ProcessState(name, child.pid, alive, self._starts[name], buckets, meters, child.last.settings, child.last.trouble)

    def _own_state(self) -> ProcessState:
        return ProcessState("parent", 0, alive=True, starts=1, buckets=0, meters=self._meters.snapshot())


def _told(child: Child, code: int) -> tuple[int, str]:
    """Level and words for the end of a process that was to go on."""
    if not child.pid:
        return logging.ERROR, "process could not be started and is tried again"
    if child.killed or child.end_by is not None:  # it was told when it happened, and why
        return logging.INFO, "process ended and is started again"
    if code in (0, -signal.SIGTERM):
        return logging.WARNING, "process was stopped from outside and is started again"
    return logging.ERROR, "process ended unexpectedly and is started again"


def _worker_name(worker: int) -> str:
    return f"worker-{worker}"
