"""Breadth-first search over all states of a bound: the first violation comes with a shortest trace."""

from __future__ import annotations

import gc
from collections import Counter
from dataclasses import dataclass

from tests.model.invariants import broken, caught_up
from tests.model.moves import Bound, Move, Moves
from tests.model.state import State


@dataclass(frozen=True, slots=True)
class Result:
    """What a search has found."""

    states: int
    violation: str | None
    trace: tuple[Move, ...]
    hits: Counter[str]  # how often each move was taken
    caught_up: int  # states in which the last owner had dumped everything

    def story(self) -> str:
        """The counter-example, one move a line."""
        lines = [f"violates {self.violation}, after {len(self.trace)} moves:"]
        for number, move in enumerate(self.trace, 1):
            who = "world" if move.who is None else f"incarnation {move.who}"
            lines.append(f"{number:3}  {who:14} {' '.join(part for part in (move.what, move.outcome, move.detail) if part)}")
        return "\n".join(lines)


def explore(bound: Bound, *, limit: int = 1_000_000) -> Result:
    """Visits every reachable state once, nearest first, and stops at the first violation. More than `limit` states is an
    AssertionError: the bound would not be small."""
    gc.disable()  # millions of tuples without a cycle: looking for cycles would cost as much as the search
    try:
        return _search(bound, limit)
    finally:
        gc.enable()


def _search(bound: Bound, limit: int) -> Result:
    moves = Moves(bound)
    first = moves.initial()
    parents: dict[State, tuple[State, Move] | None] = {first: None}
    raw: set[State] = set()
    hits: Counter[str] = Counter()
    level, finished = [first], 0
    while level:
        following: list[State] = []
        for state in level:
            for move, reached in moves.after(state):
                hits[move.what] += 1
                if reached in parents or reached in raw:
                    continue
                after = moves.clean(reached)
                if after is not reached:
                    raw.add(reached)
                    if after in parents:
                        continue
                parents[after] = (state, move)
                violation = broken(after, bound.records)
                if violation is not None:
                    return Result(len(parents), violation, _trace(parents, after), hits, finished)
                finished += caught_up(after, bound.records)
                following.append(after)
        assert len(parents) <= limit, f"more than {limit} states"
        level = following
    return Result(len(parents), None, (), hits, finished)


def _trace(parents: dict[State, tuple[State, Move] | None], state: State) -> tuple[Move, ...]:
    moves: list[Move] = []
    step = parents[state]
    while step is not None:
        moves.append(step[1])
        step = parents[step[0]]
    return tuple(reversed(moves))
