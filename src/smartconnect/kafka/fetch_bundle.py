"""The connections of a fetcher to one broker. While little comes, one of them asks for all partitions: each request and each answer costs
the same on both sides, whatever is in it. While its answers are as full as they may be, the partitions are spread over all connections, so
that the broker works on one answer while another is on its way. Pure. Used by `fetcher` and its channels alone.

A partition moves between two requests of the channel that gives or takes it. What its former channel is still waiting for does not count
any more; so nothing is given to a channel that waits: the answer could be of the time before, when it had the partition already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from smartconnect.kafka.partition import PartitionState


class Spreadable(Protocol):
    """What a bundle needs of a channel. `full`: its answers are as large as they may be; `calm`: they are small; `waits`: for an answer."""

    @property
    def full(self) -> bool: ...
    @property
    def calm(self) -> bool: ...
    @property
    def waits(self) -> bool: ...
    @property
    def members(self) -> list[PartitionState]: ...

    def __len__(self) -> int: ...
    def add(self, state: PartitionState) -> None: ...
    def remove(self, state: PartitionState) -> None: ...


C = TypeVar("C", bound=Spreadable)


class Bundle(Generic[C]):
    """`channels`: at least one."""

    def __init__(self, channels: Sequence[C]) -> None:
        self.channels = channels

    def place(self, state: PartitionState) -> None:
        """Give a partition to the emptiest of those that are in use."""
        used = [channel for channel in self.channels if len(channel)]
        min(used or self.channels[:1], key=len).add(state)

    def regroup(self, channel: C) -> None:
        """Called by a channel before each request: share what it has, or take over what others have."""
        if len(self.channels) == 1:
            return
        if channel.full:
            self._spread(channel)
        elif channel.calm:
            for other in self.channels:
                if other is not channel and other.calm:
                    _move(other.members, other, channel)

    def _spread(self, channel: C) -> None:
        free = [other for other in self.channels if not len(other) and not other.waits]
        members = channel.members
        for number, other in enumerate(free, 1):
            _move(members[number :: len(free) + 1], channel, other)


def _move(states: Sequence[PartitionState], giver: Spreadable, taker: Spreadable) -> None:
    for state in states:
        giver.remove(state)
        taker.add(state)
