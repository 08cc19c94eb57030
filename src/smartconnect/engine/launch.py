"""How processes of the service are started: `python -m <module> <role> <options>`, the options as one JSON object. Never a secret: each
process reads the settings file by itself. The command line writes it, the parent passes it on, `app.main` reads it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from smartconnect.engine.children import ChildSpec

PARENT: Final = "parent"
WORKER: Final = "worker"
API: Final = "api"
STATUS: Final = "status"


@dataclass(frozen=True, slots=True)
class Launch:
    """`front`: which process answers beside the workers, API or STATUS. `index`, `link`: of one child."""

    config: str
    workers: int
    front: str
    frozen_after_s: float = 10.0
    stop_within_s: float = 40.0
    log_format: str = "auto"
    log_level: str = "info"
    index: int = -1
    link: int = -1

    def command(self, module: str, role: str) -> Sequence[str]:
        """The arguments that start this role, for exec or Popen."""
        return (sys.executable, "-m", module, role, json.dumps(asdict(self), separators=(",", ":")))

    @classmethod
    def parse(cls, text: str) -> Launch:
        """The inverse of what `command` writes. TypeError or ValueError for anything else."""
        return cls(**json.loads(text))

    def children(self, module: str) -> Sequence[ChildSpec]:
        """The front and the workers. Imported only here: who reads its own options needs no children."""
        from smartconnect.engine.children import ChildSpec

        front = ChildSpec(self.front, lambda fd: replace(self, link=fd).command(module, self.front))
        workers = (replace(self, index=index) for index in range(self.workers))
        return [front, *(ChildSpec(f"worker-{w.index}", w._worker_command(module), w.index) for w in workers)]

    def _worker_command(self, module: str) -> Callable[[int], Sequence[str]]:
        return lambda fd: replace(self, link=fd).command(module, WORKER)
