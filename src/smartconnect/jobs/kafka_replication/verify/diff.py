"""How two lists of records differ: where first, and how they go on alike behind that. Pure; records are their checksums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

_ALIKE: Final = 8
"""So many records in a row that agree are no chance."""

_END: Final = -1
"""Behind the last record of a list that ends; checksums are never negative."""


class Found(NamedTuple):
    """The lists agree before index `at`. There `missing` records of the left stand where `extra` of the right do, and then the lists agree
    again; both None where no such place is found."""

    at: int
    missing: int | None
    extra: int | None


def first_difference(left: Sequence[int], right: Sequence[int], *, left_ends: bool, right_ends: bool) -> Found | None:
    """None where one list begins with the other, and none of them ends sooner. `…_ends`: nothing follows the list; else it is a part, and
    what follows is not known."""
    at = next((index for index, (one, other) in enumerate(zip(left, right, strict=False)) if one != other), -1)
    if at < 0:
        at = min(len(left), len(right))
        if not _one_goes_on(len(left) - at, len(right) - at, left_ends=left_ends, right_ends=right_ends):
            return None
    ours = [*left[at:], *([_END] * _ALIKE if left_ends else ())]
    theirs = [*right[at:], *([_END] * _ALIKE if right_ends else ())]
    return Found(at, *_alike_again(ours, theirs))


def _one_goes_on(left: int, right: int, *, left_ends: bool, right_ends: bool) -> bool:
    """Records are left on one side only, where the other has ended."""
    return bool((left and right_ends) or (right and left_ends))


def _alike_again(left: Sequence[int], right: Sequence[int]) -> tuple[int, int] | tuple[None, None]:
    """The nearest pair of indexes from which both go on alike."""
    places: dict[tuple[int, ...], int] = {}
    for index in range(len(right) - _ALIKE + 1):
        places.setdefault(tuple(right[index : index + _ALIKE]), index)
    best: tuple[int, int] | None = None
    for index in range(len(left) - _ALIKE + 1):
        if best is not None and index >= sum(best):
            break
        other = places.get(tuple(left[index : index + _ALIKE]))
        if other is not None and (best is None or index + other < sum(best)):
            best = index, other
    return (None, None) if best is None else best


def nearest(needle: Sequence[int], hay: Sequence[int], expected: int) -> int | None:
    """Where in `hay` the `needle` lies, as near to `expected` as possible; None if nowhere, or if it is empty."""
    if not needle:
        return None
    length = len(needle)
    places = [index for index in range(len(hay) - length + 1) if hay[index] == needle[0] and hay[index : index + length] == needle]
    return min(places, key=lambda index: abs(index - expected), default=None)
