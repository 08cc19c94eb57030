"""Says what became of each record id of a topic, from the values that came out of a side, in their order. What must be there is computed;
a stretch that is as it must be costs one comparison, any other is looked at value by value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from bench.common.data import ID, PARTITIONS, Case

_ONE_MORE: Final = bytes([*range(1, 256), 255])


@dataclass(slots=True)
class Count:
    """`arrived` counts every whole value; `twice` those that were there already, `late` those behind a greater sequence of their
    partition, `torn` what is no value of the topic."""

    arrived: int = 0
    twice: int = 0
    lost: int = 0
    late: int = 0
    torn: int = 0
    seen: list[bytearray] = field(default_factory=list, repr=False)

    @property
    def perfect(self) -> bool:
        """Each record once, whole, in order."""
        return not (self.twice or self.lost or self.late or self.torn)


class Lines:
    """Give it all values with `add`, then ask `finish`."""

    def __init__(self, case: Case, result: Count) -> None:
        self._case, self._result = case, result
        result.seen = [bytearray(case.per_partition) for _ in range(PARTITIONS)]
        self._last = dict.fromkeys(range(PARTITIONS), -1)

    def add(self, partition: int, body: bytes) -> None:
        """The next values of a partition, each ended by a newline."""
        case, result, last = self._case, self._result, self._last[partition]
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
                at, last = self._one(body, at, partition, last)
        self._last[partition] = last

    def finish(self) -> None:
        """Count what never came."""
        self._result.lost = sum(seen.count(0) for seen in self._result.seen)

    def _one(self, body: bytes, at: int, partition: int, last: int) -> tuple[int, int]:
        """One value; where the next begins, and the greatest sequence so far."""
        case, result = self._case, self._result
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
