"""Reading the step logs of real runs, and sorting them into one story for each partition of each run.

A log has the lines of several processes in one file; the stamp says in which order they were made. A line torn by a kill -9
is counted, not read. What a partition's story holds is what its model needs: its own lines, and those that concern the whole
of the units that have had it, one unit in each plan.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from smartconnect.jobs.obs_dump.steps import NamedUpload, Outcome, Step, StepEvent


class Rejected(AssertionError):
    """The log is no possible path of the model. The message says where and why."""


class Stamped(NamedTuple):
    """A line with the moment (monotonic nanoseconds) at which it was made."""

    at: int
    event: StepEvent


class Partition(NamedTuple):
    """Whose story: a partition's position belongs to a run."""

    task: str
    run: int
    name: str


@dataclass(frozen=True, slots=True)
class Log:
    """All lines in the order of their stamps, and how many were torn."""

    lines: tuple[Stamped, ...]
    torn: int


def read_logs(paths: Iterable[Path]) -> Log:
    """Reads log files of one machine. Equal stamps keep the order in which they were written."""
    lines: list[Stamped] = []
    torn = 0
    for path in paths:
        for raw in path.read_bytes().split(b"\n"):
            if not raw:
                continue
            try:
                lines.append(_decode(json.loads(raw)))
            except (ValueError, KeyError, TypeError):
                torn += 1
    return Log(tuple(sorted(lines, key=lambda line: line.at)), torn)


def _decode(fields: dict[str, Any]) -> Stamped:
    at = int(fields.pop("t"))
    fields["step"], fields["outcome"] = Step(fields["step"]), Outcome(fields["outcome"])
    if "entries" in fields:
        fields["entries"] = tuple(NamedUpload(*entry) for entry in fields["entries"])
    if "uploads" in fields:
        fields["uploads"] = tuple(fields["uploads"])
    return Stamped(at, StepEvent(**fields))


@dataclass(slots=True)
class Call:
    """A request, with the answer that the log shows for it later: None if nobody lived to see one."""

    number: int
    event: StepEvent
    answer: StepEvent | None = None

    @property
    def outcome(self) -> Outcome:
        """How it ended, `LOST` where nothing is known."""
        return Outcome.LOST if self.answer is None else self.answer.outcome


class Line(NamedTuple):
    """A line of a story. `call` is the request that it sends, or answers; None for local steps."""

    at: int
    event: StepEvent
    call: Call | None


@dataclass(slots=True)
class Story:
    """What happened to one partition in one run."""

    partition: Partition
    units: tuple[str, ...]  # that have had it, oldest plan first
    lines: list[Line] = field(default_factory=list)


_LOCAL: Final = frozenset({Step.START, Step.SEAL, Step.REWIND, Step.SKIP_LOST, Step.JANITOR_PROVE, Step.FENCED, Step.STOPPED})


def stories(log: Log) -> list[Story]:
    """One story for each (task, run, partition) that the log names."""
    owners: dict[Partition, dict[int, str]] = defaultdict(dict)
    labels: dict[Partition, set[str]] = defaultdict(set)
    for _, event in log.lines:
        if event.partition is None:
            continue
        partition = Partition(event.task, event.run, event.partition)
        if owners[partition].setdefault(event.plan, event.unit) != event.unit:
            raise Rejected(f"{partition}: {owners[partition][event.plan]} and {event.unit} of plan {event.plan} both have it")
        if event.upload is not None:
            labels[partition].add(event.upload)
    found = []
    for partition, plans in owners.items():
        story = Story(partition, tuple(plans[plan] for plan in sorted(plans)))
        calls = _Calls()
        events = _with_reads([line for line in log.lines if _concerns(line.event, story, labels[partition])], partition)
        story.lines = [Line(at, event, calls.of(event)) for at, event in events]
        found.append(story)
    return found


def _with_reads(lines: list[Stamped], partition: Partition) -> list[Stamped]:
    """Makes explicit what logs leave out: that step 4 found no position (a partition without one has no line), and, in logs
    that only have its answers, that it was asked right after step 3."""
    told: list[Stamped] = []
    unread: dict[str, int] = {}  # by incarnation: where in `told` the request belongs, or _ASKED
    for line in lines:
        event, name = line.event, line.event.incarnation
        reads = event.step is Step.READ_POSITIONS
        if reads and event.outcome is Outcome.SENT and name in unread:
            unread[name] = _ASKED
        elif event.partition is not None and name in unread and event.outcome is not Outcome.UNSTABLE:
            request = replace(event, step=Step.READ_POSITIONS, outcome=Outcome.SENT, **_BLANK)
            place = unread.pop(name)
            if place != _ASKED:
                told.insert(place, Stamped(told[place - 1].at, request))
                unread = {other: at + (at >= place) for other, at in unread.items()}
            if not reads:
                told.append(Stamped(line.at, replace(request, outcome=Outcome.OK, partition=partition.name)))
        told.append(line)
        if event.step is Step.CHECK_REGISTRY and event.outcome is Outcome.OK:
            unread[name] = len(told)
    return told


_ASKED: Final = -1
_BLANK: Final[dict[str, Any]] = {
    name: None for name in ("partition", "offset", "start", "upload", "replaces", "entries", "uploads", "target", "producer_epoch")
}


def _concerns(event: StepEvent, story: Story, labels: set[str]) -> bool:
    partition = story.partition
    if event.task != partition.task or event.unit not in story.units:
        return False
    if event.partition is not None:
        return event.partition == partition.name and event.run == partition.run
    if event.step is Step.INIT_OLDER_PLAN:
        return event.target in story.units
    if event.step is Step.READ_POSITIONS:
        return event.run == partition.run
    return event.upload is None or event.upload in labels


class _Calls:
    """Pairs each answer with its request."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, Step, str | None], Call] = {}
        self._count = 0

    def of(self, event: StepEvent) -> Call | None:
        if event.step in _LOCAL:
            return None
        key = (event.incarnation, event.step, event.target if event.step is Step.INIT_OLDER_PLAN else event.upload)
        if event.outcome is Outcome.SENT:
            self._count += 1
            self._open[key] = Call(self._count, event)
            return self._open[key]
        if event.step is Step.TXN_OFFSET_COMMIT and event.outcome is Outcome.BUSY:
            return None  # asked again, without another line for each partition
        call = self._open.pop(key, None)
        if call is not None:
            call.answer = event
        return call
