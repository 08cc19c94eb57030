"""What `smart-connect verify` asks and answers: is what a task has put into its target what its positions promise? Pure data, shared by
the command and the kinds of task that can be verified.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from smartconnect.domain.errors import SmartConnectError
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Task


class NotVerifiable(SmartConnectError):
    """The question cannot be asked of this task; the sentence says why."""

    code = "not_verifiable"


class FindingKind(enum.StrEnum):
    """What may be found. EXPIRED is no fault of the target: the source (or the target's own retention) leaves nothing to compare. EQUAL is
    the good news of a partition, told by the kinds of task that compare partition by partition."""

    EQUAL = "equal"
    GAP = "gap"
    OVERLAP = "overlap"
    UNFINISHED = "unfinished"
    FOREIGN = "foreign"
    DIFFERS = "differs"
    UNREADABLE = "unreadable"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. `start`, `end`: source offsets [start, end), None where they are not known or do not apply; `direction`: of a kind
    of task that has some; `target_offset`: where it is on the target, if that is a log too."""

    kind: FindingKind
    message: str
    topic: str | None = None
    partition: int | None = None
    run: int | None = None
    start: int | None = None
    end: int | None = None
    key: str | None = None
    direction: str | None = None
    target_offset: int | None = None

    @property
    def wrong(self) -> bool:
        return self.kind not in _NO_FAULTS


_NO_FAULTS: Final = frozenset({FindingKind.EXPIRED, FindingKind.EQUAL})


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """`topic` None: all of the task. Of a dump, `since_ms`: only what was written since; `deep`: compare every byte with the source. Of a
    replication, `last`: only so many newest records of each partition."""

    topic: str | None = None
    since_ms: int | None = None
    deep: bool = False
    last: int | None = None


@dataclass(frozen=True, slots=True)
class VerifySubject:
    """The task and what its registry knows. `paths`: every path it has ever written under, oldest first. `starts`: where the present run
    began, by (direction, topic, partition), as far as it was reported; the direction is "" where the kind of task has none."""

    task: Task
    secrets: Mapping[str, Secret]
    paths: Sequence[str] = ()
    starts: Mapping[tuple[str, str, int], int] = field(default_factory=dict)


@dataclass(slots=True)
class VerifyResult:
    """What was looked at. `others` are objects of other tasks under the same prefix: none of our business, but told. `records` were
    compared one range after the other. `must_prove`: what has expired leaves the question open, so that the answer is not "yes"."""

    objects: int = 0
    nbytes: int = 0
    partitions: int = 0
    compared: int = 0
    others: int = 0
    records: int = 0
    must_prove: bool = False
    findings: dict[FindingKind, int] = field(default_factory=dict)

    def note(self, finding: Finding) -> None:
        self.findings[finding.kind] = self.findings.get(finding.kind, 0) + 1

    @property
    def wrong(self) -> int:
        """How many findings are faults."""
        return sum(count for kind, count in self.findings.items() if kind not in _NO_FAULTS)

    @property
    def good(self) -> bool:
        """The answer is "yes"."""
        return not self.wrong and not (self.must_prove and self.findings.get(FindingKind.EXPIRED))
