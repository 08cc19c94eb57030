"""One partition as a fetcher follows it: position, epochs, why it rests. Mutable; owned by `fetcher`."""

from __future__ import annotations

from itertools import count
from typing import Final
from uuid import UUID

from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.fetch_codec import TopicRef, Wanted
from smartconnect.kafka.fetch_types import PartitionView
from smartconnect.kafka.types import TopicPartition

_GENERATIONS: Final = count(1)


class PartitionState:
    """`generation` is another one after each change from outside, and never that of an earlier state of the same
    partition, so that what was fetched before a change is told apart and dropped. `topic_id`: of the topic that `offset` is a position in,
    None where nobody knows it. `ref`: how requests name the topic, with the id that the cluster told when the partition was placed.
    `position_epoch` is the leader epoch of the last batch read, `checked_epoch` the newest leader epoch against which
    the position was checked for truncation."""

    __slots__ = (
        "channel",
        "checked_epoch",
        "due",
        "error",
        "failures",
        "fetched_from",
        "follower",
        "follower_until",
        "generation",
        "high_watermark",
        "last_stable_offset",
        "leader",
        "leader_epoch",
        "listed_generation",
        "log_start_offset",
        "offset",
        "paused",
        "paused_at",
        "placed_at",
        "position_epoch",
        "ref",
        "topic_id",
        "tp",
        "unknown_since",
    )

    def __init__(self, tp: TopicPartition, offset: int, position_epoch: int, topic_id: UUID | None = None) -> None:
        self.tp, self.topic_id, self.ref = tp, topic_id, TopicRef(tp.topic)
        self.offset, self.position_epoch = offset, position_epoch
        self.generation = next(_GENERATIONS)
        self.listed_generation = -1
        self.paused, self.paused_at = False, 0.0
        self.error: KafkaCode | None = None
        self.leader = self.leader_epoch = self.checked_epoch = self.fetched_from = -1
        self.follower, self.follower_until = -1, 0.0
        self.high_watermark = self.last_stable_offset = self.log_start_offset = -1
        self.channel: object | None = None
        self.failures, self.due, self.placed_at = 0, 0.0, 0.0
        self.unknown_since: float | None = None

    @property
    def rests(self) -> bool:
        """Not to be fetched: paused, or its error waits for a decision."""
        return self.paused or self.error is not None

    def wanted(self, max_bytes: int) -> Wanted:
        """Its entry in a request; an answer counts only while the generation is the one that was listed."""
        self.listed_generation = self.generation
        return Wanted(self.tp.partition, self.leader_epoch, self.offset, max_bytes)

    def outdate(self) -> None:
        """What was fetched so far counts no longer."""
        self.generation = next(_GENERATIONS)

    def move(self, offset: int, position_epoch: int) -> None:
        """A new position from outside."""
        self.offset, self.position_epoch = offset, position_epoch
        self.outdate()
        self.error = None
        self.checked_epoch = -1
        self.unknown_since = None

    def view(self) -> PartitionView:
        return PartitionView(
            self.offset,
            self.high_watermark,
            self.last_stable_offset,
            self.log_start_offset,
            self.leader,
            self.leader_epoch,
            self.fetched_from,
            self.paused,
            self.error,
        )
