"""Record ids that survive every way through the service, and the count that tells what happened to them.

A value written by `records.RecordWriter` is `tag:partition:sequence:length:xxxx…`, `length` being that of the whole value: a value
that was cut, glued to another or altered cannot be read as an id, so it counts as torn. Sequences count from 0 per partition.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

_VALUE = re.compile(rb"([a-z0-9-]+):(\d+):(\d+):(\d+):(x*)\Z")
_SHOWN = 5


class RecordId(NamedTuple):
    """`tag` names who wrote the record: the topic, or why it must not arrive (aborted)."""

    tag: str
    partition: int
    sequence: int


def encode_id(record: RecordId, size: int = 0) -> bytes:
    """The value for this record, padded to `size` bytes (or as short as it can be)."""
    head = f"{record.tag}:{record.partition}:{record.sequence}:".encode()
    digits = 1
    while len(str(max(size, len(head) + digits + 1))) != digits:
        digits += 1
    total = max(size, len(head) + digits + 1)
    return head + f"{total}:".encode() + b"x" * (total - len(head) - digits - 1)


def decode_id(value: bytes) -> RecordId | None:
    """The id in a value; None if the value is torn."""
    match = _VALUE.match(value)
    if match is None or int(match[4]) != len(value):
        return None
    return RecordId(match[1].decode(), int(match[2]), int(match[3]))


@dataclass(slots=True)
class Count:
    """What became of the records. All lists are empty exactly when each record arrived once, whole and in order."""

    lost: list[RecordId] = field(default_factory=list)
    duplicate: list[RecordId] = field(default_factory=list)
    out_of_order: list[RecordId] = field(default_factory=list)
    unexpected: list[RecordId] = field(default_factory=list)
    torn: list[bytes] = field(default_factory=list)
    arrived: int = 0

    @property
    def is_perfect(self) -> bool:
        return not (self.lost or self.duplicate or self.out_of_order or self.unexpected or self.torn)

    def assert_exactly_once(self) -> None:
        """Raise AssertionError with the first few of each trouble."""
        assert self.is_perfect, str(self)

    def __str__(self) -> str:
        troubles: dict[str, Sequence[RecordId | bytes]] = {
            "lost": self.lost,
            "duplicate": self.duplicate,
            "out of order": self.out_of_order,
            "unexpected": self.unexpected,
            "torn": self.torn,
        }
        shown = [f"{len(ids)} {name}: {ids[:_SHOWN]}" for name, ids in troubles.items() if ids]
        return f"{self.arrived} records arrived" + "".join(f"; {text}" for text in shown)


def count_ids(chunks: Iterable[Sequence[bytes]], expected: Mapping[tuple[str, int], int]) -> Count:
    """Count the values of `chunks` against `expected`: (tag, partition) → number of sequences, which are 0, 1, 2, ….

    A chunk is what must be in order in itself (an object, a partition); chunks of one partition may come in any order but
    their ranges must not interleave.
    """
    count = Count()
    seen: dict[tuple[str, int], set[int]] = {}
    ranges: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for chunk in chunks:
        _count_chunk(chunk, expected, count, seen, ranges)
    for (tag, partition), number in expected.items():
        arrived = seen.get((tag, partition), set())
        count.lost += [RecordId(tag, partition, sequence) for sequence in range(number) if sequence not in arrived]
    for (tag, partition), found in ranges.items():
        found.sort()
        for (_, end), (start, _) in itertools.pairwise(found):
            if start < end:
                count.out_of_order.append(RecordId(tag, partition, start))
    return count


def _count_chunk(
    chunk: Sequence[bytes],
    expected: Mapping[tuple[str, int], int],
    count: Count,
    seen: dict[tuple[str, int], set[int]],
    ranges: dict[tuple[str, int], list[tuple[int, int]]],
) -> None:
    last: dict[tuple[str, int], int] = {}
    first: dict[tuple[str, int], int] = {}
    for value in chunk:
        record = decode_id(value)
        if record is None:
            count.torn.append(value)
            continue
        count.arrived += 1
        source = record[:2]
        known = seen.setdefault(source, set())
        if not 0 <= record.sequence < expected.get(source, 0):
            count.unexpected.append(record)
        elif record.sequence in known:
            count.duplicate.append(record)
        else:
            known.add(record.sequence)
            if record.sequence < last.get(source, -1):
                count.out_of_order.append(record)
            first.setdefault(source, record.sequence)
            last[source] = max(last.get(source, -1), record.sequence)
    for source, start in first.items():
        ranges.setdefault(source, []).append((start, last[source]))
