"""The folder in which everything that the sandbox fetches, builds or runs lands, and the one way to put things there.

Guarantees that an entry of the cache is either whole or absent, however many processes make it at the same time and
wherever one of them is killed: entries are made in a staging folder and renamed, under a lock that the kernel releases
when its holder dies. Called by everything in this package.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from smartconnect.domain.errors import SandboxFailed

CACHE_VARIABLE = "SMARTCONNECT_CACHE"
KEEP_VARIABLE = "SMARTCONNECT_SANDBOX_KEEP"


def cache_folder() -> Path:
    """`SMARTCONNECT_CACHE`, or `~/.cache/smart-connect`; made if it is missing."""
    chosen = os.environ.get(CACHE_VARIABLE)
    folder = Path(chosen) if chosen else Path.home() / ".cache" / "smart-connect"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SandboxFailed(
            f"The cache folder {folder} cannot be made ({error.strerror}); set {CACHE_VARIABLE} to a folder you may write."
        ) from error
    return folder.resolve()


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the machine-wide lock `name`; blocks the thread until it is free."""
    folder = cache_folder() / "locks"
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def install_once(entry: str, build: Callable[[Path], None]) -> Path:
    """The folder `entry` of the cache, made by `build(staging folder)` if it is not there yet. Blocks; use a thread.

    An exception of `build` leaves no entry behind, so the next call tries again.
    """
    target = cache_folder() / entry
    if target.is_dir():
        return target
    with locked(entry.replace("/", "-")):
        if target.is_dir():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            build(staging)
            staging.rename(target)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
    return target


@asynccontextmanager
async def run_folder(name: str, given: Path | None) -> AsyncIterator[Path]:
    """The folder in which a server runs: `given` (which stays the caller's), or one of the cache, removed at the end.

    It stays if it holds a file `KEEP` by then; with SMARTCONNECT_SANDBOX_KEEP=failed an exception in the context puts one there.
    """
    if given is not None:
        yield await asyncio.to_thread(_made, given)
        return
    folder = await asyncio.to_thread(new_run_folder, name)
    try:
        yield folder
    except BaseException:
        if os.environ.get(KEEP_VARIABLE) == "failed":
            keep(folder)
        raise
    finally:
        if not is_kept(folder):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def new_run_folder(name: str) -> Path:
    """A folder of its own for one server or cluster that was not given one by its caller."""
    parent = _runs()
    parent.mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))


def keep(folder: Path) -> None:
    """Have the run folder outlive its server: somebody will want to read the logs. The file holds the pid of who wants it."""
    (folder / "KEEP").write_text(str(os.getpid()))


def is_kept(folder: Path) -> bool:
    """Whether `keep` was called for the folder."""
    return (folder / "KEEP").exists()


def kept_run_folders() -> list[Path]:
    """All run folders with a `KEEP`, of whatever process, oldest first."""
    marks = sorted(_runs().glob("*/KEEP"), key=lambda mark: mark.stat().st_mtime)
    return [mark.parent for mark in marks]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def _runs() -> Path:
    return cache_folder() / "run"
