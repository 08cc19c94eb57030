"""The protocol of the dump holds in every state of the bounds of obs-dump.md §12.5, and the search looks where it should."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smartconnect.jobs.obs_dump.steps import Step
from tests.model.bounds import LARGER, REDELIVER, REQUIRED, UNREDUCED
from tests.model.moves import Bound
from tests.model.search import Result, explore

WORLD = {"EndTxn arrives", "transaction times out", "markers written", "commit becomes readable"}
START = {Step.START, Step.INIT_PRODUCER, Step.CHECK_REGISTRY, Step.READ_POSITIONS}
P2_P3 = {Step.END_COMMIT, Step.COMPLETE, Step.HEAD_OBJECT}
CALLS = {Step.SEAL, Step.ADD_OFFSETS, Step.TXN_OFFSET_COMMIT, Step.END_ABORT, Step.NEW_EPOCH}
PLAN = {Step.INIT_OLDER_PLAN, "registry stores plan 2"}
JANITOR = {Step.CREATE_UPLOAD, Step.SEAL, Step.JANITOR_LIST, Step.JANITOR_ABORT}


def holds(bound: Bound, moves: set[str]) -> Result:
    """Searches a bound; it must be small, free of violations, have made each of the moves and seen owners catch up."""
    result = explore(bound)
    assert result.violation is None, result.story()
    assert result.caught_up > 0, "no state in which the last owner has dumped everything: (d) was never looked at"
    assert moves <= set(result.hits), f"never tried: {moves - set(result.hits)}"
    print(f"{result.states} states, {result.caught_up} of them caught up, {result.hits.total()} moves")
    return result


@pytest.mark.parametrize("name", REQUIRED)
def test_required_bound_has_no_violation(name: str) -> None:
    bound = REQUIRED[name]
    special = (PLAN if bound.plan_change else set()) | (JANITOR if bound.janitor else {"reader takes", Step.SKIP_LOST})
    holds(bound, WORLD | START | P2_P3 | special)


@pytest.mark.parametrize("name", UNREDUCED)
def test_unreduced_bound_has_no_violation(name: str) -> None:
    bound = UNREDUCED[name]
    refused = {Step.END_ABORT} if bound.refusals else set()
    special = (PLAN if bound.plan_change else set()) | (JANITOR if bound.janitor else set())
    holds(bound, WORLD | START | P2_P3 | (CALLS - {Step.END_ABORT}) | refused | special)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", LARGER)
def test_larger_bound_has_no_violation(name: str) -> None:
    holds(LARGER[name], WORLD | START | P2_P3)


def test_a_reader_that_deletes_before_p4_is_outside_of_the_guarantee_of_redeliver() -> None:
    """F2, and what it takes: no crash, a lost answer to Complete is enough."""
    result = explore(Bound(1, 1, unit=REDELIVER, reader_at_once=True))
    assert result.violation is not None
    assert result.violation.startswith("(a)")
    moves = [(move.what, move.outcome) for move in result.trace]
    assert (Step.COMPLETE, "lost") in moves
    assert ("reader takes", "") in moves
    assert {move.who for move in result.trace} <= {None, 0}
    print(result.story())


def test_a_zombie_that_redelivers_what_a_reader_took_is_fenced() -> None:
    """The tale of row z2 under `redeliver`: the redelivery is tried, and its commit never counts."""
    result = explore(UNREDUCED["1 record, 2 incarnations, redelivery"])
    assert result.violation is None
    assert result.hits["reader takes"] > 0
    assert result.hits["redelivery"] > 0


def test_reductions_hide_no_violation_that_a_broken_world_would_show() -> None:
    """With F2 let in, the reduced search finds the same violation as the unreduced one."""
    bound = Bound(1, 2, unit=REDELIVER, reader_at_once=True)
    whole, reduced = explore(bound), explore(replace(bound, reduced=True))
    assert whole.violation is not None
    assert whole.violation == reduced.violation
