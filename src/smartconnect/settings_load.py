"""Makes `Settings` of a TOML file and the environment. Every problem is collected and reported with its key; nothing is half
applied. Called by the entry of each process and by `settings_watch`.

A variable `SMARTCONNECT_<SECTION>__<KEY>` (`SMARTCONNECT_REGISTRY__URL`) goes before the file; lists are written as JSON.
`<secret>_env` names a variable, `<secret>_file` a file whose text (without the line's end) is the secret.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from smartconnect.domain.errors import SettingsInvalid
from smartconnect.domain.secret import Secret
from smartconnect.settings import Section, Settings, rule_problems

PREFIX: Final = "SMARTCONNECT_"
DEFAULT_FILE: Final = Path("smart-connect.toml")
_HASH_ROUNDS: Final = 20_000

Raw = dict[str, Any]


def load(path: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Read, overlay, resolve secrets, check. SettingsInvalid names the file and every problem."""
    variables = os.environ if environment is None else environment
    raw = _read(path)
    problems: list[str] = []
    _overlay(raw, variables, problems)
    _resolve_secrets(Settings, raw, "", variables, problems)
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        problems += _sentences(error)
    else:
        problems += rule_problems(settings)
    if settings is None or problems:
        raise SettingsInvalid(f"{path}: " + "; ".join(problems))
    return settings


def secrets_of(settings: BaseModel) -> Iterator[Secret]:
    """Every secret in the settings, for the log's redaction."""
    for value in dict(settings).values():
        for item in value if isinstance(value, tuple) else value.values() if isinstance(value, dict) else (value,):
            if isinstance(item, Secret):
                if item:
                    yield item
            elif isinstance(item, BaseModel):
                yield from secrets_of(item)


def secrets_in_file(path: Path) -> Sequence[str]:
    """The keys whose secrets stand in the file itself, not behind `<key>_env` or `<key>_file`. SettingsInvalid if it cannot be read."""
    return list(_plain_secrets(Settings, _read(path), ""))


def fingerprint(settings: Settings) -> str:
    """12 hex digits that differ when anything differs, secrets included. Secrets enter through a slow hash, salted with the rest,
    so that the fingerprint, which logs and metrics show, is no way to try passwords."""
    public = json.dumps(settings.model_dump(mode="json"), sort_keys=True).encode()
    secrets = "\0".join(secret.reveal() for secret in secrets_of(settings)).encode()
    slow = hashlib.pbkdf2_hmac("sha256", secrets, hashlib.sha256(public).digest(), _HASH_ROUNDS)
    return hashlib.sha256(public + slow).hexdigest()[:12]


def _read(path: Path) -> Raw:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsInvalid(f"{path}: there is no such file; name it with --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsInvalid(f"{path}: is not TOML: {error}") from error


def _overlay(raw: Raw, variables: Mapping[str, str], problems: list[str]) -> None:
    for name in sorted(variables):
        if not name.startswith(PREFIX) or "__" not in name:
            continue
        section, _, key = name.removeprefix(PREFIX).lower().partition("__")
        field = Settings.model_fields.get(section)
        if field is None or section in ("instances", "redis_instances"):
            problems.append(f"{name}: there is no section {section!r} that a variable can set")
            continue
        target = raw.setdefault(section, {})
        if isinstance(target, dict):
            *parents, last = key.split("__")
            for parent in parents:
                target = target.setdefault(parent, {})
            target[last] = _value(variables[name])


def _value(text: str) -> object:
    if text.startswith(("[", "{")):
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text
    return text


def _secret_keys(model: type[BaseModel]) -> list[str]:
    return [name for name, field in model.model_fields.items() if field.annotation is Secret]


def _sections(model: type[BaseModel]) -> Iterator[tuple[str, type[Section]]]:
    for name, field in model.model_fields.items():
        for candidate in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, Section):
                yield name, candidate


def _resolve_secrets(model: type[BaseModel], raw: Raw, at: str, variables: Mapping[str, str], problems: list[str]) -> None:
    """Replace `<key>_env` and `<key>_file` in the raw tree by `<key>`; keys that the model itself has (`key_file`) are left alone."""
    for key in _secret_keys(model):
        ways = [way for way in (f"{key}_env", f"{key}_file") if way in raw and way not in model.model_fields]
        if len(ways) + (key in raw) > 1:
            problems.append(f"{at}{key}: is given in more than one way ({', '.join(ways)})")
        for way in ways:
            text = _secret_text(way, str(raw.pop(way)), f"{at}{way}", variables, problems)
            raw.setdefault(key, Secret(text))
    for section, item, place in _items(model, raw, at):
        _resolve_secrets(section, item, place, variables, problems)


def _plain_secrets(model: type[BaseModel], raw: Raw, at: str) -> Iterator[str]:
    yield from (f"{at}{key}" for key in _secret_keys(model) if raw.get(key))
    for section, item, place in _items(model, raw, at):
        yield from _plain_secrets(section, item, place)


def _items(model: type[BaseModel], raw: Raw, at: str) -> Iterator[tuple[type[Section], Raw, str]]:
    """The sections below one, with what the keys in each begin with."""
    for name, section in _sections(model):
        value = raw.get(name)
        for number, item in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(item, dict):
                yield section, item, f"{at}{name}[{number}]." if isinstance(value, list) else f"{at}{name}."


def _secret_text(way: str, source: str, place: str, variables: Mapping[str, str], problems: list[str]) -> str:
    if way.endswith("_env"):
        if source not in variables:
            problems.append(f"{place}: the environment has no variable {source}")
        return variables.get(source, "")
    try:
        return Path(source).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{place}: {source} cannot be read: {type(error).__name__}")
        return ""


def _sentences(error: ValidationError) -> list[str]:
    """pydantic's findings in our form: key, then what is wrong. Values are left out: they may be secrets."""
    return [
        f"{_place(item['loc'])}: {_what(item['type'], item['msg'])}"
        for item in error.errors(include_input=False, include_url=False)
    ]


def _what(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "there is no such key"
    if kind == "missing":
        return "is needed"
    return message[:1].lower() + message[1:]


def _place(location: tuple[int | str, ...]) -> str:
    place = ""
    for step in location:
        place += f"[{step}]" if isinstance(step, int) else f".{step}" if place else step
    return place
