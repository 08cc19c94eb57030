"""Speed of the kernels on one core: the best of many short runs, since other work on the machine only ever makes a run slower.

`python bench/kernels/join.py [--runs N] [--value BYTES] [--batch BYTES] [--data KIND]` prints, for each codec, records per second of
`join` alone (also with delimiters counted, and with keys), of decompression and `join`, and of checksum, decompression and `join`; then
the cost of each batch where every batch holds one record.
"""

from __future__ import annotations

import argparse
import platform
import random
import time
from collections.abc import Callable

from smartconnect import kernels
from smartconnect.kernels import BlockPool, BlockWriter, Codec, FreeBlocks, JoinPlan, Scratch, encode

PLAN = JoinPlan(b"\n", count_delimiters=False)
COUNTING = JoinPlan(b"\n", count_delimiters=True)
KEYS = JoinPlan(b"\n", b":", count_delimiters=False)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=200)
    arguments.add_argument("--value", type=int, default=100)
    arguments.add_argument("--batch", type=int, default=128 << 10)
    arguments.add_argument("--total", type=int, default=2 << 20)
    arguments.add_argument("--data", choices=sorted(MAKERS), default="text")
    options = arguments.parse_args()
    print(f"{kernels.IMPLEMENTATION} kernels, Python {platform.python_version()}, {platform.machine()}")
    for codec in Codec:
        bench_codec(codec, options)
    bench_small(options)


def bench_codec(codec: Codec, options: argparse.Namespace) -> None:
    records, count = response(codec, options)
    batches = kernels.walk(records, 0, [])
    scratch = Scratch()
    pool = BlockPool(free=FreeBlocks(1024))
    sections = [
        section._replace(data=bytes(section.data)) for group in kernels.sections(records, batches, scratch) for section in group
    ]

    def joined(plan: JoinPlan) -> Callable[[], None]:
        def run() -> None:
            writer = BlockWriter(pool)
            kernels.join(sections, plan, writer)
            writer.clear()

        return run

    def unpacked() -> None:
        writer = BlockWriter(pool)
        for group in kernels.sections(records, batches, scratch):
            kernels.join(group, PLAN, writer)
        writer.clear()

    def everything() -> None:
        assert all(kernels.verify_crc(records, batch) for batch in kernels.walk(records, 0, []))
        unpacked()

    figures = {
        "join": joined(PLAN),
        "join+count": joined(COUNTING),
        "join+keys": joined(KEYS),
        "unpack+join": unpacked,
        "walk+crc+unpack+join": everything,
    }
    print(
        f"{codec.name:7} {count} records of {options.value} B, {len(batches)} batches, {len(records) / count:.1f} B/record stored"
    )
    for name, run in figures.items():
        seconds = best(run, options.runs)
        print(f"        {name:22} {count / seconds / 1e6:7.1f} M records/s {count * options.value / seconds / 1e9:6.2f} GB/s")


def bench_small(options: argparse.Namespace) -> None:
    records = b"".join(encode.batch([encode.Record(i, MAKERS[options.data](i, options.value))]) for i in range(10_000))
    batches = kernels.walk(records, 0, [])
    writer = BlockWriter(BlockPool())
    scratch = Scratch()

    def joined() -> None:
        for group in kernels.sections(records, batches, scratch):
            kernels.join(group, PLAN, writer)
        writer.clear()

    figures = {
        "walk": lambda: kernels.walk(records, 0, []),
        "crc": lambda: [kernels.verify_crc(records, batch) for batch in batches],
        "sections+join": joined,
    }
    print("10000 batches of one record")
    for name, run in figures.items():
        print(f"        {name:22} {best(run, options.runs) / 10_000 * 1e9:7.0f} ns for each batch")


def response(codec: Codec, options: argparse.Namespace) -> tuple[bytearray, int]:
    """Batches of about `batch` bytes uncompressed, `total` bytes in all, and their number of records."""
    per_batch = max(1, options.batch // (options.value + 8))
    out = bytearray()
    offset = 0
    while offset * (options.value + 8) < options.total:
        numbers = range(offset, offset + per_batch)
        records = [
            encode.Record(i, MAKERS[options.data](i, options.value), b"k%d" % (i % 100), 1_700_000_000_000 + i) for i in numbers
        ]
        out += encode.batch(records, encode.Frame(codec=codec))
        offset += per_batch
    return out, offset


def text(number: int, size: int) -> bytes:
    """Words in random order: compresses about 2.4 : 1 with lz4, as events do; hard work for a decoder (short matches)."""
    rng = random.Random(number)
    line = f'{{"id":{number},"user":"{rng.choice(WORDS)}","event":"{rng.choice(WORDS)}","x":{rng.random():.8f},"tail":"'
    while len(line) < size:
        line += rng.choice(WORDS)
    return line[:size].encode()


def mixed(number: int, size: int) -> bytes:
    """A third random, the rest the same in each value."""
    third = size // 3
    rng = random.Random(number)
    return (b"%020d" % number + rng.randbytes(third) + b"the same in every value, " * (size // 25 + 1))[:size]


def sequence(number: int, size: int) -> bytes:
    """A number and a filler that never changes."""
    return (b"%020d" % number + b"the same in every value, " * (size // 25 + 1))[:size]


MAKERS = {"mixed": mixed, "sequence": sequence, "text": text}
WORDS = [f"{random.Random(i).getrandbits(32):08x}"[: 3 + i % 6] for i in range(200)]


def best(run: Callable[[], object], runs: int) -> float:
    """Seconds of the fastest run."""
    fastest = float("inf")
    for _ in range(runs):
        begin = time.perf_counter()
        run()
        fastest = min(fastest, time.perf_counter() - begin)
    return fastest


if __name__ == "__main__":
    main()
