"""Everything that came out of a service, to be searched for the secrets that it was given: what it answered, logged and stored, and what
every user of the machine can see of its processes (architecture.md §4)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.service import Service


@dataclass
class Said:
    """Everything that came out of the service, by where."""

    texts: dict[str, str] = field(default_factory=dict)

    def note(self, where: str, said: object) -> None:
        self.texts[f"{where} ({len(self.texts)})"] = str(said)

    def note_command_lines(self, pids: Iterable[int]) -> None:
        """Of those that still run."""
        for pid in pids:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                self.note("command line", Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace"))

    def note_what_stays(self, service: Service) -> None:
        """Its files but the settings, and the command lines of its processes."""
        pids = service.pids()
        assert len(pids) == service.options.workers + 1
        self.note_command_lines(pids)
        for folder, _, names in os.walk(service.folder):
            for name in names:
                if name != "smart-connect.toml":
                    self.note(f"file {name}", Path(folder, name).read_bytes().decode("latin-1"))
        assert any("registry.db" in where for where in self.texts)
        assert any("file log" in where for where in self.texts)

    def assert_none_of(self, canaries: Mapping[str, str]) -> None:
        leaks = [f"{name} in {where}" for where, text in self.texts.items() for name, canary in canaries.items() if canary in text]
        assert leaks == []
