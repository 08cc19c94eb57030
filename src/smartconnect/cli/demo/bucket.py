"""Counts what is in the bucket against what was written. It only reads what a consumer of the bucket would read, while the service
writes.
"""

from __future__ import annotations

from dataclasses import dataclass

from smartconnect.cli.demo.source import PARTITIONS, Written
from smartconnect.cli.demo.tally import Tally
from smartconnect.kafka.types import TopicPartition
from smartconnect.objectstore import ObjectStore


@dataclass(slots=True)
class BucketTally(Tally):
    """Also what the records lie in."""

    objects: int = 0
    nbytes: int = 0
    newest_key: str = ""


class BucketCheck:
    """`prefix` is where the task writes."""

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self._store, self._prefix = store, prefix
        self._read_keys: set[str] = set()
        self._unknown: set[str] = set()
        self._listed_up_to = dict.fromkeys(PARTITIONS, -1)
        self.tally = BucketTally()

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

    async def conclude(self, written: Written) -> BucketTally:
        """Nothing will be written any more: what is not there now is lost."""
        await self.look()
        await self.look()
        self.tally.end(written)
        self.tally.strange += len(self._unknown)
        return self.tally

    async def _read(self, tp: TopicPartition, key: str) -> None:
        tally, rest = self.tally, b""
        async for chunk in self._store.read(key):
            tally.nbytes += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                tally.count(tp, line)
        if rest:
            tally.strange += 1
        tally.objects += 1
        tally.newest_key = key


def _parse(key: str) -> tuple[TopicPartition, int] | None:
    """Partition and first offset from `<topic>+<partition>+<offset>`."""
    pieces = key.rsplit("/", 1)[-1].split("+")
    if len(pieces) != 3 or not (pieces[1].isdigit() and pieces[2].isdigit()):
        return None
    tp = TopicPartition(pieces[0], int(pieces[1]))
    return (tp, int(pieces[2])) if tp in PARTITIONS else None
