"""A real S3 server on this machine: versitygw over a plain folder.

`s3_server(S3Options(...))` guarantees a server that answers inside the context, with a root account and as many further accounts
as wanted, and leaves nothing of it afterwards. Buckets are folders of `S3Server.buckets`, objects are files. Called by the
tests' fixtures, the benchmarks, the demo and `stack`.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import aiohttp

from smartconnect.domain.errors import SandboxFailed
from smartconnect.sandbox.cache import install_once, run_folder
from smartconnect.sandbox.certificates import Certificates, make_certificates
from smartconnect.sandbox.ports import free_port
from smartconnect.sandbox.prerequisites import Tool, ensure
from smartconnect.sandbox.process import Lifetime, ServerCommand, ServerProcess, answers

VERSITYGW_VERSION = "v1.7.0"
_MODULE = "github.com/versity/versitygw/cmd/versitygw"
_BUILD_TIMEOUT_S = 1800
_HEALTH = "/healthz"


@dataclass(frozen=True, slots=True)
class S3Options:
    """`port`: None takes a free one. `virtual_domain`: also answer for `<bucket>.<virtual_domain>`. `scheme` https: with a
    certificate of `S3Server.ca_file`. `folder`: kept after the context; None: a folder of the cache that is removed."""

    region: str = "cn-north-4"
    port: int | None = None
    scheme: Literal["http", "https"] = "http"
    virtual_domain: str | None = None
    folder: Path | None = None
    start_deadline_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Account:
    """Keys that the server knows. `user` accounts may not create buckets: `S3Server.give_bucket`; `userplus` may; `admin` may all."""

    access_key: str
    secret_key: str = field(repr=False)


class S3Server:
    """One versitygw and its accounts."""

    def __init__(self, options: S3Options, folder: Path, lifetime: Lifetime = Lifetime.STARTER) -> None:
        self.options = options
        self.folder = folder
        self.buckets = folder / "buckets"
        self.port = options.port or free_port()
        self.region = options.region
        self.root = Account(f"ROOT{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30))
        self.certificates: Certificates | None = None
        self._lifetime = lifetime
        self._program = Path("versitygw")
        self._process: ServerProcess | None = None

    @property
    def endpoint(self) -> str:
        return f"{self.options.scheme}://127.0.0.1:{self.port}"

    @property
    def access_key(self) -> str:
        return self.root.access_key

    @property
    def secret_key(self) -> str:
        return self.root.secret_key

    @property
    def ca_file(self) -> Path:
        if self.certificates is None:
            raise SandboxFailed("This S3 server speaks plain HTTP; take S3Options(scheme='https').")
        return self.certificates.ca_file

    @property
    def process(self) -> ServerProcess:
        if self._process is None:
            raise SandboxFailed("The S3 server was not started yet.")
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log_file(self) -> Path:
        return self.process.log_file

    async def start(self) -> None:
        """Start, for the first time or after `kill` / `stop`: same port, accounts, data."""
        if self._process is None:
            self._program = await asyncio.to_thread(versitygw)
            self.buckets.mkdir(parents=True, exist_ok=True)
            if self.options.scheme == "https":
                self.certificates = await asyncio.to_thread(make_certificates, self.folder / "tls")
            self._process = ServerProcess(self._command(), self._lifetime)
        await self._process.start()

    async def kill(self) -> None:
        """SIGKILL; fine if it does not run."""
        if self._process is not None:
            await self._process.kill()

    async def stop(self) -> None:
        """SIGTERM and a clean end."""
        await self.process.stop()

    def freeze(self) -> None:
        """SIGSTOP: accepts connections (the kernel does) and never answers."""
        self.process.freeze()

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.thaw()

    async def add_account(self, role: Literal["user", "userplus", "admin"] = "user") -> Account:
        """A second account; it counts at once."""
        account = Account(f"USER{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30))
        await self._administer("create-user", "--access", account.access_key, "--secret", account.secret_key, "--role", role)
        return account

    async def revoke(self, account: Account) -> None:
        """Forget the account; requests signed with it fail from now on."""
        await self._administer("delete-user", "--access", account.access_key)

    async def give_bucket(self, bucket: str, account: Account) -> None:
        """Make `account` the owner of the bucket; the previous owner loses it (the root account never does)."""
        await self._administer("change-bucket-owner", "--bucket", bucket, "--owner", account.access_key)

    async def _administer(self, *arguments: str) -> None:
        tool = await asyncio.create_subprocess_exec(
            self._program, "admin", "--endpoint-url", self.endpoint, "--region", self.region, "--allow-insecure", *arguments,
            env={**os.environ, "ADMIN_ACCESS_KEY": self.access_key, "ADMIN_SECRET_KEY": self.secret_key},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await tool.communicate()
        if tool.returncode != 0:
            raise SandboxFailed(f"versitygw refuses {arguments[0]}: {output.decode(errors='replace').strip()}")

    def _command(self) -> ServerCommand:
        accounts = self.folder / "accounts"
        accounts.mkdir(mode=0o700, parents=True, exist_ok=True)
        argv = [
            str(self._program), "--port", f"127.0.0.1:{self.port}", "--region", self.region, "--keep-alive", "--quiet",
            "--iam-dir", str(accounts), "--iam-cache-disable", "--health", _HEALTH,
        ]  # fmt: skip
        if self.options.virtual_domain is not None:
            argv += ["--virtual-domain", self.options.virtual_domain]
        if self.certificates is not None:
            server = self.certificates.server
            argv += ["--cert", str(server.certificate_file), "--key", str(server.key_file)]
        argv.append("posix")
        if not _keeps_user_attributes(self.buckets):
            sidecar = self.folder / "attributes"
            sidecar.mkdir(exist_ok=True)
            argv += ["--sidecar", str(sidecar)]
        return ServerCommand(
            name=f"versitygw {VERSITYGW_VERSION}",
            argv=(*argv, str(self.buckets)),
            folder=self.folder,
            log_file=self.folder / "server.log",
            ready=self._is_healthy,
            environment={"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key},
            deadline_s=self.options.start_deadline_s,
            removed_after_crash=() if self.options.folder is not None else (self.folder,),
        )

    async def _is_healthy(self, _log: str) -> bool:
        if self.options.scheme == "https":
            return await answers(self.port)
        timeout = aiohttp.ClientTimeout(total=2)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(self.endpoint + _HEALTH) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


def versitygw() -> Path:
    """The versitygw program, built if the cache lacks it (some minutes of CPU). Blocks; use a thread."""

    def build(staging: Path) -> None:
        go = ensure(Tool.GO)[Tool.GO]
        environment = {**os.environ, "GOBIN": str(staging), "CGO_ENABLED": "0"}
        result = subprocess.run(
            [go, "install", "-p", "2", f"{_MODULE}@{VERSITYGW_VERSION}"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_BUILD_TIMEOUT_S,
            check=False,
        )
        if result.returncode != 0:
            raise SandboxFailed(f"Go could not build versitygw {VERSITYGW_VERSION}:\n{result.stderr[-2000:]}")

    return install_once(f"versitygw/{VERSITYGW_VERSION}", build) / "versitygw"


def _keeps_user_attributes(folder: Path) -> bool:
    try:
        os.setxattr(folder, "user.smartconnect", b"probe")
        os.removexattr(folder, "user.smartconnect")
    except OSError:
        return False
    return True


@asynccontextmanager
async def s3_server(options: S3Options | None = None) -> AsyncIterator[S3Server]:
    """A server that lives as long as the context. Raises `SandboxFailed` if it cannot be had.

    A file `KEEP` in its folder keeps the folder (log, objects) when the context ends.
    """
    options = options or S3Options()
    async with run_folder("s3", options.folder) as folder:
        server = S3Server(options, folder)
        try:
            await server.start()
            yield server
        finally:
            await server.kill()
