"""Each rule is needed: without it the model finds a violation, and the shortest way to it is a story that makes sense."""

from __future__ import annotations

import pytest

from tests.model.bounds import failure_of
from tests.model.search import explore
from tests.model.unit import Mutant, Unit


@pytest.mark.parametrize("mutant", Mutant, ids=lambda mutant: mutant.name.lower())
def test_mutant_violates(mutant: Mutant) -> None:
    failure = failure_of(mutant)
    result = explore(failure.bound)
    assert result.violation is not None, f"the model does not need the rule: {mutant.value} goes unnoticed"
    print(f"{mutant.value}, {result.states} states: {result.story()}")
    assert result.violation.startswith(failure.invariant)
    moves = [(str(move.what), str(move.outcome)) for move in result.trace]
    for move in failure.because:
        assert (str(move[0]), str(move[1])) in moves


@pytest.mark.parametrize("mutant", Mutant, ids=lambda mutant: mutant.name.lower())
def test_the_same_bound_without_the_mutation_holds(mutant: Mutant) -> None:
    bound = failure_of(mutant).bound
    whole = type(bound)(**{name: getattr(bound, name) for name in bound.__slots__} | {"unit": Unit()})
    assert explore(whole).violation is None
