"""`python -m bench.kafka_replication`: for each topic, fill it on the source, have each side copy it to the target, one after the other,
count every id that arrived, and set our figures against both peers' and the targets of the specification. Exit code 1 if a record of ours
is missing, twice, or out of order, or a measurement failed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import itertools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bench.common import data
from bench.common.bento import program
from bench.kafka_replication import bento, beside, cases, idle, latency, mirror_maker, ours, pause, report, wide
from bench.kafka_replication.cases import Copy
from bench.kafka_replication.copying import Copied, Run, copy
from bench.kafka_replication.open_loop import Steady
from bench.kafka_replication.report import Compared, Findings
from bench.kafka_replication.stage import Stage, set_up
from smartconnect.domain.errors import SmartConnectError

_MODES: Final = ("copy", "latency", "beside", "pause", "wide", "idle")
_SIDES: Final = (mirror_maker.NAME, bento.NAME, ours.NAME)
_SECONDS: Final = 60.0
_SETTLED_S: Final = 3.0
"""Between two sides: the broker is done with what the last one left."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for. `seconds`: of each measurement of a mode (None: its default); `partitions`: of `wide` and `idle`;
    `times`: of `pause`; `full`: both deliveries in `beside` too."""

    modes: list[str]
    cases: list[Copy]
    sides: dict[str, Run]
    size: ours.Size
    seconds: float | None
    partitions: int
    times: int
    full: bool


def main() -> int:
    options = _parse()
    findings = asyncio.run(_run(options))
    report.show(findings)
    settings = {"workers": options.size.workers, "task_num": options.size.tasks}
    path = report.store(findings, " ".join(["python -m bench.kafka_replication", *sys.argv[1:]]), settings)
    print(f"written: {path.name}, and the same as .json, in {path.parent.name}/")
    return 0 if findings.faultless else 1


async def _run(options: Options) -> Findings:
    findings = Findings()
    for mode in options.modes:
        if mode == "copy":
            await _copies(options, findings)
            continue
        async with set_up() as stage:
            match mode:
                case "latency":
                    await _latencies(stage, options, findings)
                case "beside":
                    await _beside(stage, options, findings)
                case "pause":
                    await _pauses(stage, options, findings)
                case _:
                    await _rest(stage, mode, options, findings)
    return findings


async def _copies(options: Options, findings: Findings) -> None:
    for secured in (False, True):
        wanted = [case for case in options.cases if case.secured is secured]
        if wanted:
            async with set_up(secured=secured) as stage:
                warm_up: Run | None = _ours(options)
                for case in wanted:
                    findings.compared.append(await _compare(stage, case, options.sides, warm_up))
                    warm_up = None


async def _compare(stage: Stage, case: Copy, sides: dict[str, Run], warm_up: Run | None) -> Compared:
    """`warm_up`: who copies once before all others, for nothing: brokers that begin to compile their code serve the first ones at twice the
    cost."""
    _say(f"{case.name}: writing {case.total:,} records, {case.gigabytes:.2f} GB")
    stored = await data.fill(stage.reads, case)
    if warm_up is not None:
        _say("warming up the brokers")
        await copy(stage, ours.NAME, warm_up, case)
    done: dict[str, Copied] = {}
    failed: dict[str, str] = {}
    for side, run in sides.items():
        await asyncio.sleep(_SETTLED_S)
        _say(f"{case.name}: {side}")
        try:
            done[side] = await copy(stage, side, run, case)
        except SmartConnectError as error:
            failed[side] = str(error)
            _say(f"{case.name}: {side} failed: {error}")
        else:
            steady = done[side].steady
            _say(f"{case.name}: {side}: {steady.wall_s:.1f} s, {steady.cpu_s:.1f} CPU s for {done[side].records:,} records")
    await stage.forget(source=[case.topic], target=[])
    return Compared(case, stored, done, failed)


async def _latencies(stage: Stage, options: Options, findings: Findings) -> None:
    await _warm_up(stage, options, findings)
    for exactly_once, rate in itertools.product((False, True), latency.RATES):
        for side, run in options.sides.items():
            if exactly_once and side == bento.NAME:
                continue
            job = Steady(rate, exactly_once)
            _say(f"{side}: {job.topic}")
            with _noting(findings.failed, f"{side}: {job.topic}"):
                findings.latencies.append(await latency.measure(stage, side, run, job, options.seconds or _SECONDS))


async def _warm_up(stage: Stage, options: Options, findings: Findings) -> None:
    """The first side would meet brokers whose code is not compiled yet."""
    _say("warming up the brokers")
    with _noting(findings.failed, "warming up"):
        await latency.warm_up(stage, ours.NAME, _ours(options))


def _ours(options: Options) -> Run:
    return functools.partial(ours.running, size=options.size)


async def _beside(stage: Stage, options: Options, findings: Findings) -> None:
    await _warm_up(stage, options, findings)
    _say(f"beside: writing {beside.TOPIC.total:,} records to dump")
    async with beside.dumpable(stage) as store:
        for exactly_once, rate in itertools.product((True, False) if options.full else (True,), latency.RATES):
            job = Steady(rate, exactly_once)
            _say(f"beside: {job.topic}, alone and beside a dump")
            with _noting(findings.failed, f"beside: {job.topic}"):
                seconds = options.seconds or beside.SECONDS
                findings.beside.append(await beside.measure(stage, store, job, options.size.tasks, seconds))


async def _pauses(stage: Stage, options: Options, findings: Findings) -> None:
    _say(f"pause: {options.times} times kill -9, {options.times} rolling restarts")
    with _noting(findings.failed, "pause"):
        findings.pauses.append(await pause.measure(stage, options.size, options.times))


async def _rest(stage: Stage, mode: str, options: Options, findings: Findings) -> None:
    size, partitions, seconds = options.size, options.partitions, options.seconds or _SECONDS
    _say(f"{mode}: {partitions:,} partitions, {seconds:.0f} s")
    with _noting(findings.failed, mode):
        if mode == "wide":
            findings.wide.append(await wide.measure(stage, size, partitions, seconds))
        else:
            findings.idle.append(await idle.measure(stage, size, partitions, seconds))


@contextlib.contextmanager
def _noting(failed: list[str], what: str) -> Iterator[None]:
    """A measurement that fails is in the report; the others go on."""
    try:
        yield
    except SmartConnectError as error:
        failed.append(f"{what}: {error}")
        _say(failed[-1])


def _parse() -> Options:
    known = {case.name: case for case in cases.everything()}
    parser = argparse.ArgumentParser(prog="python -m bench.kafka_replication", description=__doc__)
    parser.add_argument("--mode", action="append", choices=_MODES, help="may be given several times (default: copy; --full: all)")
    parser.add_argument("--case", action="append", choices=known, help="a topic to copy; may be given several times")
    parser.add_argument("--full", action="store_true", help="every topic, twice the records, every mode")
    parser.add_argument("--side", action="append", choices=_SIDES, help="may be given several times (default: all)")
    parser.add_argument("--scale", type=float, metavar="FACTOR", help="so many times the records")
    parser.add_argument("--peer-exactly-once", action="store_true", help="MirrorMaker 2 wherever we are")
    parser.add_argument("--before-compression", action="store_true", help="batches have their size before compression, not stored")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="of our service (default: as it would)")
    parser.add_argument("--tasks", type=int, default=1, help="task_num of our tasks: fewer units make fuller requests")
    parser.add_argument(
        "--seconds", type=float, help=f"of each measurement of latency, wide, idle ({_SECONDS:.0f}), beside ({beside.SECONDS:.0f})"
    )
    parser.add_argument("--times", type=int, default=3, help="kills, and rolling restarts, of pause")
    parser.add_argument("--partitions", type=int, default=5000, help="of wide and idle")
    given = parser.parse_args()
    if given.times < 1:
        parser.error("--times: at least once")
    wanted = [known[name] for name in given.case] if given.case else cases.everything() if given.full else cases.default()
    if given.before_compression:
        wanted = [cases.sized_before_compression(case) for case in wanted]
    if given.peer_exactly_once:
        wanted = [cases.with_peer_exactly_once(case) for case in wanted]
    factor = given.scale or (2.0 if given.full else 1.0)
    size = ours.Size(given.workers, given.tasks)
    return Options(
        modes=given.mode or list(_MODES if given.full else _MODES[:1]),
        cases=[cases.scaled(case, factor) for case in wanted],
        sides=_sides(given.side or list(_SIDES), size),
        size=size,
        seconds=given.seconds,
        partitions=given.partitions,
        times=given.times,
        full=given.full,
    )


def _sides(names: list[str], size: ours.Size) -> dict[str, Run]:
    """In the order in which they run. Builds Bento where it is wanted and missing."""
    found: dict[str, Run] = {}
    if mirror_maker.NAME in names:
        found[mirror_maker.NAME] = mirror_maker.running
    if bento.NAME in names:
        found[bento.NAME] = functools.partial(bento.running, program=program())
    if ours.NAME in names:
        found[ours.NAME] = functools.partial(ours.running, size=size)
    return found


def _say(text: str) -> None:
    print(f"{text} (load {os.getloadavg()[0]:.1f})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
