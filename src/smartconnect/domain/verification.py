"""What `smart-connect verify` asks and answers: is what a task has put into its target what its positions promise? Pure data, shared by
the command and the kinds of task that can be verified.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Task


class FindingKind(enum.StrEnum):
    """What may be found; EXPIRED alone is no fault of the target: the source can no longer tell."""

    GAP = "gap"
    OVERLAP = "overlap"
    UNFINISHED = "unfinished"
    FOREIGN = "foreign"
    DIFFERS = "differs"
    UNREADABLE = "unreadable"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. `start`, `end`: source offsets [start, end), None where they are not known or do not apply."""

    kind: FindingKind
    message: str
    topic: str | None = None
    partition: int | None = None
    run: int | None = None
    start: int | None = None
    end: int | None = None
    key: str | None = None

    @property
    def wrong(self) -> bool:
        return self.kind is not FindingKind.EXPIRED


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """`topic` None: all of the task. `since_ms`: only what was written since. `deep`: compare every byte with the source."""

    topic: str | None = None
    since_ms: int | None = None
    deep: bool = False


@dataclass(frozen=True, slots=True)
class VerifySubject:
    """The task and what its registry knows. `paths`: every path it has ever written under, oldest first. `starts`: where the present run
    began, by (topic, partition), as far as it was reported."""

    task: Task
    secrets: Mapping[str, Secret]
    paths: Sequence[str] = ()
    starts: Mapping[tuple[str, int], int] = field(default_factory=dict)


@dataclass(slots=True)
class VerifyResult:
    """What was looked at. `others` are objects of other tasks under the same prefix: none of our business, but told."""

    objects: int = 0
    nbytes: int = 0
    partitions: int = 0
    compared: int = 0
    others: int = 0
    findings: dict[FindingKind, int] = field(default_factory=dict)

    def note(self, finding: Finding) -> None:
        self.findings[finding.kind] = self.findings.get(finding.kind, 0) + 1

    @property
    def wrong(self) -> int:
        """How many findings are faults."""
        return sum(count for kind, count in self.findings.items() if kind is not FindingKind.EXPIRED)
