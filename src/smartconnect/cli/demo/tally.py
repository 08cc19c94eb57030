"""Counting against what was written: each record of each partition must arrive once, in order, and nothing else. Value *n* of a partition
is a pure function of its number (`source.value`), so nothing has to be remembered. Used for the bucket and for the peer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from smartconnect.cli.demo.source import PARTITIONS, Written, value
from smartconnect.kafka.types import TopicPartition

_VALUE: Final = re.compile(rb'\{"id":"([a-z]+)-(\d+)-(\d{9})"')


@dataclass(slots=True)
class Tally:
    """What was found so far. `next` is the first sequence number of each partition that was not seen yet."""

    next: dict[TopicPartition, int] = field(default_factory=lambda: dict.fromkeys(PARTITIONS, 0))
    once: int = 0
    twice: int = 0
    lost: int = 0
    strange: int = 0

    @property
    def perfect(self) -> bool:
        return not (self.twice or self.lost or self.strange)

    @property
    def every_partition(self) -> bool:
        """Has something of each partition arrived?"""
        return all(self.next.values())

    def count(self, tp: TopicPartition, found: bytes) -> None:
        """One value, in the order of arrival."""
        expected = self.next[tp]
        if found == value(tp, expected):
            self.once += 1
            self.next[tp] = expected + 1
            return
        match = _VALUE.match(found)
        if match is None or (match[1].decode(), int(match[2])) != tp or found != value(tp, int(match[3])):
            self.strange += 1
            return
        sequence = int(match[3])
        if sequence < expected:
            self.twice += 1
            return
        self.lost += sequence - expected
        self.once += 1
        self.next[tp] = sequence + 1

    def end(self, written: Written) -> None:
        """Nothing will arrive any more: what is not here is lost."""
        for tp, records in written.by_partition.items():
            self.lost += max(0, records - self.next[tp])
