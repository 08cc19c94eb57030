"""How much of a topic a read_committed reader could see by now, from the headers of the batches in the broker's files: exact to the record,
also among transactions, and without a reader that would take its share of the cores.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_LENGTH_FROM: Final = 12
_TRANSACTIONAL: Final = 0x10
_CONTROL: Final = 0x20
_MARKER_KIND: Final = slice(_HEADER.size + 7, _HEADER.size + 9)
"""In a control batch: the second half of the key, behind five one-byte fields and the key's version."""
_COMMIT: Final = b"\x00\x01"


@dataclass(slots=True)
class _Partition:
    """`open_by`: producer id → records in its open transaction."""

    folder: Path
    segment: int = 0
    at: int = 0
    open_by: Counter[int] = field(default_factory=Counter)


class Tail:
    """Of topics on one broker; `visible()` reads on to the end and gives the total of visible records. `written`, `batches` and `markers`
    count what was passed: records visible or not, their batches, and control batches."""

    def __init__(self, data_folder: Path, partitions: dict[str, int]) -> None:
        self._partitions = [_Partition(data_folder / f"{topic}-{n}") for topic, count in partitions.items() for n in range(count)]
        self._visible = 0
        self.written = 0
        self.batches = 0
        self.markers = 0

    def visible(self) -> int:
        """Records outside transactions and in committed ones."""
        for partition in self._partitions:
            self._read_on(partition)
        return self._visible

    def _read_on(self, partition: _Partition) -> None:
        segments = sorted(partition.folder.glob("*.log"))
        while partition.segment < len(segments):
            with segments[partition.segment].open("rb") as file:
                for head in _heads(file.fileno(), partition):
                    self._take(head, partition)
            if partition.segment + 1 == len(segments):
                return
            partition.segment, partition.at = partition.segment + 1, 0

    def _take(self, head: bytes, partition: _Partition) -> None:
        _, _, _, _, _, attributes, _, _, _, producer, _, _, records = _HEADER.unpack_from(head)
        if attributes & _CONTROL:
            self.markers += 1
            ended = partition.open_by.pop(producer, 0)
            self._visible += ended if head[_MARKER_KIND] == _COMMIT else 0
            return
        self.batches += 1
        self.written += records
        if attributes & _TRANSACTIONAL:
            partition.open_by[producer] += records
        else:
            self._visible += records


def _heads(descriptor: int, partition: _Partition) -> Iterator[bytes]:
    """The first bytes of each whole batch behind `partition.at`, which moves on."""
    size = os.fstat(descriptor).st_size
    while size - partition.at > _HEADER.size:
        head = os.pread(descriptor, _MARKER_KIND.stop, partition.at)
        end = partition.at + _LENGTH_FROM + int.from_bytes(head[8:12], "big")
        if end > size:
            return
        partition.at = end
        yield head
