"""The bounds that are searched, and for each mutant the smallest one in which it fails, with what must be seen there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from smartconnect.jobs.obs_dump.steps import Step
from tests.model.moves import LOSSES, Bound
from tests.model.unit import Mutant, Unit

REDELIVER: Final = Unit(skip_lost=False)

REQUIRED: Final = {
    "2 records, 3 incarnations": Bound(2, 3, reduced=True),
    "2 records, 2 incarnations, a plan change": Bound(2, 2, plan_change=True, reduced=True),
    "1 record, 2 incarnations, the janitor": Bound(1, 2, janitor=True, fine_cuts=True, reduced=True),
}

UNREDUCED: Final = {
    "2 records, 1 incarnation": Bound(2, 1, deaths=True),
    "1 record, 2 incarnations": Bound(1, 2, deaths=True),
    "1 record, 2 incarnations, redelivery": Bound(1, 2, unit=REDELIVER),
    "1 record, 2 incarnations, a plan change": Bound(1, 2, plan_change=True),
}

LARGER: Final = {
    "1 record, 2 incarnations, the janitor, unreduced": Bound(
        1, 2, janitor=True, fine_cuts=True, refusals=False, losses=LOSSES - {Step.COMPLETE}
    ),
    "2 records, 2 incarnations, the janitor": Bound(2, 2, janitor=True, fine_cuts=True, reduced=True),
    "1 record, 3 incarnations, the janitor": Bound(1, 3, janitor=True, fine_cuts=True, reduced=True),
    "1 record, 3 incarnations, a plan change": Bound(1, 3, plan_change=True, reduced=True),
    "2 records, 3 incarnations, a plan change": Bound(2, 3, plan_change=True, reduced=True),
    "2 records, 3 incarnations, deaths": Bound(2, 3, deaths=True, reduced=True),
    "2 records, 2 incarnations, unreduced": Bound(2, 2),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Where a mutant fails: the invariant, and moves without which the counter-example would make no sense."""

    bound: Bound
    invariant: str
    because: tuple[tuple[str, str], ...]


_BARE: Final = Bound(1, 2, refusals=False, reader=False, losses=frozenset())
_PLAN: Final = replace(_BARE, plan_change=True)
_JANITOR: Final = replace(_BARE, janitor=True, fine_cuts=True)
_LOST_END: Final = frozenset({Step.END_COMMIT})

_FAILURES: Final = {
    Mutant.NO_FENCING: Failure(_BARE, "(a)", ((Step.INIT_PRODUCER, "ok"),)),
    Mutant.POSITIONS_FIRST: Failure(_BARE, "(a)", ((Step.READ_POSITIONS, "ok"),)),
    Mutant.UNSTABLE_READ: Failure(_BARE, "(a)", (("markers written", ""), (Step.READ_POSITIONS, "ok"))),
    Mutant.COMPLETE_EARLY: Failure(_BARE, "(a)", ((Step.COMPLETE, "ok"),)),
    Mutant.ABORT_AFTER_LOST_END: Failure(
        replace(_BARE, incarnations=1, losses=_LOST_END), "(c)", ((Step.END_COMMIT, "lost"), (Step.ABORT_UPLOAD, "ok"))
    ),
    Mutant.REINITIALISE: Failure(_BARE, "(a)", ((Step.ADD_OFFSETS, "fenced"),)),
    Mutant.NO_OLDER_PLAN: Failure(_PLAN, "(a)", (("registry stores plan 2", ""),)),
    Mutant.NO_REGISTRY_CHECK: Failure(_PLAN, "(a)", ((Step.INIT_OLDER_PLAN, "ok"), (Step.CHECK_REGISTRY, "fenced"))),
    Mutant.SAME_EPOCH: Failure(
        replace(_BARE, renewals=True, losses=_LOST_END), "(a)", ((Step.END_COMMIT, "lost"), ("EndTxn arrives", ""))
    ),
    Mutant.JANITOR_NO_PROOF: Failure(_JANITOR, "(c)", ((Step.JANITOR_LIST, "ok"), (Step.JANITOR_ABORT, "ok"))),
    Mutant.JANITOR_PROOF_FIRST: Failure(_JANITOR, "(c)", ((Step.JANITOR_LIST, "ok"), (Step.JANITOR_ABORT, "ok"))),
}


def failure_of(mutant: Mutant) -> Failure:
    """Where the mutant must fail."""
    failure = _FAILURES[mutant]
    return replace(failure, bound=replace(failure.bound, unit=Unit(mutant)))
