"""How late a record is at a low rate. Open loop: records are sent when their time has come, however the side is doing, and are late from
the moment for which they were meant. Three figures for each record: when the source's broker had answered for it (nobody can be faster),
when the target's broker appended it (LogAppendTime: whole ms, rounded down), and when a reader on the target had it, read_committed where
the side was asked for exactly once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bench.kafka_replication.copying import Run
from bench.kafka_replication.open_loop import Line, Steady, open_loop
from bench.kafka_replication.stage import Stage

RATES: Final = (10, 1000)
_WARM_MS: Final = 10.0
_STRETCH_S: Final = 5.0
_STRETCHES: Final = 12


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds. `sent` in the measured time; `received` of those, each once."""

    side: str
    exactly_once: bool
    rate: int
    seconds: float
    sent: int
    received: int
    source_ms: dict[str, float]
    append_ms: dict[str, float]
    seen_ms: dict[str, float]
    load: float


async def measure(stage: Stage, side: str, run: Run, job: Steady, seconds: float) -> Latency:
    """Topics are made and deleted here. Raises SandboxFailed if the side does not start."""
    async with open_loop(stage, side, job) as line, run(stage, job.job):
        await line.flowing()
        return await of_stretch(line, job, seconds)


async def warm_up(stage: Stage, side: str, run: Run) -> None:
    """Brokers compile their code while they run, on the cores that all share: send until the source's answers to 99 of 100 records come in
    time, in both deliveries, for a minute each at most. Raises SandboxFailed if the side does not start."""
    for exactly_once in (True, False):
        job = Steady(RATES[-1], exactly_once)
        async with open_loop(stage, side, job) as line, run(stage, job.job):
            await line.flowing()
            for _ in range(_STRETCHES):
                if (await of_stretch(line, job, _STRETCH_S)).source_ms["p99"] <= _WARM_MS:
                    break


async def of_stretch(line: Line, job: Steady, seconds: float) -> Latency:
    """Of the records of so many seconds from now. Raises SandboxFailed if one does not arrive."""
    stretch = await line.stretch(seconds)
    found = [line.reader.arrived[at] for at in stretch.sent]
    return Latency(
        side=line.side,
        exactly_once=job.exactly_once,
        rate=job.rate,
        seconds=seconds,
        sent=len(stretch.sent),
        received=len(found),
        source_ms=_percentiles(line.writer.answered_ms[at] for at in stretch.sent),
        append_ms=_percentiles(one.append_ms for one in found),
        seen_ms=_percentiles(one.seen_ms for one in found),
        load=stretch.load,
    )


def _percentiles(values: Iterable[float]) -> dict[str, float]:
    ordered = sorted(values)
    if not ordered:
        return {}
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2) for name, share in at.items()}
