"""Search and replay speak of the same protocol: what the one can walk the other accepts, what a mutant does it refuses."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from smartconnect.jobs.obs_dump.steps import Step
from tests.model.bounds import LARGER, REDELIVER, REQUIRED, UNREDUCED, failure_of
from tests.model.lives import Scene
from tests.model.logs import Rejected
from tests.model.moves import Bound
from tests.model.replay import replay
from tests.model.search import explore
from tests.model.telling import Teller
from tests.model.unit import Mutant

WALKS = {
    "records": replace(REQUIRED["2 records, 3 incarnations"], reduced=False, renewals=True),
    "plan change": replace(REQUIRED["2 records, 2 incarnations, a plan change"], reduced=False, incarnations=4),
    "janitor": replace(REQUIRED["1 record, 2 incarnations, the janitor"], reduced=False, records=2, incarnations=3),
    "redelivery": Bound(2, 3, unit=REDELIVER),
}


_RARE = {Step.START: 0.1, "transaction times out": 0.05, "lost": 0.1, "refused": 0.1, "registry stores plan 2": 0.2}
"""Walks that are cut short less often get further."""


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("name", WALKS)
def test_every_walk_through_the_model_is_accepted(name: str, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    scene = Scene(tmp_path / "steps.jsonl")
    teller = Teller(scene, WALKS[name])
    for _ in range(120):
        choices = teller.choices()
        if not choices:
            break
        weights = [_RARE.get(move.what, _RARE.get(move.outcome, 1.0)) for move, _ in choices]
        teller.tell(*chance.choices(choices, weights)[0])
    scene.close()
    assert replay(scene.told(), unit=WALKS[name].unit).widest < 200


@pytest.mark.parametrize("mutant", Mutant, ids=lambda mutant: mutant.name.lower())
def test_the_counter_example_of_each_mutant_is_refused(mutant: Mutant, tmp_path: Path) -> None:
    bound = failure_of(mutant).bound
    scene = Scene(tmp_path / "steps.jsonl")
    Teller(scene, bound).follow(explore(bound).trace)
    scene.close()
    with pytest.raises(Rejected) as refused:
        replay(scene.told())
    print(refused.value)


def test_bounds_have_names_of_their_own() -> None:
    assert not set(REQUIRED) & set(UNREDUCED)
    assert not set(UNREDUCED) & set(LARGER)
