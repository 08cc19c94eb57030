"""What a user waits for the API while a dump runs at full speed: show and list, in turn, one call after the other, from a process of its
own (`python -m bench.obs_dump.asking`), which nothing else that the benchmark does can hold up.
"""

from __future__ import annotations

import http.client
import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from smartconnect.domain.errors import SandboxFailed

PAUSE_S: Final = 0.02


@dataclass(slots=True)
class Answers:
    """Milliseconds of each call, by its name; there when the asking has ended."""

    ms: dict[str, list[float]] = field(default_factory=dict)

    def notes(self) -> dict[str, float]:
        """Median, 99th percentile and number of each kind of call."""
        found = {}
        for name, values in self.ms.items():
            ordered = sorted(values)
            found[f"{name}_p50_ms"] = ordered[len(ordered) // 2]
            found[f"{name}_p99_ms"] = ordered[len(ordered) * 99 // 100]
            found[f"{name}_calls"] = float(len(ordered))
        return found


@contextmanager
def asking(endpoint: str, headers: Mapping[str, str], paths: Mapping[str, str]) -> Iterator[Answers]:
    """Ask for these paths, by the name of the call, until left. Raises SandboxFailed if an answer was no success."""
    answers = Answers()
    if not paths:
        yield answers
        return
    command = [sys.executable, "-m", "bench.obs_dump.asking"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        child.stdin.write(json.dumps([endpoint, dict(headers), dict(paths)]).encode() + b"\n")
        child.stdin.flush()
        try:
            yield answers
        finally:
            said, _ = child.communicate()  # closing its input ends it
    if child.returncode:
        raise SandboxFailed("the API did not answer show or list while the dump ran; what it said is above")
    answers.ms.update(json.loads(said))


def main() -> None:
    """Ask until the input ends; then write the times."""
    endpoint, headers, paths = json.loads(sys.stdin.readline())
    ms: dict[str, list[float]] = {name: [] for name in paths}
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=30)
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        for name, path in paths.items():
            ms[name].append(_ask(connection, path, headers))
    json.dump(ms, sys.stdout)


def _ask(connection: http.client.HTTPConnection, path: str, headers: dict[str, Any]) -> float:
    began = time.perf_counter()
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        sys.exit(f"{path}: HTTP {answer.status} {body[:500]!r}")
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
