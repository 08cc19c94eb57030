from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from smartconnect.domain.errors import SandboxFailed
from smartconnect.sandbox.cache import cache_folder, install_once, is_kept, keep, run_folder

BUILDER = """
import sys
from pathlib import Path
from smartconnect.sandbox.cache import install_once
def build(staging):
    with open(sys.argv[1], "a") as log:
        log.write("built\\n")
    (staging / "half").touch()
    print("building", flush=True)
    sys.stdin.readline()
    (staging / "whole").touch()
print("asking", flush=True)
print(sorted(file.name for file in install_once("thing/1", build).iterdir()))
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SMARTCONNECT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def builder(log: Path) -> subprocess.Popen[str]:
    """A process that has begun to ask for the entry; if it is the one that builds it, it waits for a line in the middle."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(log)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "asking\n"
    return process


def test_four_processes_that_need_the_same_entry_build_it_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    builders = [builder(log) for _ in range(4)]
    for process in builders:
        assert process.stdin is not None
        process.stdin.write("go on\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60)[0] for process in builders]
    assert all(output.endswith("['half', 'whole']\n") for output in outputs)
    assert log.read_text() == "built\n"


def test_entry_whose_builder_was_killed_is_built_again(tmp_path: Path, own_cache: Path) -> None:
    log = tmp_path / "log"
    killed = builder(log)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "building\n"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (own_cache / "thing" / "1").exists()
    output, _ = builder(log).communicate("go on\n", timeout=60)
    assert output.endswith("['half', 'whole']\n")


def test_failed_build_leaves_nothing_and_is_tried_again(own_cache: Path) -> None:
    def fail(staging: Path) -> None:
        (staging / "half").touch()
        raise SandboxFailed("no network")

    with pytest.raises(SandboxFailed, match="no network"):
        install_once("thing/2", fail)
    assert list((own_cache / "thing").iterdir()) == []
    assert install_once("thing/2", lambda staging: (staging / "whole").touch()).name == "2"


def test_cache_folder_that_cannot_be_made_is_named_with_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SMARTCONNECT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SandboxFailed, match="SMARTCONNECT_CACHE"):
        cache_folder()


async def test_run_folder_is_removed_unless_it_is_to_be_kept() -> None:
    async with run_folder("gone", None) as gone:
        assert gone.is_dir()
    async with run_folder("kept", None) as kept:
        keep(kept)
    assert not gone.exists()
    assert kept.is_dir()


async def test_run_folder_of_a_failed_test_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTCONNECT_SANDBOX_KEEP", "failed")
    with pytest.raises(AssertionError):
        async with run_folder("failed", None) as folder:
            raise AssertionError
    assert is_kept(folder)
    assert time.time() - (folder / "KEEP").stat().st_mtime < 60


async def test_folder_of_the_caller_stays(tmp_path: Path) -> None:
    async with run_folder("mine", tmp_path / "mine") as folder:
        (folder / "log").touch()
    assert (folder / "log").exists()
