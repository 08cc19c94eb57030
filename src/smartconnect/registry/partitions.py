"""The partitions of a unit as one compressed column: a line with the names of the columns, then a line for each partition, all JSON,
zstd-compressed. 5,000 partitions are some 140 KB, written at most every 15 s. Names, not places, so that versions can differ while a
cluster is upgraded; lines, because encoding 5,000 rows in one call would hold the interpreter, and with it the loop, for too long.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any

import zstandard

from smartconnect.domain.progress import PartitionProgress, PartitionState
from smartconnect.domain.task import Reason
from smartconnect.engine.unit import ReportedPosition
from smartconnect.registry.codec import fields_of, reason_from, to_text

_NAMES = tuple(field.name for field in fields(PartitionProgress))
_LEVEL = 3
_MAX_BYTES = 256 << 20


def pack_partitions(partitions: Iterable[PartitionProgress]) -> bytes:
    """The column for a unit's partitions."""
    lines = [to_text(_NAMES)]
    lines += [to_text([_plain(getattr(partition, name)) for name in _NAMES]) for partition in partitions]
    return zstandard.ZstdCompressor(level=_LEVEL).compress("\n".join(lines).encode())


def _plain(value: object) -> object:
    return asdict(value) if isinstance(value, Reason) else value


class PackedPartitions:
    """An opened column. Rows become objects one by one, because a page of progress shows few of many."""

    def __init__(self, content: bytes) -> None:
        lines = zstandard.ZstdDecompressor().decompress(content, max_output_size=_MAX_BYTES).split(b"\n")
        self._columns: Sequence[str] = json.loads(lines[0])
        self._rows: Sequence[Sequence[Any]] = [json.loads(line) for line in lines[1:]]

    def __len__(self) -> int:
        return len(self._rows)

    def keys(self) -> Iterator[tuple[str, int, str]]:
        """(topic, partition, direction or "") of each row, in order."""
        topic, partition, direction = (self._columns.index(name) for name in ("topic", "partition", "direction"))
        for row in self._rows:
            yield row[topic], row[partition], row[direction] or ""

    def positions(self) -> Iterator[tuple[tuple[str, int], ReportedPosition]]:
        """(topic, partition) and what the next owner must know, of each row that has a position or a gap."""
        for values in self._rows:
            row = dict(zip(self._columns, values, strict=True))
            expected = row.get("expected")
            offset = row["position"] if expected is None else expected
            if offset is not None or row["gaps"]:
                found = ReportedPosition(
                    offset,
                    row["topic_id"],
                    row.get("initial_end"),
                    row["gaps"],
                    row.get("gap") or "",
                    marked=row.get("marked", False),
                )
                yield (row["topic"], row["partition"]), found

    def __getitem__(self, number: int) -> PartitionProgress:
        value = fields_of(PartitionProgress, dict(zip(self._columns, self._rows[number], strict=True)))
        value["state"] = PartitionState(value["state"])
        value["reason"] = reason_from(value["reason"])
        return PartitionProgress(**value)
