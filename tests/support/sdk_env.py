"""The official SDKs, unmodified, each version in a virtual environment of its own that is kept in the cache; and a way to run a script
in it. Their dependencies are pinned with hashes in `requirements/sdk-<version>.txt`; a changed pin makes a new environment.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from smartconnect.sandbox.cache import install_once

SDK_VERSIONS = ("3.1.146", "3.1.219")
ROOT = Path(__file__).resolve().parents[2]
_INSTALL_S = 600
_TOO_LONG_S = 240


def sdk_python(version: str) -> Path:
    """The interpreter of the environment with this SDK version; made at the first call, which takes a minute."""
    requirements = ROOT / "requirements" / f"sdk-{version}.txt"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = install_once(f"sdk/{version}-{digest}", lambda staging: _install(staging, requirements))
    return folder / "bin" / "python"


def _install(folder: Path, requirements: Path) -> None:
    venv.create(folder, with_pip=True, symlinks=True)
    command = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--require-hashes", "-r", requirements]
    subprocess.run(command, check=True, timeout=_INSTALL_S)


def run_in_sdk(version: str, script: Path, given: dict[str, Any]) -> Any:
    """Run `script` with `given` as JSON on its standard input; its standard output is the JSON answer. Raises AssertionError with
    what it wrote to standard error if it fails."""
    done = subprocess.run(
        [sdk_python(version), str(script)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=_TOO_LONG_S,
        check=False,
        env={**os.environ, "PYTHONPATH": "", "NO_PROXY": "127.0.0.1"},
    )
    assert done.returncode == 0, f"{script.name} with SDK {version} failed:\n{done.stderr}"
    return json.loads(done.stdout)
