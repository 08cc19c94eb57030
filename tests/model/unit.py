"""What a unit may do, and what it knows afterwards: obs-dump.md §1–§3 and §8, one pair of rules for each step.

`may_…` says whether the protocol lets an incarnation begin the step; `answered` gives the incarnation that has seen the
answer. In between the servers act (`servers.py`). The search composes the three into moves, the replay checks a real log by
them: there is no second set of rules. A mutant breaks one rule (`mutants.py` says which, and why that must show).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from smartconnect.jobs.obs_dump.steps import Outcome, Step
from tests.model.state import (
    ENDED,
    Content,
    Inc,
    Jan,
    Label,
    Late,
    Pc,
    State,
    Upload,
    Work,
    all_fenced,
    own_uploads,
    unfinished,
)

READY: Final = (Pc.CHECKED, Pc.FINISHING, Pc.RUNNING)
"""The committer works for the whole unit, whether or not this partition's position was read yet."""


class Mutant(Enum):
    """One rule of the protocol left out."""

    NO_FENCING = "no fencing"
    POSITIONS_FIRST = "positions read before InitProducerId"
    UNSTABLE_READ = "no require_stable"
    COMPLETE_EARLY = "Complete before the EndTxn answer"
    ABORT_AFTER_LOST_END = "abort after a lost EndTxn answer"
    REINITIALISE = "a fenced unit that re-initialises"
    NO_OLDER_PLAN = "plan change without step 2"
    NO_REGISTRY_CHECK = "plan change without step 3"
    SAME_EPOCH = "next transaction after a lost EndTxn answer without a new epoch"
    JANITOR_NO_PROOF = "janitor without its proof"
    JANITOR_PROOF_FIRST = "janitor with the proof before the list"


@dataclass(frozen=True, slots=True)
class Unit:
    """The rules, whole or with one of them broken."""

    mutant: Mutant | None = None
    skip_lost: bool = True  # on_lost_upload: skip, or redeliver

    def may_init(self, inc: Inc) -> bool:
        """Step 1. A fenced incarnation must not."""
        if inc.work == Work.REVIVING:
            return True
        return inc.pc == (Pc.EARLY if self.mutant is Mutant.POSITIONS_FIRST else Pc.TAKEN)

    def may_init_older(self, inc: Inc) -> bool:
        """Step 2, for a unit of a newer plan."""
        return inc.pc == Pc.INITED and inc.plan > 0 and self.mutant is not Mutant.NO_OLDER_PLAN

    def may_check(self, state: State, inc: Inc) -> bool:
        """Step 3, after 2 for every older plan that is not retired."""
        fenced = self.mutant is Mutant.NO_OLDER_PLAN or all_fenced(inc, state.retired)
        return inc.pc == Pc.INITED and fenced

    def may_read(self, inc: Inc) -> bool:
        """Step 4."""
        if self.mutant is Mutant.POSITIONS_FIRST:
            return inc.pc == Pc.TAKEN
        return inc.pc == Pc.CHECKED

    def may_cut(self, inc: Inc) -> bool:
        """Open, stream: only when what predecessors had promised is finished."""
        return inc.pc == Pc.RUNNING

    def may_seal(self, inc: Inc, upload: Upload, replaced: Label | None = None) -> bool:
        """Cut and P1: a range beyond the position that no other of ours covers, or that of a lost upload. An object may be
        prepared before the one in front of it; the transaction sees to it that no range is left out."""
        if replaced is not None:
            lost = unfinished(inc)[:1]
            return [(up.label, up.start, up.end) for up in lost] == [(replaced, upload.start, upload.end)]
        promised = inc.base.end if inc.content is None else inc.content.end
        apart = all(up.end <= upload.start or upload.end <= up.start for up in inc.sealed)
        return inc.pc == Pc.RUNNING and promised <= upload.start < upload.end and apart

    def may_begin(self, inc: Inc) -> bool:
        """AddOffsetsToTxn: one transaction at a time; after a lost answer the epoch changes first (rule 4)."""
        if inc.lost and self.mutant is not Mutant.SAME_EPOCH:
            return False
        return inc.pc in READY and inc.work == Work.IDLE

    def may_name(self, inc: Inc, content: Content) -> bool:
        """The content of a transaction: committed entries that are not finished (or were not when it was frozen), then
        sealed uploads, all in offset order; its offset is where the last of them ends."""
        if inc.sealed and inc.sealed[0].key != inc.sealed[0].label:
            return content == next_content(inc, inc.sealed[:1])
        kept, new = split(inc, content)
        if kept is None or kept > inc.done:
            return False
        reached = inc.base.end
        for up in new:
            if up.start != reached:
                return False
            reached = up.end
        return content.end == reached and new == inc.sealed[: len(new)]

    def may_offer(self, inc: Inc) -> bool:
        """TxnOffsetCommit."""
        return inc.work == Work.ADDED and inc.content is not None

    def may_end(self, inc: Inc, commit: bool) -> bool:
        """EndTxn. Once commit was sent: the same again and nothing else (rules 2 and 3)."""
        if commit:
            return inc.work in (Work.OFFERED, Work.COMMITTING) or (inc.work == Work.ADDED and inc.content is None)
        return inc.work in (Work.ADDED, Work.OFFERED, Work.REFUSED, Work.ABORTING)

    def may_new_epoch(self, inc: Inc) -> bool:
        """InitProducerId with our own (id, epoch): rule 4, or the janitor's proof between two transactions."""
        return inc.work == Work.RECOVERING or (inc.work == Work.IDLE and inc.pc in READY)

    def may_complete(self, inc: Inc, upload: Upload) -> bool:
        """P3 and Finish: an acknowledged commit, or read back at the start (rule 1); in offset order."""
        if self.mutant is Mutant.COMPLETE_EARLY and inc.work == Work.COMMITTING and inc.content is not None:
            return upload in inc.content.entries
        return owns(inc) and unfinished(inc)[:1] == (upload,)

    def may_abort_own(self, inc: Inc, label: Label) -> bool:
        """Rule 2: an upload named by a TxnOffsetCommit only after an acknowledged EndTxn(abort)."""
        if self.mutant is Mutant.ABORT_AFTER_LOST_END and inc.work == Work.COMMITTING and inc.lost:
            return any(up.label == label for up in own_uploads(inc))
        named = inc.base.entries if inc.content is None else inc.base.entries + inc.content.entries
        return all(up.label != label for up in named)

    def may_rewind(self, inc: Inc) -> bool:
        """Forget what is not committed, back to the position: with a transaction at work only what it does not name."""
        return owns(inc)

    def may_list(self, inc: Inc) -> bool:
        """(1) list everything."""
        if self.mutant is Mutant.JANITOR_PROOF_FIRST:
            return inc.jan == Jan.PROVEN and not inc.listed
        return inc.pc in READY

    def may_janitor_abort(self, inc: Inc, label: Label) -> bool:
        """(3) abort what was listed before the proof (2), and that no committed entry and no live object of ours names."""
        proven = inc.jan == Jan.PROVEN or (self.mutant is Mutant.JANITOR_NO_PROOF and inc.jan != Jan.NONE)
        if not proven or label not in inc.listed:
            return False
        return all(up.label != label for up in inc.base.entries + own_uploads(inc))

    def answered(self, inc: Inc, step: Step, outcome: Outcome) -> Inc:
        """The incarnation after the answer to a call of its committer or of its start."""
        if step is Step.CHECK_REGISTRY and self.mutant is Mutant.NO_REGISTRY_CHECK:
            outcome = Outcome.OK
        if outcome is Outcome.FENCED:
            return self._fenced(inc)
        if outcome is Outcome.LOST:
            return _lost(inc, step)
        if outcome is Outcome.REFUSED and step in (Step.ADD_OFFSETS, Step.TXN_OFFSET_COMMIT):
            return inc._replace(work=Work.REFUSED)
        if outcome is not Outcome.OK:
            return inc
        if step is Step.INIT_PRODUCER:
            return _epoch_changed(inc) if owns(inc) else inc._replace(pc=Pc.INITED)
        if step is Step.INIT_OLDER_PLAN:
            return inc
        if step is Step.CHECK_REGISTRY:
            return _owning(inc) if self.mutant is Mutant.POSITIONS_FIRST else inc._replace(pc=Pc.CHECKED)
        if step is Step.ADD_OFFSETS:
            jan = Jan.PROVING if self._begins_proof(inc) else inc.jan
            return inc._replace(work=Work.ADDED, jan=jan)
        if step is Step.TXN_OFFSET_COMMIT:
            return inc._replace(work=Work.OFFERED)
        if step is Step.END_COMMIT:
            return _committed(inc)
        return _aborted(inc) if step is Step.END_ABORT else _epoch_changed(inc)

    def listed(self, inc: Inc, labels: tuple[Label, ...]) -> Inc:
        """The listing is there, to its last page. A transaction that is open now was begun too early to prove anything."""
        if self.mutant is Mutant.JANITOR_PROOF_FIRST:
            return inc._replace(listed=labels)
        return inc._replace(jan=Jan.LISTED, listed=labels)

    def read(self, inc: Inc, position: Content) -> Inc:
        """The position is read: all that its entries name is ours to finish."""
        base = inc._replace(base=position, done=0)
        return base._replace(pc=Pc.EARLY) if self.mutant is Mutant.POSITIONS_FIRST else _owning(base)

    def _begins_proof(self, inc: Inc) -> bool:
        if self.mutant is Mutant.JANITOR_PROOF_FIRST:
            return inc.jan == Jan.NONE
        return inc.jan == Jan.LISTED

    def _fenced(self, inc: Inc) -> Inc:
        """Rule 5: it ends and touches nothing."""
        if self.mutant is Mutant.REINITIALISE and owns(inc):
            return inc._replace(work=Work.REVIVING)
        return ended(inc)


def owns(inc: Inc) -> bool:
    """Has it come through the start, and not ended?"""
    return inc.pc == Pc.FINISHING or inc.pc == Pc.RUNNING


def ended(inc: Inc) -> Inc:
    """Dead, stopped or fenced. An EndTxn on the wire remains."""
    return ENDED._replace(tx=inc.tx, late=inc.late) if inc.late else ENDED


def split(inc: Inc, content: Content) -> tuple[int | None, tuple[Upload, ...]]:
    """A content as (number of leading committed entries left out, uploads not yet committed); None if the entries kept
    are not the last of the committed ones."""
    count = 0
    while count < len(content.entries) and content.entries[count] in inc.base.entries:
        count += 1
    kept, new = content.entries[:count], content.entries[count:]
    dropped = len(inc.base.entries) - count
    return (dropped if inc.base.entries[dropped:] == kept else None), new


def next_content(inc: Inc, new: tuple[Upload, ...]) -> Content:
    """What is frozen before AddOffsetsToTxn: entries not finished, then what is sealed. A redelivered upload takes the
    place of the lost one, and the offset stays."""
    kept = unfinished(inc)
    if new and kept and new[0].key == kept[0].key:
        return Content(inc.base.end, (new[0], *kept[1:]))
    return Content(new[-1].end if new else inc.base.end, kept + new)


def begun(inc: Inc, content: Content | None) -> Inc:
    """The content is frozen; what becomes due meanwhile waits for the next transaction."""
    if content is None:
        return inc
    return inc._replace(content=content, sealed=tuple(up for up in inc.sealed if up not in content.entries))


def finished(inc: Inc) -> Inc:
    """The first unfinished entry is known to be visible, or given up."""
    inc = inc._replace(done=inc.done + 1)
    return inc._replace(pc=Pc.RUNNING) if inc.done == len(inc.base.entries) else inc


def _owning(inc: Inc) -> Inc:
    return inc._replace(pc=Pc.FINISHING if unfinished(inc) else Pc.RUNNING)


def _lost(inc: Inc, step: Step) -> Inc:
    """Rules 3 and 4. After a lost AddOffsetsToTxn or TxnOffsetCommit the epoch changes at once; EndTxn is repeated."""
    if step in (Step.ADD_OFFSETS, Step.TXN_OFFSET_COMMIT):
        return inc._replace(work=Work.RECOVERING)
    return inc._replace(lost=True) if step in (Step.END_COMMIT, Step.END_ABORT) else inc


def _committed(inc: Inc) -> Inc:
    """The commit point: the content is the position, its entries may be completed."""
    jan = Jan.PROVEN if inc.jan == Jan.PROVING else inc.jan
    late = inc.late if inc.lost else Late.NONE
    inc = inc._replace(work=Work.IDLE, jan=jan, late=late)
    if inc.content is None:
        return inc
    finished_before = set(inc.base.entries[: inc.done])
    done = sum(1 for up in inc.content.entries if up in finished_before)
    inc = inc._replace(base=inc.content, done=done, content=None)
    return inc._replace(pc=Pc.RUNNING) if done == len(inc.base.entries) else inc


def _aborted(inc: Inc) -> Inc:
    """An acknowledged abort: what it named is sealed and free again."""
    jan = Jan.LISTED if inc.jan == Jan.PROVING else inc.jan
    late = inc.late if inc.lost else Late.NONE
    return _released(inc._replace(work=Work.IDLE, jan=jan, late=late))


def _epoch_changed(inc: Inc) -> Inc:
    """No call of the old epoch can have an effect any more; an open transaction was aborted."""
    jan = Jan.PROVEN if inc.jan in (Jan.LISTED, Jan.PROVING) else inc.jan
    return _released(inc._replace(work=Work.IDLE, lost=False, late=Late.NONE, jan=jan))


def _released(inc: Inc) -> Inc:
    if inc.content is None:
        return inc
    _, new = split(inc, inc.content)
    return inc._replace(sealed=new + inc.sealed, content=None)
