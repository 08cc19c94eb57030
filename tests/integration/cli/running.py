"""The service and the command line as a user has them: `serve` with a settings file that knows a signing key, and `smart-connect …` in
processes of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from smartconnect.cli.main import main
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
    in_process: bool = False

    async def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> Said:
        run = self._run_here if self.in_process else self._run
        return await asyncio.to_thread(run, arguments, stdin, environment)

    def _run_here(self, arguments: Sequence[str], stdin: str, environment: Mapping[str, str]) -> Said:
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.object(sys, "argv", self._command(arguments)[2:]),
            mock.patch.dict(os.environ, {**self._variables(), **environment}, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            contextlib.ExitStack() as stack,
        ):
            if stdin:
                stack.enter_context(mock.patch.object(sys, "stdin", io.StringIO(stdin)))
            try:
                main()
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
        return Said(code, out.getvalue(), err.getvalue())

    def _run(self, arguments: Sequence[str], stdin: str, environment: Mapping[str, str]) -> Said:
        done = subprocess.run(
            self._command(arguments),
            input=stdin,
            capture_output=True,
            text=True,
            env={**self._variables(), **environment},
            timeout=_TIMEOUT_S,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    async def begin(self, *arguments: str) -> asyncio.subprocess.Process:
        """A command that goes on; its output is the caller's to read."""
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(*self._command(arguments), stdout=pipe, stderr=pipe, env=self._variables())

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "smartconnect.cli", *arguments, "--config", str(self.config)]

    def _variables(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SMARTCONNECT_")}
        return {**clean, **self.environment}


def dump_request(service: Service, name: str, bucket: str, topic: str, **sink: object) -> str:
    """The body of a create request, as a user has it in a file."""
    s3 = service.options.s3
    keys = {"access_key": s3.access_key, "secret_key": s3.secret_key, "obs_bucket_name": bucket, "obs_path": "dump"}
    task = {"task_name": name, "topics": topic, "sink_type": "OBS_SINK"}
    return json.dumps({**task, "sink_task": {**keys, "consumer_strategy": "earliest", "deliver_time_interval": 30, **sink}})


__all__ = ["ACCESS_KEY", "PROJECT", "SECRET_KEY", "Cli", "Said", "SigningService", "dump_request", "signing_service"]
