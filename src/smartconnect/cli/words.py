"""How the command line writes numbers, sizes, times and states, so that they look the same everywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_SIZES: Final = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
_STYLES: Final = {
    "ok": "green", "retrying": "yellow", "blocked": "red", "unowned": "yellow", "failed": "bold red", "stopped": "cyan",
    "RUNNING": "green", "CREATING": "yellow", "WAITING": "cyan", "PAUSED": "cyan", "RESTARTING": "yellow", "FAILED": "bold red",
    "running": "green", "starting": "yellow", "draining": "yellow", "unassigned": "yellow",
    "info": "cyan", "warning": "yellow", "error": "red",
}  # fmt: skip


def number(value: float | None) -> str:
    """1234567.8 → "1,234,568"; "–" for what is not known."""
    return "–" if value is None else f"{value:,.0f}"


def counted(count: int, noun: str) -> str:
    """1 → "1 object", 1234 → "1,234 objects"."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def size(value: float | None) -> str:
    """Bytes as people say them: "12.6 MB"."""
    if value is None:
        return "–"
    for unit, factor in _SIZES:
        if value >= factor:
            return f"{value / factor:,.1f} {unit}"
    return f"{value:,.0f} B"


def duration(ms: float | None) -> str:
    """Milliseconds as "240 ms", "3.5 s", "12 s", "3 min 34 s", "2 h 5 min"."""
    if ms is None:
        return "–"
    seconds = ms / 1000
    if seconds < 1:
        return f"{ms:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def clock(ms: float | None) -> str:
    """Epoch milliseconds as the local time of day."""
    return "–" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%H:%M:%S")


def moment(ms: float | None) -> str:
    """Epoch milliseconds as local date and time."""
    return "–" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def state(word: str) -> str:
    """A status, health or level as rich markup in its colour."""
    style = _STYLES.get(word)
    return f"[{style}]{word}[/]" if style else word
