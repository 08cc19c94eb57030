"""The metadata committed with a position: which prepared uploads it names (obs-dump.md §3). Compact ASCII JSON, self-contained: whoever
reads it can finish the uploads whatever the task's configuration has become. It is never empty: that is what tools write.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from smartconnect.domain.errors import MalformedData

VERSION = 1
MAX_ENTRIES = 4
_MAX_TEXT = 1 << 16


@dataclass(frozen=True, slots=True)
class Entry:
    """One prepared upload: `parts` parts of `size` bytes altogether are in the store, invisible, and cover source offsets [start, end)."""

    bucket: str
    key: str
    upload: str
    parts: int
    size: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Promise:
    """What a committed position promises: its entries are to be finished, in this order; `next_start` is where the range of the next
    object begins, None where that is the position itself."""

    entries: tuple[Entry, ...] = ()
    next_start: int | None = None


NOTHING = Promise()


def encode(promise: Promise) -> str:
    """The metadata string of a promise."""
    fields: dict[str, object] = {"v": VERSION}
    if promise.next_start is not None:
        fields["s"] = promise.next_start
    if promise.entries:
        fields["p"] = [
            {"b": e.bucket, "k": e.key, "u": e.upload, "n": e.parts, "z": e.size, "s": e.start, "e": e.end} for e in promise.entries
        ]
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=True)


def decode(text: str) -> Promise:
    """The inverse of `encode`; "" promises nothing. MalformedData for anything else that this module has not written."""
    if not text:
        return NOTHING
    if len(text) > _MAX_TEXT:
        raise MalformedData("the committed metadata is too long to be ours")
    try:
        fields = json.loads(text)
        if not isinstance(fields, dict) or fields.get("v") != VERSION or not fields.keys() <= {"v", "s", "p"}:
            raise MalformedData("the committed metadata is not of our version")
        found = tuple(_entry(item) for item in fields.get("p", ()))
        next_start = _offset(fields["s"]) if "s" in fields else None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MalformedData("the committed metadata was not written by us") from error
    if len(found) > MAX_ENTRIES:
        raise MalformedData(f"the committed metadata names more than {MAX_ENTRIES} uploads")
    return Promise(found, next_start)


def _entry(item: dict[str, object]) -> Entry:
    names = tuple(item[field] for field in "bku")
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError("names")
    bucket, key, upload = (str(name) for name in names)
    entry = Entry(bucket, key, upload, *(_offset(item[field]) for field in "nzse"))
    if entry.parts < 1 or entry.end <= entry.start:
        raise ValueError("range")
    return entry


def _offset(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError("number")
    return value
