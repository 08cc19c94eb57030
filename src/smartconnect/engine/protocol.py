"""What parent and children say to each other over their socket pair: one JSON object a line, `{"v": 1, "t": "assign", …}`. Both ends
come from the same installation, so an unknown version is an error; unknown kinds and fields are ignored, as in a rolling upgrade of
one machine the parent may be a little older. Data never passes here: a line is at most `MAX_LINE` bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

VERSION: Final = 1
MAX_LINE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Hello:
    """Child: I am up and read this pipe."""

    pid: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Child, every second: I am not frozen; my meters as (name, label values, value); the hash of my settings; "" or what hinders me."""

    meters: Sequence[Sequence[Any]]
    settings: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Released:
    """Worker: every unit of these buckets, which were taken from me, has stopped here."""

    buckets: Sequence[int]


@dataclass(frozen=True, slots=True)
class Nudge:
    """Child to parent to every worker: something changed in the registry, look at once."""


@dataclass(frozen=True, slots=True)
class Assign:
    """Parent to worker: from now on these buckets are yours, and no others."""

    buckets: Sequence[int]
    of: int


@dataclass(frozen=True, slots=True)
class Reload:
    """Parent to child: read the settings file again (SIGHUP)."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Parent to child: drain and exit within so many seconds."""

    within_s: float


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One process of this machine, as the parent sees it."""

    name: str
    pid: int
    alive: bool
    starts: int
    buckets: int
    meters: Sequence[Sequence[Any]]
    settings: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Parent to the process that answers /metrics and /readyz, every second: how all of them are."""

    processes: Sequence[ProcessState]


Message = Hello | Heartbeat | Released | Nudge | Assign | Reload | Stop | Fleet

_KINDS: Final[dict[str, type[Any]]] = {
    "hello": Hello,
    "heartbeat": Heartbeat,
    "released": Released,
    "nudge": Nudge,
    "assign": Assign,
    "reload": Reload,
    "stop": Stop,
    "fleet": Fleet,
}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}


class ProtocolError(Exception):
    """A line is not of this protocol: parent and child are not of one installation, or something else writes here."""


def encode(message: Message) -> bytes:
    """One line, its end included."""
    line = {"v": VERSION, "t": _NAMES[type(message)], **_fields(message)}
    return json.dumps(line, separators=(",", ":"), default=_fields).encode() + b"\n"


def decode(line: bytes) -> Message | None:
    """The message of one line; None for a kind that we do not know."""
    try:
        raw = json.loads(line)
    except ValueError:
        raise ProtocolError(f"not JSON: {line[:80]!r}") from None
    if not isinstance(raw, dict) or raw.get("v") != VERSION:
        raise ProtocolError(f"not version {VERSION} of the protocol: {line[:80]!r}")
    kind = _KINDS.get(str(raw.get("t")))
    if kind is None:
        return None
    message: Message = _build(kind, raw)
    if isinstance(message, Fleet):
        return Fleet(processes=[_build(ProcessState, item) for item in message.processes])  # type: ignore[arg-type] # still raw
    return message


def _fields(message: Any) -> dict[str, Any]:
    """Shallow: a heartbeat holds thousands of samples, and nobody changes them."""
    return {field.name: getattr(message, field.name) for field in fields(message)}


def _build(kind: type[Any], raw: dict[str, Any]) -> Any:
    try:
        return kind(**{field.name: raw[field.name] for field in fields(kind) if field.name in raw})
    except (TypeError, AttributeError):
        raise ProtocolError(f"{kind.__name__} lacks a field") from None
