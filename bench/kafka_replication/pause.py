"""How long a read_committed reader on the target waits for its next record when workers go: killed, or told to stop and replaced one after
the other (a rolling restart). One exactly-once task, a record every 10 ms. A worker that was replaced gets its share of the slots back
after some seconds: that is a second pause, and counts too.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from bench.common.service import Service
from bench.common.workers import replacing, worker_of
from bench.kafka_replication.open_loop import Line, Steady, open_loop
from bench.kafka_replication.ours import NAME, Size, copy_task, served
from bench.kafka_replication.stage import Stage

JOB: Final = Steady(100, exactly_once=True)
_CALM_S: Final = 3.0
"""Before each: what the reader waits for a record when nothing happens; and no worker is ended within 10 s of its start."""
_SETTLED_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Pause:
    """A worker got a signal. Milliseconds: the longest the reader waited for a record in the calm before, until somebody else has taken
    over, and for the unit's return. `owner`: the worker had the unit."""

    signal: str
    round: int
    worker: str
    owner: bool
    calm_ms: float
    gone_ms: float
    return_ms: float


@dataclass(frozen=True, slots=True)
class Pauses:
    """`each`: the kills of the unit's owner, then every worker in turn in each of the rounds."""

    workers: int
    rate: int
    sent: int
    lost: int
    twice: int
    load: float
    each: list[Pause]

    def longest_ms(self, number: signal.Signals) -> list[float]:
        """Of each round."""
        rounds: dict[int, float] = {}
        for one in self.each:
            if one.signal == number.name:
                rounds[one.round] = max(rounds.get(one.round, 0.0), one.gone_ms, one.return_ms)
        return list(rounds.values())


async def measure(stage: Stage, size: Size, times: int) -> Pauses:
    """So many kills, and so many rounds. Raises SandboxFailed if a worker or the unit does not come back."""
    workers = max(2, size.workers)
    each: list[Pause] = []
    async with open_loop(stage, NAME, JOB) as line, served(stage, workers) as us:
        task = await copy_task(us, JOB.job, size.tasks)
        await line.flowing()
        watched = _Watched(us.service, line, task)
        for turn in range(times):
            each.append(await watched.pause(turn, await worker_of(us.service, task), signal.SIGKILL))
        for turn in range(times):
            each.extend([await watched.pause(turn, worker, signal.SIGTERM) for worker in range(workers)])
        load, lost = os.getloadavg()[0], await line.ended()
    return Pauses(workers, JOB.rate, len(line.writer.sent), lost, line.reader.twice, round(load, 2), each)


@dataclass(frozen=True, slots=True)
class _Watched:
    service: Service
    line: Line
    task: str

    async def pause(self, turn: int, worker: int, number: signal.Signals) -> Pause:
        """Until the worker's successor has what it had."""
        began = time.time()
        await asyncio.sleep(_CALM_S)
        owner = await worker_of(self.service, self.task) == worker
        sent_at = time.time()
        calm_ms = longest_wait_ms(self.line.reader.times, began, sent_at)
        returning_from = await replacing(self.service, self.task, worker, number, unit_returns=owner)
        await asyncio.sleep(_SETTLED_S)
        seen = self.line.reader.times
        return Pause(
            signal=number.name,
            round=turn + 1,
            worker=f"worker-{worker}",
            owner=owner,
            calm_ms=calm_ms,
            gone_ms=longest_wait_ms(seen, sent_at, returning_from),
            return_ms=longest_wait_ms(seen, returning_from, time.time()),
        )


def longest_wait_ms(seen: Sequence[float], begin: float, end: float) -> float:
    """`seen`: when records arrived, in order, epoch seconds, some before `begin`. Of the waits that touch the time: whoever waited when it
    began waited longer."""
    waits = [after - before for before, after in pairwise([*seen, time.time()]) if after > begin and before < end]
    return round(1000 * max(waits, default=0.0), 1)
