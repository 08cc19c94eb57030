"""Where the commands call and as whom: options, then the environment, then the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartconnect.cli.client import SigningKey, Token
from smartconnect.cli.tasks.target import Place, Wish, target_of
from smartconnect.domain.errors import SettingsInvalid

FILE = """
[api]
listen = "0.0.0.0:8443"
behind_proxy = true
[[api.access_keys]]
access_key = "AK"
secret_key = "SK"
[[instances]]
id = "one"
project_id = "p1"
name = "orders"
bootstrap_servers = "h:1"
[[instances]]
id = "two"
project_id = "p2"
bootstrap_servers = "h:2"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "smart-connect.toml"
    path.write_text(FILE)
    return path


def test_the_file_alone_is_enough(file: Path) -> None:
    target = target_of(Wish(file), {})
    assert target.endpoint == "http://127.0.0.1:8443"
    assert isinstance(target.caller, SigningKey)
    assert target.caller.access_key == "AK"
    assert target.places == [Place("p1", "one"), Place("p2", "two")]


def test_an_instance_is_found_by_its_name(file: Path) -> None:
    assert target_of(Wish(file, instance="orders"), {}).places == [Place("p1", "one")]


def test_the_environment_goes_before_the_file_and_options_before_the_environment(file: Path) -> None:
    variables = {"SMARTCONNECT_ENDPOINT": "http://env:1", "SMARTCONNECT_TOKEN": "t"}
    assert target_of(Wish(file), variables).endpoint == "http://env:1"
    target = target_of(Wish(file, endpoint="https://option:1"), variables)
    assert target.endpoint == "https://option:1"
    assert isinstance(target.caller, Token)


def test_no_file_is_needed_from_another_machine(tmp_path: Path) -> None:
    variables = {
        "SMARTCONNECT_ENDPOINT": "https://far:1",
        "SMARTCONNECT_ACCESS_KEY": "AK",
        "SMARTCONNECT_SECRET_KEY": "SK",
        "SMARTCONNECT_PROJECT": "p",
        "SMARTCONNECT_INSTANCE": "i",
    }
    target = target_of(Wish(tmp_path / "absent.toml"), variables)
    assert target.places == [Place("p", "i")]


@pytest.mark.parametrize(
    ("wish", "variables", "told"),
    [
        ({}, {"SMARTCONNECT_ACCESS_KEY": "AK"}, "together"),
        ({"instance": "three"}, {}, "no instance is called three"),
    ],
)
def test_what_is_missing_is_said(file: Path, wish: dict[str, str], variables: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsInvalid, match=told):
        target_of(Wish(file, **wish), variables)


def test_without_file_and_options_the_file_is_missed(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="no such file"):
        target_of(Wish(tmp_path / "absent.toml"), {})
