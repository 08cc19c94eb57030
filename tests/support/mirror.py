"""Is the target what a read_committed reader of the source sees? Read on both sides by a client that is not ours (confluent-kafka, which
checks the checksums), compared record by record: order, key, value, headers, timestamp. Offsets differ by design and only say where.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import NamedTuple

from tests.support.records import Record, read_topic
from tests.support.waiting import eventually

_TOLD = 5


@dataclass(frozen=True, slots=True)
class Side:
    """One topic of one cluster; `client`: further properties of the reader (security)."""

    servers: str
    topic: str
    client: Mapping[str, str] = field(default_factory=dict, repr=False)

    async def read(self, *, isolation: str = "read_committed") -> dict[int, list[Record]]:
        """All records by partition, up to the present end."""
        return await read_topic(self.servers, self.topic, isolation=isolation, client={"check.crcs": "true", **self.client})


class Content(NamedTuple):
    """What must be the same on both sides."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int


def content(record: Record, ignored_headers: Collection[str] = ()) -> Content:
    """A record without its place."""
    headers = tuple((name, value) for name, value in record.headers if name not in ignored_headers)
    return Content(record.key, record.value, headers, record.timestamp_ms)


async def differences(source: Side, target: Side, *, ignored_headers: Collection[str] = ()) -> list[str]:
    """The first few differences of each partition in words; none if the target is the source's mirror."""
    read, copied = await source.read(), await target.read()
    told = [
        f"partition {partition}: {difference}"
        for partition, records in read.items()
        for difference in islice(compare(records, copied.get(partition, []), ignored_headers), _TOLD)
    ]
    extra = sorted(partition for partition in copied.keys() - read.keys() if copied[partition])
    return told + [f"partition {partition} of the target has records and the source has no such partition" for partition in extra]


async def assert_mirrored(source: Side, target: Side, *, ignored_headers: Collection[str] = ()) -> None:
    """The target is now the source's mirror."""
    found = await differences(source, target, ignored_headers=ignored_headers)
    assert not found, f"{source.topic} → {target.topic}: " + "; ".join(found)


async def eventually_mirrored(source: Side, target: Side, within_s: float = 60, *, ignored_headers: Collection[str] = ()) -> None:
    """Until it is. Of a source to which nobody writes any more."""

    async def mirrored() -> bool:
        await assert_mirrored(source, target, ignored_headers=ignored_headers)
        return True

    await eventually(mirrored, within_s, what=f"{target.topic} mirrors {source.topic}", poll_s=0.2)


def compare(read: Sequence[Record], copied: Sequence[Record], ignored: Collection[str] = ()) -> Iterator[str]:
    """Every difference between one partition of the source and of the target, in words."""
    if len(read) != len(copied):
        yield f"{len(read)} records in the source, {len(copied)} in the target"
    for number, (ours, theirs) in enumerate(zip_longest(read, copied)):
        if ours is None:
            yield f"record {number} of the target (offset {theirs.offset}) is one too many: {_short(theirs)}"
        elif theirs is None:
            yield f"record {number} of the source (offset {ours.offset}) is not in the target: {_short(ours)}"
        elif content(ours, ignored) != content(theirs, ignored):
            places = f"offset {ours.offset} of the source, {theirs.offset} of the target"
            yield f"record {number} ({places}) differs: {_short(ours)} became {_short(theirs)}"


def _short(record: Record) -> str:
    value = record.value if record.value is None or len(record.value) <= 60 else record.value[:60] + b"..."
    return f"key {record.key!r}, value {value!r}, {len(record.headers)} headers, at {record.timestamp_ms}"
