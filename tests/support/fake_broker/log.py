"""One partition: its batches, its producers, and what a reader of either isolation may see."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from smartconnect.kafka.batch import parse_header
from smartconnect.kernels import encode
from smartconnect.kernels.batch import TRANSACTIONAL
from tests.support.fake_broker import producers
from tests.support.fake_broker.batch_checks import checked
from tests.support.fake_broker.producers import Producer
from tests.support.fake_broker.settings import TopicSettings

LEADER_EPOCH = 0
READ_COMMITTED = 1


class Appended(NamedTuple):
    """Where a batch lies; `time_ms` −1: the producer's own time counts."""

    base_offset: int
    time_ms: int


class Aborted(NamedTuple):
    """A transaction of which nothing counts."""

    producer_id: int
    first_offset: int
    last_offset: int


@dataclass(slots=True)
class PartitionLog:
    """`settings` are those of its topic. `leads_later`: so many batches are answered as by a leader that does not know yet that it leads,
    as those of a topic just made are for some ms."""

    settings: TopicSettings
    batches: list[bytes] = field(default_factory=list)
    producers: dict[int, Producer] = field(default_factory=dict)
    aborted: list[Aborted] = field(default_factory=list)
    end: int = 0
    leads_later: int = 0

    @property
    def last_stable(self) -> int:
        """The first offset that is not decided."""
        undecided = [known.open_since for known in self.producers.values() if known.open_since is not None]
        return min(undecided, default=self.end)

    def takes_part(self, producer_id: int) -> bool:
        """Has the producer written here in its open transaction?"""
        known = self.producers.get(producer_id)
        return known is not None and known.open_since is not None

    def tried(self, batch: bytes) -> None:
        """A transactional batch has come that has to be verified first."""
        header = parse_header(batch)
        producers.tried(self.producers.setdefault(header.producer_id, Producer()), header)

    def append(self, batch: bytes, now_ms: int) -> Appended:
        """Store a client's batch; Refused where it breaks a rule. An exact repeat is not stored again."""
        data, header = checked(batch, self.settings, now_ms)
        if header.producer_id >= 0:
            producer = self.producers.get(header.producer_id, Producer())
            repeated = producers.repeated(producer, header)
            if repeated is not None:
                return Appended(repeated.base_offset, repeated.newest_ms)
            producers.check_next(producer, header)
            self.producers[header.producer_id] = producer
            producers.appended(producer, header, self.end, transactional=bool(header.attributes & TRANSACTIONAL))
        base = self._put(data, header.last_offset_delta + 1)
        return Appended(base, now_ms if self.settings.append_time else -1)

    def mark(self, producer_id: int, epoch: int, *, commit: bool) -> None:
        """Store the marker that ends a producer's transaction."""
        since = producers.ended(self.producers.setdefault(producer_id, Producer()), epoch)
        at = self._put(encode.marker(self.end, producer_id, epoch, commit=commit), 1)
        if since is not None and not commit:
            self.aborted.append(Aborted(producer_id, since, at))

    def killed(self) -> None:
        """The broker was killed and is there again."""
        for known in self.producers.values():
            producers.forget_all_but_the_last(known)

    def visible_end(self, isolation: int) -> int:
        return self.last_stable if isolation == READ_COMMITTED else self.end

    def read(self, offset: int, isolation: int) -> tuple[bytes, list[Aborted]]:
        """Whole batches from the one that holds `offset`, and the aborted transactions among them that a read_committed reader skips."""
        end = self.visible_end(isolation)
        seen = b"".join(batch for batch in self.batches if offset <= parse_header(batch).last_offset < end)
        aborted = [part for part in self.aborted if part.last_offset >= offset and part.first_offset < end]
        return seen, aborted if isolation == READ_COMMITTED else []

    def _put(self, data: bytes, count: int) -> int:
        base, self.end = self.end, self.end + count
        out = bytearray(data)
        struct.pack_into(">q", out, 0, base)
        struct.pack_into(">i", out, 12, LEADER_EPOCH)
        self.batches.append(bytes(out))
        return base
