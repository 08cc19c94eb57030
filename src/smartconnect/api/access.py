"""Who may call: access keys and tokens of the settings, and what each of them may do (api.md §3). `app.py` makes the directory, anew
whenever the settings are read again.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from smartconnect.control import codes
from smartconnect.control.codes import ApiError
from smartconnect.domain.secret import Secret

ALL_PROJECTS = "*"


class AuthMode(enum.StrEnum):
    """The settings refuse `none` unless the listener is on loopback."""

    AKSK = "aksk"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. `name` stands in audit events and logs: an access key, or a name for a token, never a secret.
    `project_refusal`: what it is told for a project that is not its own."""

    name: str
    project_ids: frozenset[str]
    read_only: bool = False
    project_refusal: ApiError = codes.PROJECT_NOT_ALLOWED

    def may_use(self, project_id: str) -> bool:
        return ALL_PROJECTS in self.project_ids or project_id in self.project_ids


ANYBODY = Principal(name="anonymous", project_ids=frozenset({ALL_PROJECTS}))


@dataclass(frozen=True, slots=True)
class AccessKey:
    """One of `[[api.access_keys]]`."""

    access_key: str
    secret_key: Secret
    project_ids: frozenset[str]
    read_only: bool = False

    def principal(self) -> Principal:
        return Principal(self.access_key, self.project_ids, self.read_only)


@dataclass(frozen=True, slots=True)
class ApiToken:
    """One of `[[api.tokens]]`, known by its SHA-256 alone. `expires_at`: epoch ms, None: never."""

    digest: bytes = field(repr=False)
    project_ids: frozenset[str]
    read_only: bool = False
    expires_at: int | None = None

    @classmethod
    def of(cls, token: Secret, project_ids: frozenset[str], *, read_only: bool = False, expires_at: int | None = None) -> ApiToken:
        return cls(token_digest(token.reveal()), project_ids, read_only, expires_at)

    def principal(self) -> Principal:
        name = f"token-{self.digest.hex()[:8]}"
        return Principal(name, self.project_ids, self.read_only, project_refusal=codes.TOKEN_PROJECT)


def token_digest(token: str) -> bytes:
    """What tokens are compared by."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class AccessDirectory:
    """All callers. `decoy`: a random secret that signatures of unknown access keys are compared with, so that they take as long."""

    mode: AuthMode
    keys: Mapping[str, AccessKey]
    tokens: Sequence[ApiToken]
    decoy: Secret
