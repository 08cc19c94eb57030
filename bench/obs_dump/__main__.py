"""`python -m bench.obs_dump`: for each topic, fill it, dump it with our service, count every id in the bucket, do the same with Bento, and
set both against the targets of the specification. Exit code 1 if a record of ours is missing, twice, or out of order.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.common import data
from bench.common.bento import program as bento_program
from bench.common.data import Case
from bench.common.watching import Measured
from bench.obs_dump import bento, count, idle, ours, report, wide
from bench.obs_dump.report import Compared, Rests, Side
from bench.obs_dump.stage import Stage, set_up
from smartconnect.kernels import Codec

_DEFAULT: Final = {100: 8_000_000, 1024: 1_500_000}
_FULL: Final = {100: 24_000_000, 1024: 4_000_000}
_IDLE_PARTITIONS: Final = {False: 18 * 8, True: 5000}
_CODECS: Final = {codec.name.lower(): codec for codec in (Codec.NONE, Codec.LZ4, Codec.ZSTD)}


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for. `peer` False: our side alone. `records`: value size → records. `ask`: the API while it dumps.
    `https`: to the store."""

    records: dict[int, int]
    codecs: list[Codec]
    workers: int
    peer: bool
    ask: bool
    https: bool
    idle_partitions: int
    idle_s: float
    wide_partitions: int
    wide_s: float


def main() -> int:
    options = _parse()
    program = bento_program() if options.peer else None
    compared, rests = asyncio.run(_run(options, program))
    report.show(compared, rests)
    path = report.store(compared, rests, " ".join(["python -m bench.obs_dump", *sys.argv[1:]]))
    print(f"written: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path.name}")
    return 0 if all(one.ours.count.perfect for one in compared) else 1


async def _run(options: Options, program: Path | None) -> tuple[list[Compared], Rests]:
    rests, compared, cases = Rests(), list[Compared](), _cases(options)
    if cases:
        async with set_up(https=options.https) as stage:
            compared = [await _compare(stage, case, options, program) for case in cases]
    if options.idle_s:
        async with set_up() as stage:
            _say(f"idle: {idle.TASKS} tasks, {options.idle_s:.0f} s")
            rests.idle = await idle.measure(stage, options.workers, options.idle_partitions, options.idle_s)
    if options.wide_s:
        async with set_up() as stage:
            _say(f"wide: {options.wide_partitions} partitions, {options.wide_s:.0f} s")
            rests.wide = await wide.measure(stage, options.workers, options.wide_partitions, options.wide_s, program)
    return compared, rests


def _cases(options: Options) -> list[Case]:
    return [Case(size, records, codec) for codec in options.codecs for size, records in options.records.items()]


async def _compare(stage: Stage, case: Case, options: Options, program: Path | None) -> Compared:
    _say(f"{case.name}: writing {case.total:,} records")
    stored = await data.fill(stage.cluster, case)
    bucket = stage.make_bucket(f"ours-{case.topic}")
    await asyncio.to_thread(os.sync)  # what others have written goes to the disk now, and not in our time
    _say(f"{case.name}: ours")
    mine = await _counted(case, bucket, await ours.dump(stage, case, bucket, options.workers, ask=options.ask))
    theirs = None
    if program is not None:
        bucket = stage.make_bucket(f"bento-{case.topic}")
        await asyncio.to_thread(os.sync)
        _say(f"{case.name}: Bento")
        theirs = await _counted(case, bucket, await bento.dump(stage, case, bucket, program))
    return Compared(case, stored, mine, theirs, options.https)


async def _counted(case: Case, bucket: Path, measured: Measured) -> Side:
    """Count, then make room."""
    _say(f"{case.name}: {measured.wall_s:.1f} s, {measured.cpu_s:.1f} CPU s; counting every id")
    result = await asyncio.to_thread(count.count, bucket, case)
    await asyncio.to_thread(shutil.rmtree, bucket)
    return Side(measured, result)


def _parse() -> Options:
    parser = argparse.ArgumentParser(prog="python -m bench.obs_dump", description=__doc__)
    parser.add_argument("--full", action="store_true", help="24 M x 100 B, 4 M x 1 KiB, 5,000 idle partitions")
    parser.add_argument("--records-100", type=int, help="records of 100 B; 0: none")
    parser.add_argument("--records-1024", type=int, help="records of 1 KiB; 0: none")
    parser.add_argument("--codec", action="append", choices=sorted(_CODECS), help="may be given several times (default: lz4)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--alone", action="store_true", help="our side only")
    parser.add_argument(
        "--ask", action="store_true", help="also show and list over the API while ours dumps, and how long that takes"
    )
    parser.add_argument("--https", action="store_true", help="to the store by https; our side only")
    parser.add_argument("--idle", type=float, default=0.0, metavar="SECONDS", help="also measure 18 idle tasks for so long")
    parser.add_argument("--idle-partitions", type=int)
    parser.add_argument(
        "--wide", type=float, default=0.0, metavar="SECONDS", help="also measure one record a second in each partition"
    )
    parser.add_argument("--wide-partitions", type=int, default=5000)
    given = parser.parse_args()
    records = dict(_FULL if given.full else _DEFAULT)
    for size, wanted in ((100, given.records_100), (1024, given.records_1024)):
        if wanted is not None:
            records[size] = wanted // data.PARTITIONS * data.PARTITIONS
    return Options(
        records={size: number for size, number in records.items() if number},
        codecs=[_CODECS[name] for name in given.codec or ["lz4"]],
        workers=given.workers,
        peer=not (given.alone or given.https),
        ask=given.ask,
        https=given.https,
        idle_partitions=given.idle_partitions or _IDLE_PARTITIONS[given.full],
        idle_s=given.idle,
        wide_partitions=given.wide_partitions,
        wide_s=given.wide,
    )


def _say(text: str) -> None:
    print(f"{text} (load {os.getloadavg()[0]:.1f})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
