"""The bytes of a part: a list of blocks that is sent as it is, in order, without joining or copying it."""

from __future__ import annotations

from collections.abc import Sequence


class Blocks:
    """Views of single bytes, in order, and how many bytes they are. They belong to the caller, who leaves them alone until the call that
    they were given to has returned."""

    __slots__ = ("nbytes", "views")

    def __init__(self, views: Sequence[memoryview]) -> None:
        self.views = views
        self.nbytes = sum([len(view) for view in views])
