"""The service and the command line as a user has them: `serve` with a settings file that knows a signing key, and `smart-connect …` in
processes of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.service import PROJECT, Service, ServiceOptions

ACCESS_KEY, SECRET_KEY = "AK-OF-THE-TESTS", "SK-OF-THE-TESTS"
_TIMEOUT_S = 90


class SigningService(Service):
    """A service whose settings have an access key beside the token."""

    def _settings(self) -> str:
        return f'{super()._settings()}\n[[api.access_keys]]\naccess_key = "{ACCESS_KEY}"\nsecret_key = "{SECRET_KEY}"\n'


@contextlib.asynccontextmanager
async def signing_service(folder: Path, options: ServiceOptions) -> AsyncIterator[SigningService]:
    service = SigningService(folder, options)
    try:
        await service.start()
        yield service
    finally:
        await service.stop()


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The only (or last) line of output."""
        return json.loads(self.out.splitlines()[-1])

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    def assert_fine(self) -> Said:
        assert (self.code, self.err) == (0, ""), self
        return self

    def assert_one_line(self, *told: str, code: int = 1) -> Said:
        """It failed with one clear line on stderr."""
        assert self.code == code, self
        assert self.err.startswith("smart-connect: "), self
        assert self.err.count("\n") == 1, self
        for piece in told:
            assert piece in self.err, self
        return self


@dataclass(frozen=True, slots=True)
class Cli:
    """`await cli("tasks", "list")`. The settings file of the service is named for every command."""

    config: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    async def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> Said:
        return await asyncio.to_thread(self._run, arguments, stdin, environment)

    def _run(self, arguments: Sequence[str], stdin: str, environment: Mapping[str, str]) -> Said:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SMARTCONNECT_")}
        done = subprocess.run(
            [sys.executable, "-m", "smartconnect.cli", *arguments, "--config", str(self.config)],
            input=stdin,
            capture_output=True,
            text=True,
            env={**clean, **self.environment, **environment},
            timeout=_TIMEOUT_S,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)


def cli_of(service: Service) -> Cli:
    return Cli(service.folder / "smart-connect.toml")


def dump_request(service: Service, name: str, bucket: str, topic: str, **sink: object) -> str:
    """The body of a create request, as a user has it in a file."""
    s3 = service.options.s3
    keys = {"access_key": s3.access_key, "secret_key": s3.secret_key, "obs_bucket_name": bucket, "obs_path": "dump"}
    task = {"task_name": name, "topics": topic, "sink_type": "OBS_SINK"}
    return json.dumps({**task, "sink_task": {**keys, "consumer_strategy": "earliest", "deliver_time_interval": 30, **sink}})


__all__ = ["ACCESS_KEY", "PROJECT", "SECRET_KEY", "Cli", "Said", "SigningService", "cli_of", "dump_request", "signing_service"]
