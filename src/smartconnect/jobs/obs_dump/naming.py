"""Names of objects: `<path>/<topic>/<time dir>/<topic>+<partition>+<offset>`, empty parts left out (obs-dump.md §6).

The time directory is the wall-clock time at which the object was opened, in the task's time zone. Names are unique within a run because
the first offset is in them; a name that something older may already have gets `+2`, `+3`, … behind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

_OFFSET_DIGITS = 10
_PIECES = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M"}


@dataclass(frozen=True, slots=True)
class ObjectNames:
    """How one task names its objects. `time_format` is "" or a prefix of yyyy/MM/dd/HH/mm."""

    path: str
    time_format: str
    timezone: str

    def time_dir(self, wall: float) -> str:
        """The directory for an object opened at `wall` (epoch seconds); chronological order is the order of strings."""
        if not self.time_format:
            return ""
        local = datetime.fromtimestamp(wall, UTC).astimezone(ZoneInfo(self.timezone))
        return "/".join(local.strftime(_PIECES[piece]).zfill(len(piece)) for piece in self.time_format.split("/"))

    def topic_prefix(self, topic: str) -> str:
        """What all keys of a topic begin with; ends in "/"."""
        return f"{self.path}/{topic}/" if self.path else f"{topic}/"

    def key(self, topic: str, partition: int, first_offset: int, time_dir: str) -> str:
        """The object's name; `first_offset` is that of the first record *in* it."""
        name = f"{topic}+{partition}+{first_offset:0{_OFFSET_DIGITS}d}"
        return self.topic_prefix(topic) + (f"{time_dir}/{name}" if time_dir else name)


def nth_name(key: str, number: int) -> str:
    """The same name for the second, third … object that would have it."""
    return key if number == 1 else f"{key}+{number}"


_TAIL = re.compile(r"(?:(?:\d{4,}(?:/\d\d){0,4})/)?([A-Za-z0-9._-]{1,249})\+(\d{1,10})\+(\d{10,19})(?:\+([2-9]|[1-9]\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class ParsedName:
    """What an object's name says."""

    topic: str
    partition: int
    first_offset: int


def parse_key(key: str, prefix: str) -> ParsedName | None:
    """What the name of an object under `prefix` (`ObjectNames.topic_prefix`) says; None if it has not the form of ours."""
    if not key.startswith(prefix):
        return None
    match = _TAIL.fullmatch(key, len(prefix))
    if match is None:
        return None
    topic, partition, offset, _ = match.groups()
    return ParsedName(topic, int(partition), int(offset))
