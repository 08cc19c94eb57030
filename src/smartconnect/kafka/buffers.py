"""Memory of large frames, used again: new memory costs page faults and zeroes, a quarter of the whole fetch otherwise.

Safe by construction: a buffer is handed out again only if nothing refers to it any more. Python itself tells: a bytearray
cannot change its size while a view of it exists, so trying to is the question. Whoever keeps a view keeps the bytes.
Used by `framing` (take) and by frames that are released (give)."""

from __future__ import annotations

from typing import Final

STEP: Final = 256 << 10
"""Frames below this are too small to be worth it; memory for larger ones comes in few sizes, two for each doubling."""

_HEADS: Final = 16 << 10
"""Room in each size for what surrounds the bytes that were asked for: answers are whole mebibytes and a little more."""


class BufferPool:
    """At most `most_bytes` wait for use; a buffer serves frames down to half of what it was made for."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._waiting: list[bytearray] = []

    def take(self, size: int) -> memoryview:
        """A writable view of exactly `size` bytes, with whatever is in them."""
        if size < STEP:
            return memoryview(bytearray(size))
        most = 2 * size + _HEADS
        fitting = [(len(waiting), -at) for at, waiting in enumerate(self._waiting) if size <= len(waiting) <= most]
        for _, at in sorted(fitting):  # the smallest, and of those the newest: it may still be in the processor's cache
            if _unused(self._waiting[-at]):
                return memoryview(self._waiting.pop(-at))[:size]
        return memoryview(bytearray(_capacity(size)))[:size]

    def give(self, view: memoryview) -> None:
        """Offer a frame's memory for use again; views that still exist keep it from being used."""
        buffer = view.obj
        if isinstance(buffer, bytearray) and STEP <= len(buffer) <= self._most_bytes:
            self._waiting.append(buffer)
            while sum(map(len, self._waiting)) > self._most_bytes:
                del self._waiting[0]


def _capacity(size: int) -> int:
    """The next of STEP × 1, 1.5, 2, 3, 4, 6, 8 …, each with room for heads."""
    capacity = STEP
    while capacity + _HEADS < size:
        capacity *= 2
    if capacity > STEP and size <= capacity * 3 // 4 + _HEADS:
        capacity = capacity * 3 // 4
    return capacity + _HEADS


def _unused(buffer: bytearray) -> bool:
    try:
        buffer.append(buffer.pop())
    except BufferError:
        return False
    return True


FRAMES: Final = BufferPool(most_bytes=32 << 20)
"""The pool of this process."""
