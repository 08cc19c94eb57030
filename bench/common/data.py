"""What is in the topics: values of one size, each with its partition and sequence, the rest words in random order (lz4 makes them about
half as long, as it does with events). A value is a pure function of (partition, sequence), so the count computes what must have come
out. Whole batches are made from templates by one formatting call, compressed one by one, and sent with the product's raw client.
"""

from __future__ import annotations

import asyncio
import random
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from fastcrc import crc32

from bench.common.sending import sending
from smartconnect.domain.errors import SandboxFailed
from smartconnect.kafka.admin import NewTopic, create_topics
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.offsets import LATEST, READ_UNCOMMITTED, list_offsets
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import Codec
from smartconnect.kernels.encode import Frame, Record, batch, compress, records_section

PARTITIONS: Final = 8
BATCH_BYTES: Final = 128 << 10
ID: Final = slice(11, 23)
"""Where the sequence stands in a value: `{"id":"003-000000001234","text":"…`."""

_VARIANTS: Final = 8
_OVERHEAD: Final = 10
_ZEROS: Final = b'-000000000000"'
_HEAD: Final = struct.Struct(">qiibI")
_BODY_FROM: Final = 21
_BODY_UNTIL: Final = 61
_MAGIC: Final = 2
_UNANSWERED: Final = 12
_LEADERS_WITHIN_S: Final = 180.0
_LEADERS_POLL_S: Final = 0.1
_WORDS: Final = [f"{random.Random(number).getrandbits(32):08x}"[: 3 + number % 6] for number in range(200)]


@dataclass(frozen=True)
class Case:
    """One topic: `records` over all partitions, each value `size` bytes; a full batch holds `batch_bytes` of them before compression."""

    size: int
    records: int
    codec: Codec
    batch_bytes: int = BATCH_BYTES

    @property
    def name(self) -> str:
        return f"{self.size} B {self.codec.name.lower()}"

    @property
    def topic(self) -> str:
        return f"bench-{self.size}-{self.codec.name.lower()}"

    @property
    def per_partition(self) -> int:
        return self.records // PARTITIONS

    @property
    def total(self) -> int:
        """Records, of all partitions."""
        return self.per_partition * PARTITIONS

    @property
    def total_bytes(self) -> int:
        """Of all values together, each with a newline."""
        return self.per_partition * PARTITIONS * (self.size + 1)

    @property
    def per_batch(self) -> int:
        return max(1, self.batch_bytes // (self.size + _OVERHEAD))

    @cached_property
    def templates(self) -> Templates:
        return Templates(self.size, self.per_batch, time.time_ns() // 1_000_000)

    def lines(self, partition: int, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """(first sequence, values with newlines) of the sequences `[start, end)`, a batch or less at a time."""
        width = self.size + 1
        for index in range(start // self.per_batch, -(-end // self.per_batch)):
            first = index * self.per_batch
            whole = self.templates.lines(partition, index % _VARIANTS) % tuple(range(first, first + self.per_batch))
            low, high = max(start, first), min(end, first + self.per_batch)
            yield low, whole[(low - first) * width : (high - first) * width]

    def batches(self, partition: int) -> Iterator[bytes]:
        """Every record batch of a partition, in order."""
        for first in range(0, self.per_partition, self.per_batch):
            count = min(self.per_batch, self.per_partition - first)
            section, after_crc = self.templates.batch(partition, first // self.per_batch % _VARIANTS, count, self.codec)
            body = after_crc + compress(self.codec, section % tuple(range(first, first + count)))
            yield _HEAD.pack(0, len(body) + _HEAD.size - 12, 0, _MAGIC, crc32.iscsi(body)) + body


class Templates:
    """Bytes in which `%012d` stands for each sequence."""

    def __init__(self, size: int, per_batch: int, timestamp: int) -> None:
        self._timestamp = timestamp
        rng = random.Random(size)
        self._texts = [[_text(rng, size) for _ in range(per_batch)] for _ in range(_VARIANTS)]
        self.lines = lru_cache(None)(self._lines)
        self.batch = lru_cache(None)(self._batch)

    def _lines(self, partition: int, variant: int) -> bytes:
        return _open(b"".join(value + b"\n" for value in self._values(partition, variant)))

    def _batch(self, partition: int, variant: int, count: int, codec: Codec) -> tuple[bytes, bytes]:
        values = self._values(partition, variant)[:count]
        records = [Record(offset, value, timestamp=self._timestamp) for offset, value in enumerate(values)]
        whole = batch(records, Frame(codec=codec))
        return _open(records_section(records, 0, self._timestamp)), whole[_BODY_FROM:_BODY_UNTIL]

    def _values(self, partition: int, variant: int) -> list[bytes]:
        return [b'{"id":"%03d' % partition + text for text in self._texts[variant]]


def _open(zeros: bytes) -> bytes:
    return zeros.replace(b"%", b"%%").replace(_ZEROS, b'-%012d"')


def _text(rng: random.Random, size: int) -> bytes:
    line = _ZEROS.decode() + ',"text":"'
    length = size - 10
    while len(line) < length - 2:
        line += rng.choice(_WORDS) + " "
    return line[: length - 2].encode() + b'"}'


async def fill(cluster: Cluster, case: Case) -> int:
    """Make the topic and write all of it; the bytes of its batches."""
    partitions = [TopicPartition(case.topic, number) for number in range(PARTITIONS)]
    await make_topics(cluster, [NewTopic(case.topic, PARTITIONS)])
    stored = 0
    async with sending(cluster, partitions[0]) as sender:
        makers = [case.batches(partition) for partition in range(PARTITIONS)]
        while blobs := await asyncio.to_thread(_round, makers):
            for partition, blob in enumerate(blobs):
                sender.put(partitions[partition], blob)
            stored += sum(map(len, blobs))
            await sender.until(_UNANSWERED * PARTITIONS)
    return stored


async def make_topics(cluster: Cluster, topics: list[NewTopic]) -> None:
    """Make them, and wait until the leader of every partition answers for it. Raises SandboxFailed."""
    refused = {name: why for name, why in (await create_topics(cluster, topics)).items() if why is not None}
    if refused:
        raise SandboxFailed(f"Kafka refuses the topics of the benchmark: {refused}")
    missing = {TopicPartition(topic.name, number) for topic in topics for number in range(topic.partitions)}
    deadline = time.monotonic() + _LEADERS_WITHIN_S
    while missing:
        found = await list_offsets(cluster, dict.fromkeys(missing, LATEST), READ_UNCOMMITTED)
        missing -= {tp for tp, listed in found.items() if listed.error is None}
        if time.monotonic() > deadline:
            raise SandboxFailed(f"{len(missing)} new partitions have no leader after {_LEADERS_WITHIN_S:.0f} s")
        cluster.leaders.invalidate({tp.topic for tp in missing})
        await asyncio.sleep(_LEADERS_POLL_S if missing else 0)


def _round(makers: list[Iterator[bytes]]) -> list[bytes]:
    return [blob for maker in makers if (blob := next(maker, None)) is not None]
