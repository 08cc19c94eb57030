"""A client of the API: signs each call (or sends a token), and turns what comes back into a value or into one sentence. Used by `tasks` and
by `demo`; it speaks the documented API and nothing else, so it works from any machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from smartconnect.domain.errors import SmartConnectError
from smartconnect.domain.secret import Secret
from smartconnect.domain.signature import RawRequest, signed_headers

_TIMEOUT_S: Final = 60.0
_AGENT: Final = "smart-connect"


class ApiUnreachable(SmartConnectError):
    """Nothing that speaks the API answers at the endpoint."""

    code = "api_unreachable"


class ApiRefused(SmartConnectError):
    """The API answered with an error; the sentence is the API's own."""

    code = "api_refused"

    def __init__(self, message: str, *, status: int, error_code: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_code = error_code


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Who calls, by signature."""

    access_key: str
    secret_key: Secret


@dataclass(frozen=True, slots=True)
class Token:
    """Who calls, by token."""

    token: Secret


Caller = SigningKey | Token | None
"""None: the service asks for nothing (`auth = "none"`)."""


class ApiClient:
    """Async context manager. `endpoint` is `http(s)://host:port`; `wall` gives epoch seconds."""

    def __init__(self, endpoint: str, caller: Caller, *, wall: Callable[[], float] = time.time) -> None:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ApiUnreachable(f"{endpoint!r} is no address of an API; it looks like http://127.0.0.1:8080")
        self.endpoint = f"{parts.scheme}://{parts.netloc}"
        self._host, self._caller, self._wall = parts.netloc, caller, wall
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, method: str, path: str, body: object = None) -> Mapping[str, Any]:
        """The parsed answer ({} without a body). `path` begins with "/" and may have a query. ApiRefused, ApiUnreachable."""
        assert self._session is not None
        data = b"" if body is None else json.dumps(body).encode()
        url = URL(self.endpoint + path, encoded=True)
        try:
            async with self._session.request(method, url, data=data, headers=self._headers(method, path, data)) as answer:
                status, text = answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiUnreachable(
                f"no answer from {self.endpoint} ({_reason(error)}); is the service running there? See --endpoint"
            ) from None
        return _parsed(self.endpoint, status, text)

    def _headers(self, method: str, path: str, data: bytes) -> dict[str, str]:
        sent = {"Content-Type": "application/json", "User-Agent": _AGENT}
        match self._caller:
            case Token(token):
                return sent | {"X-Auth-Token": token.reveal()}
            case SigningKey(access_key, secret_key):
                raw_path, _, query = path.partition("?")
                named = {name.lower(): (value,) for name, value in sent.items()} | {"host": (self._host,)}
                request = RawRequest(method, raw_path.encode(), query.encode(), named, data)
                return sent | {"Host": self._host} | signed_headers(request, access_key, secret_key, self._wall())
            case None:
                return sent


def instance_path(project_id: str, instance_id: str) -> str:
    """What the paths of an instance's calls begin with."""
    return f"/v2/{quote(project_id, safe='')}/instances/{quote(instance_id, safe='')}"


def _parsed(endpoint: str, status: int, text: str) -> Mapping[str, Any]:
    try:
        answer = json.loads(text) if text else {}
    except json.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise ApiUnreachable(f"{endpoint} answers {status}, but not as the API does; see --endpoint")
    if status >= 400:
        code = str(answer.get("error_code", ""))
        raise ApiRefused(f"{answer.get('error_msg', 'no reason given')} ({status} {code})", status=status, error_code=code)
    return answer


def _reason(error: Exception) -> str:
    from smartconnect.objectstore.broken_link import reason_of  # the store's client is loaded only when there is something to tell

    return reason_of(error)
