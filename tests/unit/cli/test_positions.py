"""`positions` of a task with directions: which one is meant."""

from __future__ import annotations

import pytest

from smartconnect.cli.positions import Action, PositionsImpossible, chosen_direction, read_change
from smartconnect.domain.positions import PositionChange
from smartconnect.domain.task import Desired, Kind, Task, TaskConfig

TASK = Task("id", "p", "instance", "copy", Kind.KAFKA_REPLICATION, TaskConfig(), Desired.PAUSED, 1, 1, 0)


def test_the_only_direction_need_not_be_named() -> None:
    assert chosen_direction(TASK, ["pull"], None) == "pull"
    assert chosen_direction(TASK, ["pull"], "pull") == "pull"
    assert chosen_direction(TASK, ["pull", "push"], "push") == "push"
    assert chosen_direction(TASK, [], None) is None


@pytest.mark.parametrize(
    ("directions", "wanted", "told"),
    [
        (["pull", "push"], None, "task copy copies both ways: say which with --direction pull or push"),
        (["pull"], "push", "--direction push: task copy has the directions pull"),
        ([], "pull", "--direction pull: task copy has no directions"),
    ],
)
def test_one_that_is_missing_or_wrong_is_refused_in_one_line(directions: list[str], wanted: str | None, told: str) -> None:
    with pytest.raises(PositionsImpossible) as caught:
        chosen_direction(TASK, directions, wanted)
    assert str(caught.value) == told


def test_a_change_names_its_direction() -> None:
    change = read_change(Action.SET, ["orders", "3", "81"], "push")
    assert (change, change.where) == (PositionChange("orders", 3, 81, "push"), "orders-3 (push)")
    assert read_change(Action.SKIP, ["orders", "3"]).where == "orders-3"
