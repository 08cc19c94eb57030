"""`doctor` looks at the settings file as it is: a warning must be true, and a script gets a line for each finding."""

from __future__ import annotations

from pathlib import Path

from pytest import MonkeyPatch
from typer.testing import CliRunner

from smartconnect.cli.main import build

WITH_VARIABLE = '[[api.access_keys]]\naccess_key = "AK"\nsecret_key_env = "OF_THE_TEST"\n'
WITH_SECRET = '[[api.access_keys]]\naccess_key = "AK"\nsecret_key = "SK-text"\n'


def first_finding(folder: Path, text: str) -> str:
    config = folder / "smart-connect.toml"
    config.write_text(f'{text}[registry]\nurl = "sqlite:///{folder}/absent.db"\n')
    config.chmod(0o644)
    return CliRunner().invoke(build(), ["doctor", "--config", str(config)]).output.splitlines()[0]


def test_a_file_that_names_variables_only_may_be_read_by_everybody(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_TEST", "SK-text")
    told = first_finding(tmp_path, WITH_VARIABLE)
    assert " ".join(told.split()) == "holds the settings 0 instances, listens on 127.0.0.1:8080"


def test_a_secret_in_a_file_that_everybody_can_read_is_a_warning_on_one_line(tmp_path: Path) -> None:
    told = first_finding(tmp_path, WITH_SECRET)
    assert told.startswith("warning   the settings ")
    assert "(api.access_keys[0].secret_key)" in told
    assert told.endswith(f"(mode 0644); chmod 600 {tmp_path}/smart-connect.toml")
    assert "SK-text" not in told
