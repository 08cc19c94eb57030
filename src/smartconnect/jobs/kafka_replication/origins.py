"""Who wrote what is told by producer ids: the `i/` records of the positions topic as bytes and back (kafka-replication.md §6.3, §8.2).
Pure; used by `producer_ids`."""

from __future__ import annotations

from dataclasses import dataclass

from smartconnect.domain.errors import MalformedData
from smartconnect.jobs.kafka_replication.naming import source_under
from smartconnect.jobs.kafka_replication.numbers import ValueReader, put_text

_PREFIX = "i/"
_VERSION = 1
_LONGEST_ID = 19


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the records of a producer come from: `rule` is the canonical text of its naming rule (`naming`)."""

    task: str
    direction: str
    source_cluster: str
    rule: str

    def copies_back(self, topic: str, target_cluster: str, target_topic: str) -> bool:
        """Would copying what this producer wrote to `topic` bring it to the topic that it was read from?"""
        if self.source_cluster != target_cluster:
            return False
        try:
            return source_under(self.rule, topic) == target_topic
        except ValueError:
            raise MalformedData(f"the naming rule of task {self.task} is none that this Smart Connect knows") from None


def encode_key(producer_id: int) -> str:
    return f"{_PREFIX}{producer_id}"


def parse_producer(raw: bytes) -> int | None:
    """The producer id of a key; None for keys of other kinds."""
    text = raw.decode("ascii", "replace")
    digits = text.removeprefix(_PREFIX)
    if not text.startswith(_PREFIX) or len(digits) > _LONGEST_ID or not digits.isascii() or not digits.isdigit():
        return None
    return int(digits)


def encode_origin(origin: Origin) -> bytes:
    out = bytearray((_VERSION,))
    for text in (origin.task, origin.direction, origin.source_cluster, origin.rule):
        put_text(out, text)
    return bytes(out)


def decode_origin(value: bytes) -> Origin:
    """The inverse of `encode_origin`. MalformedData."""
    reader = ValueReader(value)
    version = reader.raw(1)[0]
    if version != _VERSION:
        raise MalformedData(f"a producer's origin has version {version}: it was written by a newer Smart Connect")
    origin = Origin(reader.text(), reader.text(), reader.text(), reader.text())
    reader.end()
    return origin
