"""What each target topic takes, and more room for batches where this task made the topic (kafka-replication.md §3, "larger than the
target's max.message.bytes"). Called by the intake before it decides about the batches of an answer, by the runner after each look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from smartconnect.jobs.kafka_replication.topic_limits import UNKNOWN, TopicLimits, raise_max_message_bytes
from smartconnect.jobs.kafka_replication.topic_view import TopicView
from smartconnect.kafka.cluster import Cluster

_AT_LEAST_TIMES: Final = 2
_SETTLES_WITHIN_S: Final = 5.0
"""A leader hears of a new limit from the controller, a moment after the controller has said yes."""


class Room:
    """One incarnation's."""

    def __init__(self, target: Cluster, view: TopicView) -> None:
        self._target, self._view = target, view
        self._limits: Mapping[str, TopicLimits] = {}
        self._raised: dict[str, int] = {}
        self._settling: dict[str, tuple[int, float]] = {}
        self._refused: set[str] = set()

    def saw(self, limits: Mapping[str, TopicLimits]) -> None:
        """A look has brought these."""
        if limits is not self._limits:
            self._limits = limits
            self._raised.clear()
            self._refused.clear()

    def of(self, topic: str) -> TopicLimits:
        """What is known now."""
        known = self._limits.get(topic, UNKNOWN)
        raised = self._raised.get(topic)
        return known if raised is None else known._replace(max_message_bytes=raised)

    async def make(self, topic: str, nbytes: int) -> TopicLimits:
        """The same, after the limit was raised to let in batches of `nbytes`, if the topic is ours and the target lets us; at least
        doubled, so that slowly growing batches cost few changes."""
        limits = self.of(topic)
        if nbytes <= limits.max_message_bytes or not limits.ours or topic in self._refused:
            return limits
        wanted = max(nbytes, _AT_LEAST_TIMES * limits.max_message_bytes)
        if await raise_max_message_bytes(self._target, topic, wanted) is None:
            self._raised[topic] = wanted
            self._settling[topic] = wanted, self._target.clock() + _SETTLES_WITHIN_S
        else:
            self._refused.add(topic)
        self._view.forget_limits(topic)
        return self.of(topic)

    def is_settling(self, topic: str, nbytes: int) -> bool:
        """Whether the limit was raised so lately that the leader may not know it yet: batches of `nbytes` fit in a moment."""
        raised, until = self._settling.get(topic, (0, 0.0))
        return nbytes <= raised and self._target.clock() < until
