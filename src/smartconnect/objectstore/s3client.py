"""A botocore client reduced to what it does best: it writes S3 requests and reads S3 answers. Signing and sending are handed in. Used by
the wire; the transport keeps one for each place.

The first client of a process loads botocore's model of S3 (≈ 15 MB and a third of a second, in a thread); those for other places
share it and cost ≈ 0.5 MB and a few milliseconds. Nothing of the user's AWS environment (profiles, files, variables) has a say.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest, AWSRequest

from smartconnect.objectstore.answers import Answer
from smartconnect.objectstore.place import Place

_SOME_KEY: Final = "k"


@dataclass(frozen=True, slots=True)
class Ways:
    """How the calls of one store are signed and sent: `send(operation, request)` returns a success or raises."""

    sign: Callable[[AWSRequest], None]
    send: Callable[[str, AWSPreparedRequest], Awaitable[Answer]]


# botocore's events know nothing of their caller; they run in its task.
_ways: ContextVar[Ways] = ContextVar("ways of the store that calls")


class _Body:
    """What botocore reads an answer's body from."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        return self._body


class S3Client:
    """Operations at one place, for all stores that are answered there: each call brings its own `sign` and `send`."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._client: Any = None

    async def open(self, place: Place) -> S3Client:
        """Make the client. Raises `BotoCoreError`, `ValueError`."""
        await asyncio.to_thread(_load_model)
        self._client = await self._stack.enter_async_context(_making(place))
        events = self._client.meta.events
        events.register("request-created.s3", _on_created)
        events.register_first("before-send.s3", _on_send)
        return self

    async def close(self) -> None:
        """Forget the client; the connections are not its own."""
        await self._stack.aclose()

    async def base_url(self, bucket: str) -> str:
        """The bucket's URL without a slash at its end, as the client makes it: presigned requests go where all others go."""
        url = await self._client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": _SOME_KEY})
        return str(url).split("?")[0].removesuffix(f"/{_SOME_KEY}")

    async def call(self, operation: str, params: Mapping[str, Any], ways: Ways) -> dict[str, Any]:
        """One request; `operation` is the method's name in snake case. Raises what `ways.send` raises, and `BotoCoreError`."""
        token = _ways.set(ways)
        try:
            result: dict[str, Any] = await getattr(self._client, operation)(**params)
        finally:
            _ways.reset(token)
        return result


def _on_created(request: AWSRequest, operation_name: str, **_: Any) -> None:
    if not request.context.get("is_presign_request"):
        _ways.get().sign(request)


async def _on_send(request: AWSPreparedRequest, event_name: str, **_: Any) -> AioAWSResponse:
    answer = await _ways.get().send(event_name.rsplit(".", 1)[-1], request)
    return AioAWSResponse(request.url, answer.status, dict(answer.headers), _Body(answer.body))


@functools.cache
def _load_model() -> None:
    """Make one client on a loop of its own, in a thread: what it has loaded and compiled then no longer holds up the loop."""

    async def make() -> None:
        async with _making(Place("http://localhost", "", virtual=False)):
            return

    asyncio.run(make())


def _making(place: Place) -> AbstractAsyncContextManager[Any]:
    making: AbstractAsyncContextManager[Any] = _session().create_client(
        "s3",
        endpoint_url=place.endpoint,
        region_name=place.region or "us-east-1",
        aws_access_key_id="signed",
        aws_secret_access_key="elsewhere",  # noqa: S106 - no secret: keeps botocore from looking for one
        config=_config(place),
    )
    return making


def _config(place: Place) -> AioConfig:
    return AioConfig(
        signature_version=UNSIGNED,
        # Otherwise every body is sent as aws-chunked with a trailer, and OBS refuses its content-sha256.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"total_max_attempts": 1, "mode": "standard"},
        s3={"addressing_style": "virtual" if place.virtual else "path"},
    )


@functools.cache
def _session() -> AioSession:
    """The process's only botocore session: its loader holds the model that all clients share."""
    nothing = (None, None, None, None)
    nowhere = (None, None, os.devnull, None)
    session = AioSession(session_vars={"profile": nothing, "config_file": nowhere, "credentials_file": nowhere})
    # Its debug lines show signatures.
    logging.getLogger("botocore").setLevel(logging.INFO)
    return session
