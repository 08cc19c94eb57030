"""The bytes of a part: a list of blocks that is sent as it is, in order, without joining or copying it."""

from __future__ import annotations

from collections.abc import Sequence


class Blocks:
    """Views of single bytes, in order, how many bytes they are, and their CRC32C if it is known. They belong to the caller, who leaves
    them alone until the call that they were given to has returned."""

    __slots__ = ("crc32c", "nbytes", "views")

    def __init__(self, views: Sequence[memoryview], crc32c: int | None = None) -> None:
        self.views = views
        self.nbytes = sum([len(view) for view in views])
        self.crc32c = crc32c
