"""Writes step logs by hand, in whole sentences: what a test tells as a story becomes the lines that real code would log."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

from smartconnect.jobs.obs_dump.steps import IncarnationSteps, JsonStepLog, NamedUpload, Outcome, Step, StepFields
from tests.model.logs import Log, read_logs

NAME = "orders-3"


@dataclass(slots=True)
class Scene:
    """A log file, its clock, and the incarnations that write to it."""

    path: Path
    ticks: int = 0
    _log: JsonStepLog = field(init=False)
    _count: int = 0

    def __post_init__(self) -> None:
        self._log = JsonStepLog(self.path, monotonic_ns=self._tick)

    def _tick(self) -> int:
        self.ticks += 1
        return self.ticks

    def life(self, *, plan: int = 1, run: int = 1) -> Life:
        """A new incarnation takes the unit of a plan."""
        self._count += 1
        name = f"life-{self._count}"
        life = Life(IncarnationSteps(self._log, "task", f"dump-{plan}-0", name, run, plan, self._count))
        life.pen.note(Step.START)
        return life

    def told(self) -> Log:
        """What was logged so far."""
        return read_logs([self.path])

    def close(self) -> None:
        """Closes the file."""
        self._log.close()


@dataclass(slots=True)
class Life:
    """One incarnation, and the sentences that it can say."""

    pen: IncarnationSteps
    end: int = 0  # where its next range starts
    entries: tuple[NamedUpload, ...] = ()  # committed, not finished
    fresh: tuple[NamedUpload, ...] = ()  # sealed, not committed

    def call(self, step: Step, outcome: Outcome = Outcome.OK, **detail: Unpack[StepFields]) -> None:
        """A request and its answer."""
        self.pen.note(step, Outcome.SENT, **detail)
        self.pen.note(step, outcome, **detail)

    def init(self, older: str | None = None) -> None:
        """Steps 1 and 2."""
        self.call(Step.INIT_PRODUCER)
        if older is not None:
            self.call(Step.INIT_OLDER_PLAN, target=older)

    def read(self, end: int | None, *entries: NamedUpload, name: str = NAME) -> None:
        """Step 4. Without a position the offset is left out."""
        self.pen.note(Step.READ_POSITIONS, Outcome.SENT)
        if end is None:
            self.pen.note(Step.READ_POSITIONS, Outcome.OK, partition=name)
        else:
            self.pen.note(Step.READ_POSITIONS, Outcome.OK, partition=name, offset=end, entries=entries)
        self.end, self.entries = end or 0, entries

    def own(self, end: int = 0, *entries: NamedUpload, older: str | None = None) -> Life:
        """The whole start of an incarnation up to step 4."""
        self.init(older)
        self.call(Step.CHECK_REGISTRY)
        self.read(end, *entries)
        return self

    def cut(self, upload: str, end: int) -> NamedUpload:
        """Create, one part, P1."""
        self.pen.note(Step.CREATE_UPLOAD, Outcome.SENT, partition=NAME)
        self.pen.note(Step.CREATE_UPLOAD, Outcome.OK, partition=NAME, upload=upload)
        self.call(Step.UPLOAD_PART, partition=NAME, upload=upload)
        self.pen.note(Step.SEAL, partition=NAME, upload=upload, start=self.end, offset=end)
        named = NamedUpload(upload, self.end, end)
        self.fresh, self.end = (*self.fresh, named), end
        return named

    def offer(self, outcome: Outcome = Outcome.OK) -> None:
        """AddOffsetsToTxn, TxnOffsetCommit of all that is due."""
        self.call(Step.ADD_OFFSETS)
        entries = self.entries + self.fresh
        self.pen.note(Step.TXN_OFFSET_COMMIT, Outcome.SENT, partition=NAME, offset=self.end, entries=entries)
        self.pen.note(Step.TXN_OFFSET_COMMIT, outcome)

    def commit(self) -> None:
        """P2, whole."""
        self.offer()
        self.call(Step.END_COMMIT)
        self.entries, self.fresh = self.entries + self.fresh, ()

    def complete(self, outcome: Outcome = Outcome.OK) -> None:
        """P3, or Finish, of the first entry."""
        self.call(Step.COMPLETE, outcome, partition=NAME, upload=self.entries[0].upload)
        if outcome is Outcome.OK:
            self.entries = self.entries[1:]

    def found(self) -> None:
        """The object of a gone upload is there."""
        self.call(Step.HEAD_OBJECT, partition=NAME, upload=self.entries[0].upload)
        self.entries = self.entries[1:]
