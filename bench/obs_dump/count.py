"""Reads every byte of a bucket and says what became of each record id. The objects are read as files of the S3 server's folder, so neither
side's client is trusted.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.common import lines
from bench.common.data import Case
from bench.common.lines import Lines

_NAME: Final = re.compile(r"(?:.*[+/])?(\d+)[+/](\d+)$")


@dataclass(slots=True)
class Count(lines.Count):
    """Names give the order of the objects. `torn` counts objects with a strange name too."""

    objects: int = 0
    nbytes: int = 0
    largest_object: int = 0


def objects(bucket: Path) -> list[Path]:
    """The visible objects; the server's own folders begin with a dot."""
    found: list[Path] = []
    for where, folders, files in os.walk(bucket, onerror=lambda error: None):
        folders[:] = [name for name in folders if not name.startswith(".")]  # the server's own, which come and go
        found += (Path(where, name) for name in files)
    return found


def visible_bytes(bucket: Path, *, last_newline: bool) -> int:
    """Of the values in the visible objects, each with a newline; `last_newline`: whether objects end with one."""
    return sum(path.stat().st_size + (not last_newline) for path in objects(bucket))


def stored_bytes(bucket: Path) -> int:
    """Of all that lies there, parts of unfinished uploads included."""
    total = 0
    for path in bucket.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a part that became an object meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total


def count(bucket: Path, case: Case) -> Count:
    """Names end in partition and first offset, between `+` or `/`."""
    result = Count()
    counting = Lines(case, result)
    places: list[tuple[int, int, Path]] = []
    for path in objects(bucket):
        match = _NAME.match(str(path.relative_to(bucket)))
        if match is None:
            result.torn += 1
        else:
            places.append((int(match[1]), int(match[2]), path))
    for partition, _, path in sorted(places):
        body = path.read_bytes()
        result.objects += 1
        result.nbytes += len(body)
        result.largest_object = max(result.largest_object, len(body))
        counting.add(partition, body if body.endswith(b"\n") else body + b"\n")
    counting.finish()
    return result
