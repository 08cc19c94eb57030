"""Request bodies: counted while they are read, and parsed as JSON whatever the Content-Type says (api.md §2). What JSON allows and
nothing behind us could bear is refused here: NUL, lone surrogates, NaN, deep nesting, integers beyond 64 bits.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Mapping
from typing import Never

from smartconnect.control import codes
from smartconnect.control.refusals import Refusal
from smartconnect.domain.problems import Problem

MAX_BODY = 1 << 20
MAX_DRAIN = 12 << 20
"""How much of a body that is too large is still read, and thrown away, so that the client gets to see the answer."""

MAX_NESTING = 32
MAX_INTEGER = (1 << 63) - 1
_TOO_LARGE = 1 << 64


async def read_body(chunks: AsyncIterator[bytes]) -> bytes:
    """The whole body, at most 1 MiB; 413 for more."""
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > MAX_DRAIN:
            break
        if size <= MAX_BODY:
            parts.append(chunk)
    if size > MAX_BODY:
        raise Refusal(codes.BODY_TOO_LARGE)
    return b"".join(parts)


def optional_object(body: bytes) -> Mapping[str, object]:
    """As `parsed_object`; an absent body is an empty object."""
    return parsed_object(body) if body.strip() else {}


def parsed_object(body: bytes) -> Mapping[str, object]:
    """The JSON object of a body; refuses an empty one, and whatever is no object."""
    if not body.strip():
        raise Refusal(codes.BODY_EMPTY)
    try:
        text = body.decode("utf-8-sig")
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_bounded)
    except (ValueError, RecursionError):
        raise Refusal(codes.BODY_FORM) from None
    if not isinstance(value, dict):
        raise Refusal(codes.BODY_FORM, [Problem("", "the body must be a JSON object")])
    _check(value, "", 1)
    return value


def _refuse_constant(name: str) -> Never:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _bounded(text: str) -> int:
    return int(text) if len(text) <= 20 else _TOO_LARGE


def _check(value: object, key: str, depth: int) -> None:
    """Walk the value; `key` names where we are: "sink_task.obs_path"."""
    if depth > MAX_NESTING:
        raise Refusal(codes.BODY_FORM, [Problem(key, f"is nested deeper than {MAX_NESTING}")])
    if isinstance(value, str):
        if not _is_clean(value):
            raise Refusal(codes.BODY_CHARACTERS, key=key)
    elif isinstance(value, dict):
        for name, item in value.items():
            inner = f"{key}.{_printable(name)}" if key else _printable(name)
            if not _is_clean(name):
                raise Refusal(codes.BODY_CHARACTERS, key=inner)
            _check(item, inner, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, key, depth + 1)
    elif isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise Refusal(codes.INVALID_PARAMETER, [Problem(key, "must fit into 64 bits")])


def _is_clean(text: str) -> bool:
    return "\0" not in text and (text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text))


def _printable(name: str) -> str:
    return name[:64].encode("ascii", "backslashreplace").decode().replace("\0", "\\0")
