"""The coordinator of one machine, as a worker sees it: the parent hands out buckets over the pipe. Implements `engine.ports.Coordinator`;
the worker's link feeds it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from smartconnect.engine.ports import Assignment


class PipeCoordinator:
    """`say_released` sends to the parent. Until the parent has spoken, nothing is ours."""

    def __init__(self, say_released: Callable[[Collection[int]], None]) -> None:
        self._say_released = say_released
        self._assignment = Assignment(frozenset(), 0)
        self._callbacks: list[Callable[[], None]] = []

    def assignment(self) -> Assignment:
        return self._assignment

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    async def released(self, buckets: Collection[int]) -> None:
        self._say_released(sorted(buckets))

    def assign(self, buckets: Collection[int], of: int) -> None:
        """The parent's word: these, and no others."""
        self._assignment = Assignment(frozenset(buckets), of)
        self.nudge()

    def nudge(self) -> None:
        """Something changed, here or in the registry."""
        for callback in self._callbacks:
            callback()
