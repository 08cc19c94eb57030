"""What a fault-injecting proxy shall do, and when: rules that tests add, with counts and hits. Used by both proxies.

A rule looks at each exchange (a request, later also its answer). Rules that match are asked in the order in which they were
added until one gives a verdict; a rule with a count is used up after so many matches.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from tests.support.waiting import eventually

Exchange = TypeVar("Exchange")
Verdict = TypeVar("Verdict")


class Fate(Enum):
    """What becomes of the client's connection when an answer does not reach it."""

    CLOSE = "reset at once"
    HOLD = "stays open, and nothing comes any more"


@dataclass(slots=True, eq=False)
class Rule(Generic[Exchange, Verdict]):
    """One rule of a book. `hits` counts the exchanges it was applied to: a test without a hit has proven nothing."""

    name: str
    matches: Callable[[Exchange], bool]
    action: Callable[[Exchange], Awaitable[Verdict | None]]
    left: int | None
    hits: int = 0

    async def hit(self, times: int = 1, deadline_s: float = 60.0) -> None:
        """Wait until the rule was applied so often."""
        await eventually(lambda: self.hits >= times, deadline_s, what=f"{times} × {self.name}")

    def remove(self) -> None:
        """Match nothing any more."""
        self.left = 0


Seen = TypeVar("Seen")


def giving(verdict: Verdict) -> Callable[[object], Awaitable[Verdict | None]]:
    """The action that always gives this verdict."""

    async def action(_exchange: object) -> Verdict | None:
        return verdict

    return action


def calling(
    callback: Callable[[Seen], Awaitable[None] | None], view: Callable[[Exchange], Seen]
) -> Callable[[Exchange], Awaitable[None]]:
    """The action that calls back (plain or async) with what `view` shows of the exchange, and lets it pass."""

    async def action(exchange: Exchange) -> None:
        result = callback(view(exchange))
        if inspect.isawaitable(result):
            await result

    return action


def waiting(seconds: float) -> Callable[[object], Awaitable[None]]:
    """The action that lets the exchange pass later."""

    async def action(_exchange: object) -> None:
        await asyncio.sleep(seconds)

    return action


class RuleBook(Generic[Exchange, Verdict]):
    """The rules for one stage of the exchanges."""

    def __init__(self) -> None:
        self._rules: list[Rule[Exchange, Verdict]] = []

    def add(
        self,
        name: str,
        matches: Callable[[Exchange], bool],
        action: Callable[[Exchange], Awaitable[Verdict | None]],
        count: int | None,
    ) -> Rule[Exchange, Verdict]:
        """`count` None: until it is removed."""
        rule = Rule(name, matches, action, count)
        self._rules.append(rule)
        return rule

    async def judge(self, exchange: Exchange) -> Verdict | None:
        """Apply the rules that match; None: let it pass."""
        for rule in list(self._rules):
            if rule.left == 0 or not rule.matches(exchange):
                continue
            if rule.left is not None:
                rule.left -= 1
            rule.hits += 1
            verdict = await rule.action(exchange)
            if verdict is not None:
                return verdict
        return None

    def clear(self) -> None:
        """Forget all rules; the rules themselves keep their hits."""
        for rule in self._rules:
            rule.remove()
        self._rules.clear()


@dataclass(slots=True, eq=False)
class Gate(Generic[Exchange]):
    """Holds exchanges until the test opens it. `held` are those that wait or waited, oldest first."""

    held: list[Exchange] = field(default_factory=list)
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    async def reached(self, times: int = 1, deadline_s: float = 60.0) -> None:
        """Wait until so many exchanges have come to the gate."""
        await eventually(lambda: len(self.held) >= times, deadline_s, what=f"{times} exchanges at the gate")

    def release(self) -> None:
        """Let all pass, now and later."""
        self._open.set()

    async def wait(self, exchange: Exchange) -> None:
        """Stand at the gate (called by the proxy)."""
        self.held.append(exchange)
        await self._open.wait()
