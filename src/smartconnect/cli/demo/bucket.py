"""Counts what is in the bucket against what was written: each record must be there once, in order, and nothing else. It only reads what a
consumer of the bucket would read, while the service writes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from smartconnect.cli.demo.source import PARTITIONS, Written, value
from smartconnect.kafka.types import TopicPartition
from smartconnect.objectstore import ObjectStore

_VALUE: Final = re.compile(rb'\{"id":"([a-z]+)-(\d+)-(\d{9})"')


@dataclass(slots=True)
class Tally:
    """What was found so far. `next` is the first sequence number of each partition that was not seen yet."""

    next: dict[TopicPartition, int] = field(default_factory=lambda: dict.fromkeys(PARTITIONS, 0))
    objects: int = 0
    nbytes: int = 0
    once: int = 0
    twice: int = 0
    lost: int = 0
    strange: int = 0
    newest_key: str = ""

    @property
    def perfect(self) -> bool:
        return not (self.twice or self.lost or self.strange)

    @property
    def every_partition(self) -> bool:
        """Has something of each partition arrived?"""
        return all(self.next.values())


class BucketCheck:
    """`prefix` is where the task writes."""

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self._store, self._prefix = store, prefix
        self._read_keys: set[str] = set()
        self._unknown: set[str] = set()
        self._listed_up_to = dict.fromkeys(PARTITIONS, -1)
        self.tally = Tally()

    async def look(self) -> None:
        """Read the objects that have appeared. A listing is no snapshot: it may show an object and have missed an older one that appeared
        meanwhile. So only what is not newer than something in the listing before is read."""
        found: list[tuple[TopicPartition, int, str]] = []
        async for summary in self._store.list_objects(self._prefix):
            parsed = _parse(summary.key)
            if parsed is None:
                self._unknown.add(summary.key)
            elif summary.key not in self._read_keys:
                found.append((*parsed, summary.key))
        found.sort()
        for tp, offset, key in found:
            if offset <= self._listed_up_to[tp]:
                await self._read(tp, key)
                self._read_keys.add(key)
        for tp, offset, _ in found:
            self._listed_up_to[tp] = max(offset, self._listed_up_to[tp])

    async def conclude(self, written: Written) -> Tally:
        """Nothing will be written any more: what is not there now is lost."""
        await self.look()
        await self.look()
        for tp, records in written.by_partition.items():
            self.tally.lost += max(0, records - self.tally.next[tp])
        self.tally.strange += len(self._unknown)
        return self.tally

    async def _read(self, tp: TopicPartition, key: str) -> None:
        tally, rest = self.tally, b""
        async for chunk in self._store.read(key):
            tally.nbytes += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._count(tp, line)
        if rest:
            tally.strange += 1
        tally.objects += 1
        tally.newest_key = key

    def _count(self, tp: TopicPartition, line: bytes) -> None:
        tally, expected = self.tally, self.tally.next[tp]
        if line == value(tp, expected):
            tally.once += 1
            tally.next[tp] = expected + 1
            return
        match = _VALUE.match(line)
        if match is None or (match[1].decode(), int(match[2])) != tp or line != value(tp, int(match[3])):
            tally.strange += 1
            return
        sequence = int(match[3])
        if sequence < expected:
            tally.twice += 1
            return
        tally.lost += sequence - expected
        tally.once += 1
        tally.next[tp] = sequence + 1


def _parse(key: str) -> tuple[TopicPartition, int] | None:
    """Partition and first offset from `<topic>+<partition>+<offset>`."""
    pieces = key.rsplit("/", 1)[-1].split("+")
    if len(pieces) != 3 or not (pieces[1].isdigit() and pieces[2].isdigit()):
        return None
    tp = TopicPartition(pieces[0], int(pieces[1]))
    return (tp, int(pieces[2])) if tp in PARTITIONS else None
