"""No answer and no event quotes a secret that the call was given, in whatever field it was typed: a secret key pasted into the field of
the bucket comes back as stars (api.md §8). Whoever reads a body that may hold secrets works inside `unquoted`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote

from smartconnect.control.refusals import Refusal
from smartconnect.domain.fields import MAX_QUOTED
from smartconnect.domain.secret import Secret
from smartconnect.telemetry.redaction import SHORTEST, STARS, Redactor, names_a_secret

_CUT: Final = "…"


class Unquoted:
    """Takes a set of secrets out of texts, also where they are escaped, or cut short by `domain.fields.quoted`."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._forms = {form for secret in secrets if secret for form in _forms(secret)}
        self._redactor = Redactor()
        self._redactor.register(Secret(form) for form in self._forms)

    def clean(self, text: str) -> str:
        """The text without them."""
        cleaned = self._redactor.clean_text(text)
        if _CUT not in cleaned:
            return cleaned
        *cut, rest = cleaned.split(_CUT)
        return _CUT.join([*(self._without_beginning(part) for part in cut), rest])

    def _without_beginning(self, text: str) -> str:
        """Of a value that was cut in the middle of a secret, the secret's beginning is left at the end."""
        for length in range(MAX_QUOTED, SHORTEST - 1, -1):
            if any(len(form) > length and text.endswith(form[:length]) for form in self._forms):
                return text[:-length] + STARS
        return text


@contextmanager
def unquoted(body: Mapping[str, object], stored: Mapping[str, Secret] | None = None) -> Iterator[Unquoted]:
    """Refusals leave this cleaned of the secrets of the request and of those stored; events have to be cleaned by who makes them."""
    hidden = Unquoted([*_secrets_in(body), *(secret.reveal() for secret in (stored or {}).values())])
    try:
        yield hidden
    except Refusal as refusal:
        raise refusal.cleaned(hidden.clean) from None


def _secrets_in(value: object, *, named: bool = False) -> Iterator[str]:
    """Every text that stands under a name of a secret, however deep."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _secrets_in(item, named=named or names_a_secret(str(name)))
    elif isinstance(value, list):
        for item in value:
            yield from _secrets_in(item, named=named)
    elif isinstance(value, str) and named:
        yield value


def _forms(secret: str) -> Iterator[str]:
    """How it may stand in a message: as it is, as JSON, in a URL. One that is too short to be told from a word: only as a whole value."""
    if len(secret) < SHORTEST:
        yield json.dumps(secret, ensure_ascii=False)
        return
    yield secret
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield json.dumps(secret)[1:-1]
    yield quote(secret, safe="")
