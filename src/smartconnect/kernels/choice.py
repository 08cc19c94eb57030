"""Which form of the kernels is in use: the extension where it was built, unless the environment's SMARTCONNECT_KERNELS=python says
otherwise. Read by `__init__`, which chooses for all others, and by `codecs`, on which the extension's own helpers stand."""

from __future__ import annotations

import os
from typing import Final

try:
    from smartconnect.kernels import _compiled  # noqa: F401  # whether it can be
except ImportError:
    COMPILED_AVAILABLE = False
else:
    COMPILED_AVAILABLE = True

IMPLEMENTATION: Final = "compiled" if COMPILED_AVAILABLE and os.environ.get("SMARTCONNECT_KERNELS") != "python" else "python"
