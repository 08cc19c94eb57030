"""What the model knows of one partition: the registry, the transaction coordinator, the group, the store, the incarnations.

Everything is an immutable tuple, so that states can be compared, hashed and kept in a set. Offsets are plain integers: the
search uses 0, 1, 2, a replay the real ones. What is deliberately left out is listed in `README.md`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

NOBODY: Final = -1
"""Holder of an epoch that no incarnation knows: after an abort by timeout, or by an InitProducerId that was not finished."""

Label = int | str
"""Names an upload: a small number in the search, the upload id in a replay."""


class Upload(NamedTuple):
    """A multipart upload and the offsets `[start, end)` that it carries. Uploads of equal `key` have equal names and bytes."""

    label: Label
    start: int
    end: int
    key: Label


class Content(NamedTuple):
    """A committed offset with its metadata: all below `end` is dumped, or sits in one of the named uploads."""

    end: int
    entries: tuple[Upload, ...]


class Phase:
    """State of a transactional id at its coordinator."""

    NONE: Final = 0
    OPEN: Final = 1
    COMMITTED: Final = 2  # decided, markers not yet written
    ABORTED: Final = 3
    DONE_COMMIT: Final = 4  # markers written
    DONE_ABORT: Final = 5


class Txn(NamedTuple):
    """A transactional id. An epoch is only ever compared with the current one, so instead of its number the model keeps
    who was given the current one; calls of all others are refused for ever. `content` is what the group holds as pending
    for this producer; outside of a transaction it is a *hanging* offset (brokers that do not verify TxnOffsetCommit)."""

    holder: int = NOBODY
    phase: int = Phase.NONE
    content: Content | None = None


class Pc:
    """How far an incarnation has got with its start (§1)."""

    TAKEN: Final = 0  # the registry's epoch is its own; now InitProducerId
    INITED: Final = 1  # its transactional id is its own; now those of older plans, then the registry
    CHECKED: Final = 3  # the registry still says that we own
    FINISHING: Final = 4  # positions are read, entries of predecessors not all finished
    RUNNING: Final = 5
    ENDED: Final = 6  # dead, stopped or fenced
    EARLY: Final = 7  # of a mutant: positions are read, and nothing else


class Work:
    """What the committer of an incarnation is about (§2, P2)."""

    IDLE: Final = 0
    ADDED: Final = 1  # AddOffsetsToTxn acknowledged
    OFFERED: Final = 2  # TxnOffsetCommit acknowledged
    COMMITTING: Final = 3  # EndTxn(commit) sent
    ABORTING: Final = 4  # EndTxn(abort) sent
    RECOVERING: Final = 5  # an answer was lost, the epoch must change before anything else
    REFUSED: Final = 6  # TxnOffsetCommit answered an error: abort
    REVIVING: Final = 7  # of a mutant: fenced, and about to call InitProducerId again
    OUT: Final = 8  # fenced, and about to end: what it has under way in the store may still be sent (replay only)


class Jan:
    """What the janitor of an incarnation has (§8)."""

    NONE: Final = 0
    LISTED: Final = 1
    PROVING: Final = 2  # a transaction was begun after the listing
    PROVEN: Final = 3


class Late:
    """An EndTxn of an incarnation that is, or may still be, under way; it may arrive at any time, any number of times."""

    NONE: Final = 0
    COMMIT: Final = 1
    ABORT: Final = 2


START: Final = Content(0, ())


class Inc(NamedTuple):
    """One incarnation: what it knows, right or wrong."""

    plan: int = 0
    tx: int = 0  # its transactional id: that of the plan's unit
    pc: int = Pc.TAKEN
    older: int = 0  # plans whose units it has fenced (§1.2), one bit each
    base: Content = START  # the position as it last read or committed it
    done: int = 0  # so many of base.entries are finished, in offset order
    opened: tuple[Upload, ...] = ()  # created in the store, not yet sealed
    sealed: tuple[Upload, ...] = ()  # all parts there, not yet in a transaction, in offset order
    work: int = Work.IDLE
    content: Content | None = None  # of the transaction at work, frozen
    lost: bool = False  # an EndTxn answer was lost in this epoch
    late: int = Late.NONE
    jan: int = Jan.NONE
    listed: tuple[Label, ...] = ()


ENDED: Final = Inc(pc=Pc.ENDED)


class Gone:
    """What became of an upload that is no upload any more."""

    VISIBLE: Final = 1
    TAKEN: Final = 2  # a reader took the object and deleted it
    ABORTED: Final = 3


class State(NamedTuple):
    """One moment of one partition."""

    plan: int = 0  # the registry's
    owners: tuple[int, ...] = (NOBODY, NOBODY)  # of each plan's unit, by the registry: who took it last
    retired: int = 0  # so many of the oldest plans are retired: a unit of a newer one has recorded step 2
    txns: tuple[Txn, ...] = (Txn(), Txn())
    position: Content = START  # what OffsetFetch shows
    decided: tuple[Content, ...] = ()  # committed, marker written, not yet shown by OffsetFetch
    shown: tuple[tuple[int, int], ...] = ((0, 0),)  # offsets of which an object is, or was, visible, from the run's start
    store: tuple[tuple[Label, int], ...] = ()  # uploads that are gone, by label, as long as somebody may name them
    incs: tuple[Inc, ...] = ()


def all_fenced(inc: Inc, retired: int) -> bool:
    """Has it fenced the unit of each older plan that is not retired?"""
    return all(inc.older >> plan & 1 for plan in range(retired, inc.plan))


def unfinished(inc: Inc) -> tuple[Upload, ...]:
    """Committed entries that the incarnation does not know to be visible."""
    return inc.base.entries[inc.done :]


def own_uploads(inc: Inc) -> tuple[Upload, ...]:
    """Live objects of an incarnation: open, sealed, or in its transaction."""
    held = inc.sealed + inc.opened
    return held if inc.content is None else held + inc.content.entries


def read_end(inc: Inc) -> int:
    """Where the range of the object that is open, or of the next one, starts."""
    if inc.sealed:
        return inc.sealed[-1].end
    return inc.base.end if inc.content is None else inc.content.end


def gone(state: State, label: Label) -> int:
    """0 while the upload can be completed, else what became of it (`Gone`)."""
    for name, fate in state.store:
        if name == label:
            return fate
    return 0


def committed_contents(state: State) -> list[Content]:
    """Every content that is, or inevitably becomes, the position."""
    found = [state.position, *state.decided]
    found += [txn.content for txn in state.txns if txn.phase == Phase.COMMITTED and txn.content is not None]
    return found


def with_inc(state: State, index: int, inc: Inc) -> State:
    """The state in which incarnation `index` is `inc`."""
    plan, owners, retired, txns, position, decided, shown, store, incs = state
    incs = (*incs[:index], inc, *incs[index + 1 :])
    return State(plan, owners, retired, txns, position, decided, shown, store, incs)


def with_txn(state: State, index: int, txn: Txn) -> State:
    """The state in which transactional id `index` is `txn`."""
    plan, owners, retired, txns, position, decided, shown, store, incs = state
    txns = (*txns[:index], txn, *txns[index + 1 :])
    return State(plan, owners, retired, txns, position, decided, shown, store, incs)
