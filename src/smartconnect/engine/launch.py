"""How processes of the service are started: with a role and its options as one JSON object. Never a secret: each process reads the settings
file by itself. The parent and the nursery are `python -m <module> <role> <options>`; the others are asked for from the nursery. The command
line writes it, the parent passes it on, `app.main` reads it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from smartconnect.engine.children import ChildSpec

PARENT: Final = "parent"
NURSERY: Final = "nursery"
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

    def arguments(self, role: str) -> tuple[str, str]:
        """What this role is told."""
        return role, json.dumps(asdict(self), separators=(",", ":"))

    def command(self, module: str, role: str) -> Sequence[str]:
        """The arguments that start this role, for exec or Popen."""
        return (sys.executable, "-m", module, *self.arguments(role))

    @classmethod
    def parse(cls, text: str) -> Launch:
        """The inverse of what `arguments` writes. TypeError or ValueError for anything else."""
        return cls(**json.loads(text))

    def name(self, role: str) -> str:
        """Of one process: "worker-0", "api"."""
        return role if self.index < 0 else f"{role}-{self.index}"

    def children(self) -> Sequence[ChildSpec]:
        """The front and the workers. Imported only here: who reads its own options needs no children."""
        from smartconnect.engine.children import ChildSpec

        workers = [replace(self, index=index) for index in range(self.workers)]
        front = ChildSpec(self.front, self.arguments(self.front))
        return [front, *(ChildSpec(each.name(WORKER), each.arguments(WORKER), each.index) for each in workers)]
