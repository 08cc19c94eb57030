"""Where tables go: as wide as the terminal, or wide enough for scripts and logs where there is none."""

from __future__ import annotations

import sys
from typing import Final

from rich.console import Console

_WIDE: Final = 240


def console() -> Console:
    """For standard output as it is now."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDE)
