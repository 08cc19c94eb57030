"""Reads every byte of a bucket and says what became of each record id. The objects are read as files of the S3 server's folder, so neither
side's client is trusted. What must be there is computed; a stretch that is as it must be costs one comparison, any other is looked at
value by value.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.obs_dump.data import ID, PARTITIONS, Case

_NAME: Final = re.compile(r"(?:.*[+/])?(\d+)[+/](\d+)$")
_ONE_MORE: Final = bytes([*range(1, 256), 255])


@dataclass(slots=True)
class Count:
    """`arrived` counts every whole value; `twice` those that were there already, `late` those behind a greater sequence of their
    partition (names in the order of their offsets), `torn` what is no value of the topic."""

    objects: int = 0
    nbytes: int = 0
    arrived: int = 0
    twice: int = 0
    lost: int = 0
    late: int = 0
    torn: int = 0
    largest_object: int = 0
    seen: list[bytearray] = field(default_factory=list, repr=False)

    @property
    def perfect(self) -> bool:
        """Each record once, whole, in order."""
        return not (self.twice or self.lost or self.late or self.torn)


def objects(bucket: Path) -> list[Path]:
    """The visible objects; the server's own folders begin with a dot."""
    return [path for path in bucket.rglob("*") if path.is_file() and not path.relative_to(bucket).parts[0].startswith(".")]


def stored_bytes(bucket: Path) -> int:
    """Of all that lies there, parts of unfinished uploads included."""
    total = 0
    for path in bucket.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a part that became an object meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total


def count(bucket: Path, case: Case) -> Count:
    """Names end in partition and first offset, between `+` or `/`."""
    result = Count(seen=[bytearray(case.per_partition) for _ in range(PARTITIONS)])
    places: list[tuple[int, int, Path]] = []
    for path in objects(bucket):
        match = _NAME.match(str(path.relative_to(bucket)))
        if match is None:
            result.torn += 1
        else:
            places.append((int(match[1]), int(match[2]), path))
    last = dict.fromkeys(range(PARTITIONS), -1)
    for partition, _, path in sorted(places):
        body = path.read_bytes()
        result.objects += 1
        result.nbytes += len(body)
        result.largest_object = max(result.largest_object, len(body))
        last[partition] = _count_object(body if body.endswith(b"\n") else body + b"\n", partition, last[partition], case, result)
    result.lost = sum(seen.count(0) for seen in result.seen)
    return result


def _count_object(body: bytes, partition: int, last: int, case: Case, result: Count) -> int:
    """The greatest sequence of the partition so far."""
    width, at, seen = case.size + 1, 0, result.seen[partition]
    while at < len(body):
        first = _sequence(body[at : at + width], case)
        end = min(case.per_partition, first + (len(body) - at) // width)
        start = at
        for low, expected in case.lines(partition, first, end):
            if low <= last or body[at : at + len(expected)] != expected:
                break
            high = low + len(expected) // width
            result.twice += high - low - seen.count(0, low, high)
            result.arrived += high - low
            seen[low:high] = seen[low:high].translate(_ONE_MORE)
            at, last = at + len(expected), high - 1
        if at == start:
            at, last = _count_slowly(body, at, partition, last, case, result)
    return last


def _count_slowly(body: bytes, at: int, partition: int, last: int, case: Case, result: Count) -> tuple[int, int]:
    """One value; where the next begins, and the greatest sequence so far."""
    seen = result.seen[partition]
    end = body.index(b"\n", at) + 1
    line = body[at:end]
    sequence = _sequence(line, case)
    if sequence >= case.per_partition or next(case.lines(partition, sequence, sequence + 1))[1] != line:
        result.torn += 1
        return end, last
    result.arrived += 1
    result.twice += seen[sequence] > 0
    result.late += seen[sequence] == 0 and sequence < last
    seen[sequence] = min(255, seen[sequence] + 1)
    return end, max(last, sequence)


def _sequence(line: bytes, case: Case) -> int:
    """The one that no record has where the line holds none."""
    return min(int(line[ID]), case.per_partition) if line[ID].isdigit() else case.per_partition
