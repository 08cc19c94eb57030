"""What becomes of one offset of one consumer group (kafka-replication.md §7). Pure; used by `group_sync`."""

from __future__ import annotations

from typing import NamedTuple

from smartconnect.jobs.kafka_replication.position_codec import GroupMark


class Sighting(NamedTuple):
    """A group at one partition: its offset on the source; its offset on the target, None if it has none there; where its source offset is
    on the target; what the other direction of a two-way task has written on the source, None if nothing."""

    offset: int
    current: int | None
    translated: int
    echo: int | None = None


class Decision(NamedTuple):
    """`write`: the offset to commit on the target, None: nothing. `mark`: what to remember; with `write` it is stored before the commit,
    so that the other direction never takes our write for a movement of the group."""

    write: int | None
    mark: GroupMark


def decide(seen: Sighting, known: GroupMark | None) -> Decision:
    """Forwards always; backwards only where the group went back on the source; nothing for a value that we wrote there ourselves."""
    written = -1 if known is None else known.written
    if seen.offset == seen.echo:
        return Decision(None, GroupMark(seen.offset, written, back=False))
    went_back = known is not None and (known.back or seen.offset < known.observed)
    if seen.current is None or seen.translated > seen.current:
        return Decision(seen.translated, GroupMark(seen.offset, seen.translated, back=False))
    if seen.translated < seen.current and went_back:
        return Decision(seen.translated, GroupMark(seen.offset, seen.translated, back=True))
    return Decision(None, GroupMark(seen.offset, written, back=False))


def after_commit(mark: GroupMark) -> GroupMark:
    """What is remembered when the write is done: going back is done only then, so that a crash before it repeats it."""
    return mark if not mark.back else GroupMark(mark.observed, mark.written, back=False)


def while_active(decision: Decision, known: GroupMark | None) -> GroupMark:
    """The group has consumers on the target: nothing was written, and where they are is theirs now."""
    return GroupMark(decision.mark.observed, -1 if known is None else known.written, back=False)
