"""The protocol's steps by name, and the log of them that a test replays through the model (`tests/model`).

Guarantees: one line per step, written whole by a single append, so that several processes share one file and a kill -9
leaves at most one torn line; the stamp is the machine's monotonic clock, comparable between its processes. Called by every part
of the dump that touches the transaction, the position or an upload. Off by default (`NullStepLog`), and then nearly free.

How to log, so that the order of stamps tells what may have happened before what:

* a call to a server is two lines: `Outcome.SENT` *before* its first byte leaves, then its answer *before anything is done
  because of it*. No answer (timeout, disconnect, 5xx) is `LOST`. A call that is repeated is logged again, from `SENT`;
* a local step is one line, `DONE`;
* `run` is the run whose group the line is about: a unit that finishes the entries of an earlier run names that run;
* calls of the whole unit (OffsetFetch, AddOffsetsToTxn, EndTxn, …) name no partition. Two say more: TxnOffsetCommit is `SENT` once
  for each partition, its answer is one line for all; OffsetFetch is `SENT` once, its answers are a line for each partition that
  has a position, none for one that has not;
* a call that was answered `FENCED` ends the incarnation with the step `FENCED`; after that, and after `STOPPED`, it logs nothing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypedDict, Unpack


class Step(StrEnum):
    """What happens, in the words of the model. In brackets: the fields of `StepFields` that the line must have."""

    START = "start"  # DONE: the slot is ours and its registry epoch taken; the incarnation begins
    INIT_PRODUCER = "init_producer"  # call: InitProducerId with id -1 (§1.1)
    INIT_OLDER_PLAN = "init_older_plan"  # call: the same for a unit of an older plan (§1.2) [target]
    CHECK_REGISTRY = "check_registry"  # call: epoch, run and plan still ours? (§1.3) OK or FENCED
    READ_POSITIONS = "read_positions"  # call: OffsetFetch (§1.4); OK, UNSTABLE per partition [partition, offset, entries]
    CREATE_UPLOAD = "create_upload"  # call: CreateMultipartUpload [partition; OK: upload]
    UPLOAD_PART = "upload_part"  # call [partition, upload]; GONE: NoSuchUpload
    SEAL = "seal"  # DONE: P1, the object ends and every ETag is there [partition, upload, start, offset]
    REWIND = "rewind"  # DONE: what is not committed of a partition is forgotten, back to its position [partition]
    ADD_OFFSETS = "add_offsets"  # call: AddOffsetsToTxn, after the content is frozen
    TXN_OFFSET_COMMIT = "txn_offset_commit"  # call; SENT per partition [partition, offset, start, entries]
    END_COMMIT = "end_commit"  # call: EndTxn(commit)
    END_ABORT = "end_abort"  # call: EndTxn(abort)
    NEW_EPOCH = "new_epoch"  # call: InitProducerId with our own (id, epoch): rule 4, or the janitor's proof
    COMPLETE = "complete"  # call: CompleteMultipartUpload, P3 or Finish [partition, upload]; GONE: NoSuchUpload
    HEAD_OBJECT = "head_object"  # call: is the object of a gone upload there? [partition, upload] OK or GONE
    SKIP_LOST = "skip_lost"  # DONE: a lost upload's entry is given up (`on_lost_upload = skip`) [partition, upload]
    ABORT_UPLOAD = "abort_upload"  # call: we abort an upload of our own [partition, upload]
    JANITOR_LIST = "janitor_list"  # call: the whole listing, all pages [OK: uploads]
    JANITOR_PROVE = "janitor_prove"  # DONE: since the listing a transaction, or NEW_EPOCH, has shown that we own
    JANITOR_ABORT = "janitor_abort"  # call [upload]
    FENCED = "fenced"  # DONE: somebody newer may own the unit; the incarnation ends and touches nothing
    STOPPED = "stopped"  # DONE: the incarnation ends by itself, drained or with an error


class Outcome(StrEnum):
    """How a step stands. `SENT` and `LOST` say nothing about the effect: it may come later, or never."""

    DONE = "done"
    SENT = "sent"
    OK = "ok"
    LOST = "lost"
    BUSY = "busy"  # CONCURRENT_TRANSACTIONS, coordinator moving: nothing done, the same call again
    UNSTABLE = "unstable"  # UNSTABLE_OFFSET_COMMIT
    REFUSED = "refused"  # another error that changed nothing (topic deleted, metadata too large, authorization)
    GONE = "gone"  # NoSuchUpload; 404
    FENCED = "fenced"  # PRODUCER_FENCED and its kin; the registry names a newer epoch, run or plan


class NamedUpload(NamedTuple):
    """An entry of the committed metadata: a prepared upload and the source offsets `[start, end)` that it covers."""

    upload: str
    start: int
    end: int


class StepFields(TypedDict, total=False):
    """What a line says beyond who and what.

    `offset` is the offset committed or read, for SEAL the range's end. `start` is where the range of the object begins
    (SEAL), or of the *next* object (TXN_OFFSET_COMMIT, READ_POSITIONS; absent: the offset itself).
    `replaces` is the lost upload whose range and key a redelivery takes (SEAL)."""

    partition: str
    offset: int
    start: int
    upload: str
    replaces: str
    entries: tuple[NamedUpload, ...]
    uploads: tuple[str, ...]
    target: str
    producer_epoch: int


@dataclass(frozen=True, slots=True)
class StepEvent:
    """One line of the log. `incarnation` is unique among all processes; `epoch` is the registry's; `unit` as planned,
    `dump-<plan>-<index>`; `partition` is `<topic>-<number>`, None for what concerns the whole unit."""

    step: Step
    outcome: Outcome
    task: str
    unit: str
    incarnation: str
    run: int
    plan: int
    epoch: int
    partition: str | None = None
    offset: int | None = None
    start: int | None = None
    upload: str | None = None
    replaces: str | None = None
    entries: tuple[NamedUpload, ...] | None = None
    uploads: tuple[str, ...] | None = None
    target: str | None = None
    producer_epoch: int | None = None


_FIELDS: Final = tuple(field.name for field in fields(StepEvent))


class StepLog(Protocol):
    """Where steps go. Callers ask `enabled` before they build an event."""

    @property
    def enabled(self) -> bool: ...

    def log(self, event: StepEvent) -> None: ...


class NullStepLog:
    """Production: nothing is kept."""

    enabled: bool = False

    def log(self, event: StepEvent) -> None:
        """Forgets the event."""


class JsonStepLog:
    """JSON lines appended to a file that any number of processes may share. Raises OSError like any write."""

    enabled: bool = True

    def __init__(self, path: Path, *, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._now = monotonic_ns

    def log(self, event: StepEvent) -> None:
        """Appends one line by one write. The newline in front keeps a predecessor's torn line apart from ours."""
        line: dict[str, object] = {"t": self._now()}
        for name in _FIELDS:
            value = getattr(event, name)
            if value is not None:
                line[name] = value
        os.write(self._fd, b"\n" + json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Closes the file; logging afterwards is an OSError."""
        os.close(self._fd)


@dataclass(frozen=True, slots=True)
class IncarnationSteps:
    """The pen of one incarnation: who is writing is said once. Does next to nothing while the log is off."""

    log: StepLog
    task: str
    unit: str
    incarnation: str
    run: int
    plan: int
    epoch: int

    def note(self, step: Step, outcome: Outcome = Outcome.DONE, **detail: Unpack[StepFields]) -> None:
        """Logs one step of this incarnation, about its own run."""
        self.note_run(self.run, step, outcome, **detail)

    def note_run(self, run: int, step: Step, outcome: Outcome = Outcome.DONE, **detail: Unpack[StepFields]) -> None:
        """Logs one step about the group of another run, whose entries this incarnation finishes."""
        if not self.log.enabled:
            return
        self.log.log(StepEvent(step, outcome, self.task, self.unit, self.incarnation, run, self.plan, self.epoch, **detail))
