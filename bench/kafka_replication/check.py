"""Reads a side's whole target topic with an independent client, read_committed and with CRC checks, and says what became of each id."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from bench.common.data import PARTITIONS
from bench.common.lines import Count, Lines
from bench.kafka_replication.cases import Copy
from smartconnect.domain.errors import SandboxFailed

_AT_ONCE: Final = 20_000
_STANDSTILL_S: Final = 60.0


def count(bootstrap_servers: str, topic: str, case: Copy) -> Count:
    """Every record up to the end of each partition. Blocks; use a thread. Raises SandboxFailed."""
    result = Count()
    lines = Lines(case, result)
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "bench-check",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "check.crcs": True,
            "enable.partition.eof": True,
        }
    )
    try:
        reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
        ended: set[int] = set()
        last = time.monotonic()
        while len(ended) < PARTITIONS:
            messages = reader.consume(_AT_ONCE, timeout=1.0)
            if messages:
                last = time.monotonic()
            elif time.monotonic() - last > _STANDSTILL_S:
                raise SandboxFailed(f"{topic} cannot be read to its end")
            for partition, values in _values(messages, ended).items():
                values.append(b"")
                lines.add(partition, b"\n".join(values))
    finally:
        reader.close()
    lines.finish()
    return result


def _values(messages: list[Message], ended: set[int]) -> dict[int, list[bytes]]:
    """By partition; one whose end was met is added to `ended`."""
    found: dict[int, list[bytes]] = defaultdict(list)
    for message in messages:
        error, partition = message.error(), message.partition() or 0
        if error is None:
            found[partition].append(message.value() or b"")
        elif error.code() == KafkaError._PARTITION_EOF:
            ended.add(partition)
        else:
            raise SandboxFailed(f"the check cannot read {message.topic()}: {error}")
    return found
