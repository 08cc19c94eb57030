"""`keys` works on the registry of a service and makes none."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from smartconnect.cli.main import build
from smartconnect.domain.errors import SettingsInvalid


@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+aiosqlite"])
def test_rotating_keys_where_there_is_no_registry_makes_none(tmp_path: Path, scheme: str) -> None:
    config = tmp_path / "smart-connect.toml"
    config.write_text(
        f'[api]\nauth = "none"\n[registry]\nurl = "{scheme}:///{tmp_path}/absent.db"\nkey_file = "{tmp_path}/absent.key"\n'
    )
    ended = CliRunner().invoke(build(), ["keys", "rotate", "--config", str(config)])
    assert isinstance(ended.exception, SettingsInvalid)
    assert [file.name for file in tmp_path.iterdir()] == ["smart-connect.toml"]
