"""The list of rules. A rule is a story about one row or sentence of kafka-replication.md §6.1: it asks a broker and asserts the answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

from tests.support.broker_rules.asking import Asker

Story = Callable[[Asker], Awaitable[None]]


class Rule(NamedTuple):
    """`name` is what a test report shows."""

    name: str
    ask: Story


RULES: list[Rule] = []


def rule(story: Story) -> Story:
    """Put a story on the list."""
    RULES.append(Rule(story.__name__, story))
    return story


def both_deliveries(story: Callable[[Asker, bool], Awaitable[None]]) -> Callable[[Asker, bool], Awaitable[None]]:
    """Put a story on the list twice: for a producer outside of transactions, and inside of one."""
    RULES.append(Rule(f"{story.__name__}-idempotent", partial(_told, story, False)))
    RULES.append(Rule(f"{story.__name__}-transactional", partial(_told, story, True)))
    return story


async def _told(story: Callable[[Asker, bool], Awaitable[None]], transactional: bool, ask: Asker) -> None:
    await story(ask, transactional)
