"""Which partitions the next Fetch of a connection names, and how: all of them, or only what changed (KIP-227). Pure.

Up to `above` partitions each request lists everything, without a session. Above that a real incremental session is used:
a poll in which nothing changed names nobody, however many partitions there are. A broker that refuses or evicts a session
is not asked for another at once (each would push somebody else's out of its small cache): requests list everything until
a pause, doubling to 5 minutes, is over. Partitions that delivered go to the end of the line, so none is starved.

Topics are named by their ids (KIP-516) where the broker takes them and every member has one, else by their names. The broker's
session knows them in one way only: where the way changes, a new session replaces it."""

from __future__ import annotations

from typing import NamedTuple

from smartconnect.kafka.fetch_codec import TopicRef, Wanted
from smartconnect.kafka.partition import PartitionState

NO_SESSION = 0
FIRST_EPOCH = 0
FINAL_EPOCH = -1
SHORTEST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 300.0
PROVEN_AFTER = 1000
"""Fetches after which a session counts as kept: the next loss begins with the shortest pause again."""


class Listing(NamedTuple):
    """Session fields and partitions of one request. `by_id`: it may be sent only in a version that names topics by id."""

    session_id: int
    session_epoch: int
    wanted: list[tuple[TopicRef, list[Wanted]]]
    forgotten: dict[TopicRef, list[int]]
    by_id: bool


class FetchSession:
    """The partitions of one connection. `changed` is called whenever a member's next request entry would differ; a member's `ref` stays as
    it is for as long as it is one. `names` are those of the topic ids that an answer to the last request may hold."""

    def __init__(self, above: int) -> None:
        self._above = above
        self.names: dict[bytes, str] = {}
        self._members: dict[TopicRef, dict[int, PartitionState]] = {}
        self._count = 0
        self._by_id = False
        self._without_id: set[PartitionState] = set()
        self._id, self._epoch = NO_SESSION, FINAL_EPOCH
        self._changed: dict[PartitionState, None] = {}
        self._forgotten: dict[tuple[str | bytes, int], TopicRef] = {}
        """What the broker's session holds and shall not, under what the broker knows it by."""
        self._pause_s, self._not_before = SHORTEST_PAUSE_S, 0.0

    def __len__(self) -> int:
        return self._count

    @property
    def members(self) -> list[PartitionState]:
        return [state for topic in self._members.values() for state in topic.values()]

    def add(self, state: PartitionState) -> None:
        topic = self._members.setdefault(state.ref, {})
        if state.tp.partition not in topic:
            self._count += 1
        topic[state.tp.partition] = state
        if state.ref.topic_id:
            self.names[state.ref.topic_id] = state.ref.name
        else:
            self._without_id.add(state)
        self._changed[state] = None

    def remove(self, state: PartitionState) -> None:
        topic = self._members.get(state.ref, {})
        if topic.pop(state.tp.partition, None) is None:
            return
        self._count -= 1
        if not topic:
            del self._members[state.ref]
        self._without_id.discard(state)
        self._changed.pop(state, None)
        self._forgotten[self._known_by(state)] = state.ref

    def changed(self, state: PartitionState) -> None:
        """The member's position or epoch differs from what the broker last heard: it goes to the end of the line."""
        topic = self._members[state.ref]
        topic[state.tp.partition] = topic.pop(state.tp.partition)
        self._changed[state] = None

    @property
    def repeats(self) -> bool:
        """Whether the next request would name what the last one named: nothing has changed, and there is and will be no session."""
        return self._epoch == FINAL_EPOCH and self._count <= self._above and not self._changed and not self._forgotten

    def next_listing(self, partition_max_bytes: int, now: float, *, takes_ids: bool) -> Listing:
        """The next request. Whatever changes from here on belongs to the one after it."""
        incremental = self._count > (self._above if self._epoch <= 0 else self._above // 2)
        by_id = takes_ids and not self._without_id
        if incremental and self._epoch > 0 and by_id == self._by_id:
            wanted, forgotten = _grouped(self._changed, partition_max_bytes), self._left()
        else:
            opening = incremental and now >= self._not_before
            self._epoch = FIRST_EPOCH if opening else FINAL_EPOCH
            self._by_id = by_id
            self.names = {ref.topic_id: ref.name for ref in self._members}
            wanted, forgotten = self._everything(partition_max_bytes), {}
        self._changed, self._forgotten = {}, {}
        return Listing(self._id, self._epoch, wanted, forgotten, by_id)

    def answered(self, session_id: int, now: float) -> None:
        """The request was carried out: what it named is known to the broker."""
        if self._epoch == FINAL_EPOCH:
            self._id = NO_SESSION
        elif session_id == NO_SESSION:
            self.refused(now)
        else:
            self._id = session_id
            self._epoch = self._epoch + 1 if self._epoch < 0x7FFFFFFF else 1
            if self._epoch == PROVEN_AFTER:
                self._pause_s = SHORTEST_PAUSE_S

    def refused(self, now: float) -> None:
        """The broker has no room for a session or has dropped ours: do without for a while."""
        self._id, self._epoch = NO_SESSION, FINAL_EPOCH
        self._not_before = now + self._pause_s
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)

    def disconnected(self) -> None:
        """What the broker heard last is not known. A new session replaces the old one, whose id is kept for that."""
        self._epoch = FINAL_EPOCH if self._epoch == FINAL_EPOCH else FIRST_EPOCH

    def _known_by(self, state: PartitionState) -> tuple[str | bytes, int]:
        return state.ref.topic_id if self._by_id else state.ref.name, state.tp.partition

    def _left(self) -> dict[TopicRef, list[int]]:
        """What the broker's session loses. Not what has a successor that it knows by the same: a broker takes in before it forgets."""
        if not self._forgotten:
            return {}
        for state in self._changed:
            self._forgotten.pop(self._known_by(state), None)
        topics: dict[TopicRef, list[int]] = {}
        for (_, number), ref in self._forgotten.items():
            topics.setdefault(ref, []).append(number)
            if ref not in self._members:
                self.names.pop(ref.topic_id, None)
        return topics

    def _everything(self, partition_max_bytes: int) -> list[tuple[TopicRef, list[Wanted]]]:
        """All members, each topic's in its own order; the first topic goes to the end for the next time."""
        listed = [(ref, [state.wanted(partition_max_bytes) for state in topic.values()]) for ref, topic in self._members.items()]
        if len(self._members) > 1:
            first = next(iter(self._members))
            self._members[first] = self._members.pop(first)
        return listed


def _grouped(states: dict[PartitionState, None], partition_max_bytes: int) -> list[tuple[TopicRef, list[Wanted]]]:
    topics: dict[TopicRef, list[Wanted]] = {}
    for state in states:
        entries = topics.get(state.ref)
        if entries is None:
            entries = topics[state.ref] = []
        entries.append(state.wanted(partition_max_bytes))
    return list(topics.items())
