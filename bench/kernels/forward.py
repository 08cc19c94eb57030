"""Speed of the forwarding kernels on one core: the best of many short runs, since other work on the machine only ever makes a run slower.

`python -m bench.kernels.forward [--runs N] [--value BYTES] [--data KIND]` prints what `check` and `stamp` cost for each batch of 1, 16
and 256 KiB, then, per codec, GB/s of uncompressed data through `recode` as it is, with a provenance header, and coalescing small batches
(decompression and compression included), through its `rewrite` step alone, and through `digest`.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Iterator

from bench.kernels.join import MAKERS, best

from smartconnect import kernels
from smartconnect.kernels import START, Codec, DigestPlan, Hop, Place, RecodePlan, Scratch, Stamp, encode, twin_rewrite
from smartconnect.kernels.forward import Room
from smartconnect.kernels.forward_parts import parts

PLAN = RecodePlan(max_bytes=1 << 20)
HOP = RecodePlan(1 << 20, hop=Hop(Place("Xk7hQ2mPRyS0vT1w", "orders"), 3, 1_708_427_753_133, Place("aB3dE6fH9jK2mN5p", "orders")))
TOTAL = 2 << 20


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=100)
    arguments.add_argument("--value", type=int, default=100)
    arguments.add_argument("--data", choices=sorted(MAKERS), default="text")
    options = arguments.parse_args()
    print(f"{kernels.IMPLEMENTATION} kernels, Python {platform.python_version()}, {platform.machine()}")
    for nbytes in (1 << 10, 16 << 10, 256 << 10):
        bench_stamp(nbytes, options)
    for codec in Codec:
        bench_recode(codec, options)


def bench_stamp(nbytes: int, options: argparse.Namespace) -> None:
    """A response of up to 1 MiB, as one partition's share of a fetch."""
    made = b"".join(batches(Codec.NONE, nbytes, 1 << 20, options))
    data = bytearray(made)
    rows = kernels.walk(made, 0, [])
    ranges = [(row.start, row.end, number) for number, row in enumerate(rows)]
    ours = Stamp(producer_id=4000, producer_epoch=3, transactional=True)

    def both() -> None:
        kernels.check(made, rows)
        kernels.stamp(data, ranges, ours)

    figures = {
        "walk": lambda: kernels.walk(made, 0, []),
        "check": lambda: kernels.check(made, rows),
        "stamp": lambda: kernels.stamp(data, ranges, ours),
        "check+stamp": both,
    }
    print(f"{len(rows)} batches of {len(made) / len(rows) / 1024:.1f} KiB")
    for name, run in figures.items():
        seconds = best(run, options.runs)
        print(f"        {name:22} {seconds / len(rows) * 1e6:7.3f} µs for each batch {len(made) / seconds / 1e9:7.1f} GB/s")


def bench_recode(codec: Codec, options: argparse.Namespace) -> None:
    large = b"".join(batches(codec, 128 << 10, TOTAL, options))
    small = b"".join(batches(codec, 4 << 10, TOTAL, options))
    rows, small_rows = kernels.walk(large, 0, []), kernels.walk(small, 0, [])
    scratch = Scratch()
    nbytes = sum(len(kernels.decompress(row.codec, memoryview(large)[row.records_start : row.end])) for row in rows)
    groups = [
        [part._replace(data=bytes(part.data)) for part in group]
        for group in parts(large, rows, scratch, 256 << 10, append_time=True)
    ]
    rewrite = kernels._compiled.rewrite if kernels.IMPLEMENTATION == "compiled" else twin_rewrite.rewrite
    out = bytearray(4 << 20)
    room = Room(1 << 40, 1 << 40)
    everything = DigestPlan(0, 1 << 62)

    figures: dict[str, Callable[[], object]] = {
        "recode": lambda: kernels.recode(large, rows, PLAN, scratch),
        "recode, header": lambda: kernels.recode(large, rows, HOP, scratch),
        "recode, 4 KiB batches": lambda: kernels.recode(small, small_rows, PLAN, scratch),
        "rewrite": lambda: [rewrite(group, PLAN, room, START, out) for group in groups],
        "rewrite, header": lambda: [rewrite(group, HOP, room, START, out) for group in groups],
        "digest": lambda: kernels.digest(large, rows, everything, scratch),
    }
    print(f"{codec.name:7} records of {options.value} B, {nbytes / len(large):.2f} : 1")
    for name, run in figures.items():
        seconds = best(run, options.runs)
        print(f"        {name:22} {nbytes / seconds / 1e9:6.2f} GB/s")


def batches(codec: Codec, nbytes: int, total: int, options: argparse.Namespace) -> Iterator[bytes]:
    """Batches of about `nbytes` uncompressed, `total` in all, at least one."""
    per_batch = max(1, nbytes // (options.value + 12))
    maker = MAKERS[options.data]
    for first in range(0, max(1, total // nbytes) * per_batch, per_batch):
        numbers = range(first, first + per_batch)
        records = [encode.Record(i, maker(i, options.value), b"k%d" % (i % 100), 1_700_000_000_000 + i) for i in numbers]
        yield encode.batch(records, encode.Frame(codec=codec))


if __name__ == "__main__":
    main()
