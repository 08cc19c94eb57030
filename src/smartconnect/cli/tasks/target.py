"""Where the commands call and as whom: options first, then the environment, then the settings file, so that they work from any machine.
The file is read only for what the other two leave open.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smartconnect.cli.client import Caller, SigningKey, Token
from smartconnect.domain.errors import SettingsInvalid
from smartconnect.domain.secret import Secret
from smartconnect.settings import ApiSettings, Settings
from smartconnect.settings_load import load

ENDPOINT: Final = "SMARTCONNECT_ENDPOINT"
ACCESS_KEY: Final = "SMARTCONNECT_ACCESS_KEY"
SECRET_KEY: Final = "SMARTCONNECT_SECRET_KEY"  # noqa: S105 the name of a variable
TOKEN: Final = "SMARTCONNECT_TOKEN"  # noqa: S105 the name of a variable
PROJECT: Final = "SMARTCONNECT_PROJECT"
INSTANCE: Final = "SMARTCONNECT_INSTANCE"
_ANY_HOST: Final = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 as found in settings, never bound here


@dataclass(frozen=True, slots=True)
class Place:
    """One instance that may have the task."""

    project_id: str
    instance_id: str


@dataclass(frozen=True, slots=True)
class Target:
    """`places` is never empty."""

    endpoint: str
    caller: Caller
    places: Sequence[Place]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the options say; empty: not given."""

    config: Path
    endpoint: str = ""
    project: str = ""
    instance: str = ""


def target_of(wish: Wish, environment: Mapping[str, str] | None = None) -> Target:
    """SettingsInvalid where something is missing; the sentence says how to give it."""
    variables = os.environ if environment is None else environment
    project, instance = wish.project or variables.get(PROJECT, ""), wish.instance or variables.get(INSTANCE, "")
    endpoint, caller = wish.endpoint or variables.get(ENDPOINT, ""), _caller_of(variables)
    complete = endpoint and caller is not None and project and instance
    settings = None if complete else load(wish.config)
    if settings is not None:
        endpoint = endpoint or _endpoint_of(settings.api)
        caller = caller or _first_caller(settings.api)
    places = [Place(project, instance)] if project and instance else _places(settings, instance)
    return Target(endpoint, caller, places)


def _caller_of(variables: Mapping[str, str]) -> Caller:
    access_key, secret_key = variables.get(ACCESS_KEY, ""), variables.get(SECRET_KEY, "")
    if bool(access_key) != bool(secret_key):
        raise SettingsInvalid(f"{ACCESS_KEY} and {SECRET_KEY} are needed together")
    if access_key:
        return SigningKey(access_key, Secret(secret_key))
    token = variables.get(TOKEN, "")
    return Token(Secret(token)) if token else None


def _first_caller(api: ApiSettings) -> Caller:
    if api.access_keys:
        return SigningKey(api.access_keys[0].access_key, api.access_keys[0].secret_key)
    return Token(api.tokens[0].token) if api.tokens else None


def _endpoint_of(api: ApiSettings) -> str:
    host, port = api.address()
    host = _ANY_HOST.get(host, host)
    return f"{'https' if api.tls_cert_file else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _places(settings: Settings | None, instance: str) -> Sequence[Place]:
    known = [] if settings is None else settings.instances
    places = [Place(item.project_id, item.id) for item in known if instance in ("", item.id, item.name)]
    if not places:
        missing = f"no instance is called {instance}" if instance else "there is no [[instances]]"
        raise SettingsInvalid(f"{missing} in the settings file; name one with --project and --instance")
    return places
