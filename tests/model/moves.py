"""Every move that is possible in a state: what an incarnation may do next, with every answer it may get, and what the servers,
the clock, a reader or the reconciler do by themselves. The search follows all of them.

Reductions, each of which leaves every violation reachable:

* an incarnation that dies, stops or is fenced is one that is never scheduled again: `deaths` adds the move, the bounds that
  leave it out lose nothing;
* an object is opened, filled and sealed in one move, and only between two transactions, where no janitor can see it: until
  TxnOffsetCommit names it, an upload is known to its incarnation alone. `fine_cuts` takes it apart;
* who has lost the epoch does not begin anything that must end with AddOffsetsToTxn, which will be refused;
* an answer is seen in the moment of its effect: between the two the incarnation does nothing but wait, which is the same as
  being scheduled later.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from smartconnect.jobs.obs_dump.steps import Outcome, Step
from tests.model import servers
from tests.model.reduce import settle
from tests.model.state import (
    Gone,
    Inc,
    Jan,
    Late,
    Pc,
    Phase,
    State,
    Txn,
    Upload,
    Work,
    all_fenced,
    committed_contents,
    gone,
    read_end,
    unfinished,
    with_inc,
)
from tests.model.unit import Mutant, Unit, begun, ended, finished, next_content, owns

LOSSES: Final = frozenset({Step.ADD_OFFSETS, Step.TXN_OFFSET_COMMIT, Step.END_COMMIT, Step.END_ABORT, Step.COMPLETE})


class Move(NamedTuple):
    """One line of a trace: who does what, and how it ends. `who` is None for the world."""

    who: int | None
    what: str
    outcome: str = ""
    detail: str = ""


Next = tuple[Move, State]


@dataclass(frozen=True, slots=True)
class Bound:
    """How large the world is, and what may happen in it."""

    records: int
    incarnations: int
    plan_change: bool = False
    janitor: bool = False
    fine_cuts: bool = False
    deaths: bool = False
    renewals: bool = False  # a position is committed again unchanged (idle time)
    refusals: bool = True  # TxnOffsetCommit may answer an error: EndTxn(abort)
    reader: bool = True
    reader_at_once: bool = False  # F2: even under `redeliver` a reader may delete what the position still names
    reduced: bool = False  # see `reduce.py`
    losses: frozenset[Step] = LOSSES  # calls whose answer may be lost
    unit: Unit = field(default_factory=Unit)


@dataclass(frozen=True, slots=True)
class Moves:
    """The transition relation of a bound."""

    bound: Bound

    def initial(self) -> State:
        """Nothing has happened; every incarnation has its own transactional id if nobody is to be fenced."""
        count = self.bound.incarnations if self._unfenced() else 2 if self.bound.plan_change else 1
        return State(txns=(Txn(),) * count)

    def after(self, state: State) -> Iterator[Next]:
        """All moves from a state, with the states they lead to; equal situations are equal only after `clean`."""
        for index, inc in enumerate(state.incs):
            if inc.pc != Pc.ENDED:
                yield from self._incarnation(state, index, inc)
            if inc.late and state.txns[inc.tx].phase == Phase.OPEN:
                yield Move(index, "EndTxn arrives"), servers.end_txn(state, index)
        yield from self._world(state)

    def clean(self, state: State) -> State:
        """The state without what makes no difference any more."""
        return settle(state) if self.bound.reduced else servers.forget(state)

    def _world(self, state: State) -> Iterator[Next]:
        if len(state.incs) < self.bound.incarnations:
            for plan in range(state.plan + 1):
                tx = len(state.incs) if self._unfenced() else plan
                yield Move(len(state.incs), Step.START, detail=f"plan {plan + 1}"), servers.take_unit(state, Inc(plan, tx))
        for tx, txn in enumerate(state.txns):
            if txn.phase == Phase.OPEN:
                yield Move(None, "transaction times out"), servers.time_out(state, tx)
            elif txn.phase in servers.DECIDED and len(state.decided) < servers.UNREADABLE:
                yield Move(None, "markers written"), servers.write_marker(state, tx)
        if state.decided:
            yield Move(None, "commit becomes readable"), servers.materialise(state)
        if self.bound.plan_change and state.plan == 0:
            yield Move(None, "registry stores plan 2"), state._replace(plan=1)
        if self.bound.reader:
            yield from self._reader(state)

    def _reader(self, state: State) -> Iterator[Next]:
        """Under `redeliver` a reader that deletes a named object is F2, outside of the guarantee."""
        named: set[object] = set()
        if not self.bound.unit.skip_lost and not self.bound.reader_at_once:
            named = {up.label for content in committed_contents(state) for up in content.entries}
        for label, fate in state.store:
            if fate == Gone.VISIBLE and label not in named:
                yield Move(None, "reader takes", detail=f"object of {label}"), servers.take(state, label)

    def _incarnation(self, state: State, index: int, inc: Inc) -> Iterator[Next]:
        if owns(inc):
            if not self.bound.reduced or self.bound.fine_cuts:
                yield from self._cuts(state, index, inc)
            yield from self._objects(state, index, inc)
            if self.bound.reduced:
                yield from self._transaction(state, index, inc)
            else:
                yield from self._commit(state, index, inc)
            if self.bound.janitor:
                yield from self._janitor(state, index, inc)
        yield from self._start(state, index, inc)
        if self.bound.deaths:
            yield Move(index, "dies"), with_inc(state, index, ended(inc))

    def _answer(self, state: State, index: int, step: Step, outcome: Outcome, detail: str = "") -> Next:
        """The incarnation sees the answer of a call whose effect is in `state`."""
        inc = self.bound.unit.answered(state.incs[index], step, outcome)
        return Move(index, step, outcome, detail), with_inc(state, index, inc)

    def _start(self, state: State, index: int, inc: Inc) -> Iterator[Next]:
        unit = self.bound.unit
        if unit.may_init(inc):
            outcome, after = servers.init_producer(state, inc.tx, index)
            if after is not state:
                yield self._answer(after, index, Step.INIT_PRODUCER, outcome)
        if unit.may_init_older(inc) and not all_fenced(inc, state.retired):
            outcome, after = servers.fence_older(state, index, 0)
            if after is not state:
                yield self._answer(after, index, Step.INIT_OLDER_PLAN, outcome)
        if unit.may_check(state, inc):
            outcome, after = servers.check_registry(state, index)
            yield self._answer(after, index, Step.CHECK_REGISTRY, outcome)
        if not owns(inc) and unit.may_read(inc) and (unit.mutant is Mutant.UNSTABLE_READ or not servers.unstable(state)):
            after = with_inc(state, index, unit.read(inc, state.position))
            yield Move(index, Step.READ_POSITIONS, Outcome.OK, f"{state.position.end}"), after

    def _objects(self, state: State, index: int, inc: Inc) -> Iterator[Next]:
        entries = inc.content.entries if inc.content is not None and inc.work == Work.COMMITTING else unfinished(inc)[:1]
        for up in entries:
            if not self.bound.unit.may_complete(inc, up):
                continue
            fate = gone(state, up.label)
            detail = f"upload {up.label} [{up.start}, {up.end})"
            if fate == 0:
                outcome, after = servers.complete(state, up)
                if Step.COMPLETE in self.bound.losses:
                    yield Move(index, Step.COMPLETE, Outcome.LOST, detail), after
                yield Move(index, Step.COMPLETE, outcome, detail), with_inc(after, index, _finished(inc, up))
            elif fate == Gone.VISIBLE:
                yield Move(index, Step.HEAD_OBJECT, Outcome.OK, detail), with_inc(state, index, _finished(inc, up))
            else:
                yield from self._lost_upload(state, index, inc, up)

    def _lost_upload(self, state: State, index: int, inc: Inc, up: Upload) -> Iterator[Next]:
        if self.bound.unit.skip_lost:
            yield Move(index, Step.SKIP_LOST, detail=f"upload {up.label}"), with_inc(state, index, _finished(inc, up))
        elif inc.work == Work.IDLE and not inc.sealed:
            twin = up._replace(label=f"{up.label} again by {index}")
            after = with_inc(state, index, inc._replace(sealed=(twin,)))
            yield Move(index, "redelivery", detail=f"of upload {up.label}"), after

    def _cuts(self, state: State, index: int, inc: Inc) -> Iterator[Next]:
        unit, fine = self.bound.unit, self.bound.fine_cuts
        if state.txns[inc.tx].holder != index:
            return
        if inc.opened:
            up = inc.opened[0]
            sealed = inc._replace(opened=(), sealed=(*inc.sealed, up))
            yield Move(index, Step.SEAL, detail=f"upload {up.label} [{up.start}, {up.end})"), with_inc(state, index, sealed)
            return
        if not unit.may_cut(inc):
            return
        start = read_end(inc)
        if not fine and inc.work != Work.IDLE:
            return
        for end in range(start + 1, self.bound.records + 1):
            up = Upload(index * 10 + start, start, end, index * 10 + start)
            detail = f"upload {up.label} [{start}, {end})"
            if fine:
                yield Move(index, Step.CREATE_UPLOAD, Outcome.OK, detail), with_inc(state, index, inc._replace(opened=(up,)))
            else:
                sealed = inc._replace(sealed=(*inc.sealed, up))
                yield Move(index, Step.SEAL, detail=detail), with_inc(state, index, sealed)

    def _commit(self, state: State, index: int, inc: Inc) -> Iterator[Next]:
        unit, work = self.bound.unit, inc.work
        if unit.may_begin(inc) and (inc.sealed or inc.done or self.bound.renewals or self._wants_proof(inc)):
            yield from self._begin(state, index, inc)
        if unit.may_offer(inc) and inc.content is not None:
            outcome, after = servers.txn_offset_commit(state, index, inc.content)
            yield from self._call(state, after, index, Step.TXN_OFFSET_COMMIT, outcome)
            if outcome is Outcome.OK and self.bound.refusals:
                yield self._answer(state, index, Step.TXN_OFFSET_COMMIT, Outcome.REFUSED)
        if work == Work.OFFERED:
            sent = inc._replace(work=Work.COMMITTING, late=Late.COMMIT)
            yield Move(index, Step.END_COMMIT, Outcome.SENT), with_inc(state, index, sent)
        if work == Work.REFUSED:
            sent = inc._replace(work=Work.ABORTING, late=Late.ABORT)
            yield Move(index, Step.END_ABORT, Outcome.SENT), with_inc(state, index, sent)
        if work in (Work.COMMITTING, Work.ABORTING):
            yield from self._end(state, index, inc)
        if work == Work.RECOVERING or (work == Work.IDLE and (inc.lost or self._wants_proof(inc))):
            yield from self._renew_epoch(state, index)

    def _transaction(self, state: State, index: int, inc: Inc) -> Iterator[Next]:
        """P2 in one move, from the cut to EndTxn(commit) sent. What it leaves out, an abort, a lost answer and the new epoch
        after it, leads back to where it began, or to the end of the incarnation: the epoch's number is no part of a state."""
        if inc.work == Work.COMMITTING:
            outcome = servers.end_outcome(state, index, True)
            if outcome is Outcome.OK:
                yield self._answer(state, index, Step.END_COMMIT, outcome)
            return
        outcome, opened = servers.add_offsets(state, index)
        if outcome is not Outcome.OK:
            return
        for new in self._new_objects(index, inc):
            if new or inc.done or self.bound.renewals or self._wants_proof(inc):
                content = next_content(inc, new)
                jan = Jan.PROVING if inc.jan == Jan.LISTED else inc.jan
                sent = begun(inc, content)._replace(work=Work.COMMITTING, late=Late.COMMIT, jan=jan)
                _, after = servers.txn_offset_commit(opened, index, content)
                detail = ", ".join([*(f"[{up.start}, {up.end})" for up in new), f"position {content.end}"])
                yield Move(index, Step.END_COMMIT, Outcome.SENT, detail), with_inc(after, index, sent)

    def _new_objects(self, index: int, inc: Inc) -> list[tuple[Upload, ...]]:
        """Every way to cut what is there into objects."""
        if self.bound.fine_cuts or not self.bound.unit.may_cut(inc):
            return [inc.sealed]
        ways: list[tuple[Upload, ...]] = [()]
        for way in ways:
            start = way[-1].end if way else read_end(inc)
            for end in range(start + 1, self.bound.records + 1):
                ways.append((*way, Upload(index * 10 + start, start, end, index * 10 + start)))
        return ways

    def _begin(self, state: State, index: int, inc: Inc) -> Iterator[Next]:
        content = next_content(inc, inc.sealed)
        outcome, after = servers.add_offsets(state, index)
        if outcome is Outcome.OK:
            after = with_inc(after, index, begun(inc, content))
        yield from self._call(state, after, index, Step.ADD_OFFSETS, outcome)

    def _call(self, state: State, after: State, index: int, step: Step, outcome: Outcome) -> Iterator[Next]:
        """A call with its answer, or without: it may have had its effect or not."""
        if outcome is Outcome.BUSY:
            return
        yield self._answer(after, index, step, outcome)
        if outcome is Outcome.OK and step in self.bound.losses:
            yield self._answer(after, index, step, Outcome.LOST, "done")
            yield self._answer(state, index, step, Outcome.LOST, "not done")

    def _end(self, state: State, index: int, inc: Inc) -> Iterator[Next]:
        step = Step.END_COMMIT if inc.work == Work.COMMITTING else Step.END_ABORT
        outcome = servers.end_outcome(state, index, step is Step.END_COMMIT)
        if outcome is not Outcome.BUSY:
            yield self._answer(state, index, step, outcome)
        if not inc.lost and step in self.bound.losses:
            yield self._answer(state, index, step, Outcome.LOST)
        elif self.bound.unit.mutant is Mutant.ABORT_AFTER_LOST_END and inc.content is not None:
            for up in inc.content.entries:
                outcome, after = servers.abort(state, up.label)
                if outcome is Outcome.OK:
                    yield Move(index, Step.ABORT_UPLOAD, outcome, f"upload {up.label}"), after

    def _renew_epoch(self, state: State, index: int) -> Iterator[Next]:
        outcome, after = servers.new_epoch(state, index)
        if after is not state or outcome is Outcome.FENCED:
            yield self._answer(after, index, Step.NEW_EPOCH, outcome)
        txn = state.txns[state.incs[index].tx]
        if txn.phase == Phase.OPEN and txn.holder == index:
            yield self._answer(servers.abort_own(state, index), index, Step.NEW_EPOCH, outcome, "its own")

    def _janitor(self, state: State, index: int, inc: Inc) -> Iterator[Next]:
        unit = self.bound.unit
        if not inc.listed and unit.may_list(inc):
            labels = servers.listing(state)
            if labels:
                after = with_inc(state, index, unit.listed(inc, labels))
                yield Move(index, Step.JANITOR_LIST, Outcome.OK, f"uploads {labels}"), after
        for label in inc.listed:
            if unit.may_janitor_abort(inc, label):
                _, after = servers.abort(state, label)
                rest = tuple(other for other in inc.listed if other != label)
                after = with_inc(after, index, inc._replace(listed=rest))
                yield Move(index, Step.JANITOR_ABORT, Outcome.OK, f"upload {label}"), after

    def _wants_proof(self, inc: Inc) -> bool:
        if not self.bound.janitor:
            return False
        return inc.jan == (Jan.NONE if self.bound.unit.mutant is Mutant.JANITOR_PROOF_FIRST else Jan.LISTED)

    def _unfenced(self) -> bool:
        return self.bound.unit.mutant is Mutant.NO_FENCING


def _finished(inc: Inc, up: Upload) -> Inc:
    """Known to be visible: of what is not committed (a mutant completes that) nothing is noted."""
    return finished(inc) if unfinished(inc)[:1] == (up,) else inc
