"""What `smart-connect positions` shows and changes: how far a task has got in single partitions. Pure data, shared by the command and the
kinds of task that keep positions by partition.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PositionRow:
    """One partition. `position` None: there is none (yet, or any more). `log_start`, `log_end`: what the source has, None if it does not
    have the partition. `prepared`: objects that the position promises. `foreign`: it was written by somebody else, or cannot be read.
    `direction`: of a kind of task that has some."""

    topic: str
    partition: int
    position: int | None
    log_start: int | None
    log_end: int | None
    prepared: int = 0
    foreign: bool = False
    direction: str | None = None


@dataclass(frozen=True, slots=True)
class PositionChange:
    """Where one partition shall go on; `offset` None: at the log's end; `direction`: of a kind of task that has some."""

    topic: str
    partition: int
    offset: int | None
    direction: str | None = None

    @property
    def where(self) -> str:
        """Its name for people."""
        return f"{self.topic}-{self.partition}" + (f" ({self.direction})" if self.direction else "")


@dataclass(frozen=True, slots=True)
class PositionMoved:
    """What a change has done. `topic_id`: of the topic that the new position is of ("": of the one that was last reported of)."""

    before: int | None
    after: int
    log_end: int
    topic_id: str = ""

    def in_words(self, where: str) -> str:
        """The sentence for event and audit."""
        if self.before is None:
            return f"position of {where} was set to {self.after} by hand; there was none before"
        told = f"position of {where} was set from {self.before} to {self.after} by hand"
        if self.after > self.before:
            return f"{told}: offsets [{self.before}, {self.after}) are not delivered"
        if self.after < self.before:
            return f"{told}: offsets [{self.after}, {self.before}) are delivered again"
        return told
