"""Do the ranges of one partition's objects touch, from where the run began to where its position says? Pure: objects in order of their
start go in, findings and resolved ranges come out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from smartconnect.domain.verification import Finding, FindingKind
from smartconnect.jobs.obs_dump.verify.catalog import Stored
from smartconnect.kafka.types import TopicPartition


@dataclass(frozen=True, slots=True)
class Expected:
    """`start`: where the run began (None: not known). `reach`: up to where everything must be visible (None: not known; then only what lies
    between objects is judged). `promised`: ranges of prepared objects, which are told elsewhere and are no gaps."""

    start: int | None = None
    reach: int | None = None
    promised: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, slots=True)
class Covered:
    """An object and the range it covers; `end` None: it is the last one, and nothing tells where it ends."""

    stored: Stored
    end: int | None


def resolved(objects: Iterable[Stored], reach: int | None) -> Iterator[Covered]:
    """Where the end is not in the metadata, the next start stands for it, for the last object the position."""
    waiting: list[Stored] = []
    for stored in objects:
        if waiting and stored.start > waiting[0].start:
            yield from (Covered(open_ended, stored.start) for open_ended in waiting)
            waiting = []
        if stored.end is None:
            waiting.append(stored)
        else:
            yield Covered(stored, stored.end)
    for open_ended in waiting:
        yield Covered(open_ended, reach if reach is not None and reach > open_ended.start else None)


class Walk:
    """Judges ranges one by one, in the order of their starts; `finish` when there are no more."""

    def __init__(self, tp: TopicPartition, run: int, expected: Expected) -> None:
        self._tp, self._run, self._expected = tp, run, expected
        self._reached = expected.start

    def step(self, covered: Covered) -> Iterator[Finding]:
        start = covered.stored.start
        if self._reached is not None and start > self._reached:
            yield from self._gap(self._reached, start)
        elif self._reached is not None and start < self._reached:
            end = self._reached if covered.end is None else min(self._reached, covered.end)
            yield self._finding(
                FindingKind.OVERLAP, start, end, f"offsets [{start}, {end}) are in another object too", covered.stored.key
            )
        self._reached = max(self._reached or 0, start if covered.end is None else covered.end)

    def finish(self) -> Iterator[Finding]:
        expected = self._expected
        if expected.reach is not None and self._reached is not None and self._reached < expected.reach:
            yield from self._gap(self._reached, expected.reach)

    def _gap(self, start: int, end: int) -> Iterator[Finding]:
        """What is missing of [start, end), less what is promised and what lies beyond the position (it may be on its way)."""
        reach = self._expected.reach
        end = end if reach is None else min(end, reach)
        for promised_start, promised_end in (*sorted(self._expected.promised), (end, end)):
            if start < min(promised_start, end):
                until = min(promised_start, end)
                yield self._finding(FindingKind.GAP, start, until, f"offsets [{start}, {until}) are in no object")
            start = max(start, promised_end)

    def _finding(self, kind: FindingKind, start: int, end: int, what: str, key: str | None = None) -> Finding:
        return Finding(kind, f"{self._tp}, run {self._run}: {what}", *self._tp, self._run, start, end, key)
