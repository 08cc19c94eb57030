"""Requests of one bucket: addressed, signed, sent, and their answers made into results or errors. Used by `ObjectStore` only.

Two troubles are cured here, because they are nobody's decision: a bucket that is answered elsewhere (redirect, other region; at most three
hops) and a clock that is off (the store's `Date`). What was learned is kept for the requests that follow. Everything else is one try.

aiobotocore writes the requests and reads the answers of all operations but part bodies and downloads; it neither signs (the signer must
know the clock's offset and take new keys at once) nor sends (redirects must not be followed with an old signature), nor retries.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import aiohttp
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from smartconnect.domain.clock import Clock
from smartconnect.objectstore import transport
from smartconnect.objectstore.answers import Answer, Subject, error_of
from smartconnect.objectstore.blocks import Blocks
from smartconnect.objectstore.errors import BusyKind, KeyRefused, StoreBusy, StoreError, StoreRefused
from smartconnect.objectstore.model import Observe, StoreCredentials, StoreLocation
from smartconnect.objectstore.outgoing import Outgoing
from smartconnect.objectstore.place import Place, encode_path, encode_query, hint_of, home_of, moved
from smartconnect.objectstore.s3client import Ways
from smartconnect.objectstore.signing import Signer
from smartconnect.objectstore.transport import LinkBroken, Transport

T = TypeVar("T")

_MAX_HOPS: Final = 3
# Stores accept 15 minutes. A refusal without a word (HEAD, presigned URLs) is put down to the clock from here on.
_SUSPICIOUS_SKEW_S: Final = 300.0
_WRONG_REGION: Final = frozenset(
    {"AuthorizationHeaderMalformed", "AuthorizationQueryParametersError", "IllegalLocationConstraintException"}
)


class _Refused(Exception):
    """The store answered, and not with a success."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Direct:
    """A request with a presigned URL, past botocore: a part's body, a download. `headers` are signed and sent as given."""

    operation: str
    method: str
    key: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    blocks: Blocks | None = field(default=None, repr=False)


class Wire:
    """Open between `open` and `close`. All calls raise the errors of `errors.py` only."""

    def __init__(self, location: StoreLocation, bucket: str, *, clock: Clock, observe: Observe) -> None:
        self.bucket = bucket
        self.timeouts = location.timeouts
        self.credentials = StoreCredentials("", "")
        self._ca_file = location.ca_file
        self._clock = clock
        self._observe = observe
        self._home = self._place = home_of(location, bucket)
        self._offset_s = 0.0
        self._base_urls: dict[Place, str] = {}
        self._transport: Transport | None = None

    @property
    def https(self) -> bool:
        """True if bytes are protected on their way by TLS."""
        return self._home.endpoint.startswith("https:")

    async def open(self) -> None:
        """Take a share of the process's connections."""
        try:
            self._transport = await transport.acquire(https=self.https, ca_file=self._ca_file)
        except OSError as error:
            reason = f"CA file {self._ca_file} of {self._home.endpoint} cannot be used ({error.strerror}); correct ca_file"
            raise StoreRefused(reason, store_code="InvalidCaFile") from None

    async def close(self) -> None:
        """Give it back."""
        held, self._transport = self._transport, None
        if held is not None:
            await held.release()

    async def call(self, operation: str, *, key: str = "", **params: Any) -> dict[str, Any]:
        """An operation of botocore (snake case) on this bucket and `key`; its parsed answer."""
        if key:
            params["Key"] = key

        async def attempt(place: Place) -> dict[str, Any]:
            client = await self._link().client(place)
            ways = Ways(lambda request: self._sign(place, request), self._send)
            return await client.call(operation, {"Bucket": self.bucket, **params}, ways)

        name = "".join(word.title() for word in operation.split("_"))
        return await self._cured(self._subject(name, key), 0, attempt)

    async def exchange(self, direct: Direct) -> Answer:
        """A presigned request and its whole answer, a success."""

        async def attempt(place: Place) -> Answer:
            answer = await self._link().exchange(await self._presigned(place, direct), self.timeouts)
            if answer.is_error():
                raise _Refused(answer)
            return answer

        nbytes = direct.blocks.nbytes if direct.blocks is not None else 0
        return await self._cured(self._subject(direct.operation, direct.key), nbytes, attempt)

    @asynccontextmanager
    async def download(self, direct: Direct) -> AsyncIterator[AsyncIterator[bytes]]:
        """A presigned GET; the chunks of its body as they come. An error in mid-body is `StoreBusy`."""
        subject = self._subject(direct.operation, direct.key)

        async def attempt(place: Place) -> aiohttp.ClientResponse:
            response = await self._link().open(await self._presigned(place, direct), self.timeouts)
            if response.status >= 300:
                raise _Refused(await transport.read_answer(response, self.timeouts))
            return response

        response = await self._cured(subject, 0, attempt)
        try:
            yield self._chunks(subject, response)
        finally:
            response.close()

    async def _chunks(self, subject: Callable[[Place], Subject], response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        try:
            async for chunk in transport.chunks(response, self.timeouts.stall):
                yield chunk
        except LinkBroken as broken:
            raise _busy(subject(self._place), broken) from None

    async def _cured(self, subject: Callable[[Place], Subject], nbytes: int, attempt: Callable[[Place], Awaitable[T]]) -> T:
        hops = 0
        while True:
            place, started = self._place, self._clock.monotonic()
            about = subject(place)
            cure: str | None = None
            error: StoreError | None = None
            try:
                result = await attempt(place)
            except LinkBroken as broken:
                # A learned place may be gone; where the settings point to is the way back.
                self._place = self._home
                error = _busy(about, broken)
            except _Refused as refused:
                cure = self._learn(place, refused.answer) if hops < _MAX_HOPS else None
                error = error_of(refused.answer, about)
            except (BotoCoreError, ClientError, ValueError) as failed:
                error = _unusable(about, failed)
            outcome = cure or ("ok" if error is None else _outcome(error))
            self._observe(about.operation, outcome, self._clock.monotonic() - started, nbytes)
            if error is None:
                return result
            if cure is None:
                raise error from None
            hops += 1

    def _learn(self, place: Place, answer: Answer) -> str | None:
        """Take from a refusal where and when it really is; None if that is not its reason."""
        fields = answer.fields()
        code = fields.get("Code", "")
        if 300 <= answer.status < 400 or code in _WRONG_REGION or (answer.status == 400 and not answer.body):
            there = moved(place, self.bucket, hint_of(answer.headers, fields))
            if there is not None:
                self._place = there
                return "redirected"
        date_s = answer.date_s()
        if answer.status in (400, 401, 403) and date_s is not None:
            offset = date_s - self._clock.wall()
            threshold = 1.0 if code == "RequestTimeTooSkewed" else _SUSPICIOUS_SKEW_S
            if abs(offset - self._offset_s) > threshold:
                self._offset_s = offset
                return "clock_skewed"
        return None

    async def _base_url(self, place: Place) -> str:
        if place not in self._base_urls:
            client = await self._link().client(place)
            self._base_urls[place] = await client.base_url(self.bucket)
        return self._base_urls[place]

    def _sign(self, place: Place, request: AWSRequest) -> None:
        Signer(self.credentials, place.region).sign(request, self._now_s())

    async def _send(self, operation: str, request: AWSPreparedRequest) -> Answer:
        answer_s = self.timeouts.complete if operation == "CompleteMultipartUpload" else self.timeouts.answer
        # Bodies here are small: nothing is gained by asking first whether they are wanted.
        headers = {name: _text(value) for name, value in request.headers.items() if name.lower() != "expect"}
        out = Outgoing(str(request.method), str(request.url), headers, data=_bytes(request.body), answer_s=answer_s)
        answer = await self._link().exchange(out, self.timeouts)
        if answer.is_error():
            raise _Refused(answer)
        return answer

    async def _presigned(self, place: Place, direct: Direct) -> Outgoing:
        base = await self._base_url(place)
        query = "&".join(f"{encode_query(name)}={encode_query(value)}" for name, value in direct.query.items())
        url = f"{base}/{encode_path(direct.key)}" + (f"?{query}" if query else "")
        headers = dict(direct.headers)
        signed = Signer(self.credentials, place.region).presign(direct.method, url, headers, self._now_s())
        return Outgoing(direct.method, signed, headers, blocks=direct.blocks, answer_s=self.timeouts.answer)

    def _link(self) -> Transport:
        if self._transport is None:
            raise LinkBroken(BusyKind.DISCONNECTED, "the client is closed")
        return self._transport

    def _now_s(self) -> float:
        return self._clock.wall() + self._offset_s

    def _subject(self, operation: str, key: str) -> Callable[[Place], Subject]:
        keys = self.credentials
        return lambda place: Subject(operation, self.bucket, key, place.endpoint, (keys.access_key, keys.secret_key))


def _busy(subject: Subject, broken: LinkBroken) -> StoreBusy:
    return StoreBusy(
        f"{subject} failed: {broken.reason}; if it lasts, check the store and the way to it",
        kind=broken.kind,
        store_code=broken.kind.value,
    )


def _unusable(subject: Subject, error: Exception) -> StoreError:
    # Answers that are errors never reach botocore: what it calls one is a 200 that it cannot read.
    if isinstance(error, ResponseParserError | ClientError):
        return StoreBusy(
            f"{subject} got an answer that is no S3 answer; check the endpoint", kind=BusyKind.UNREADABLE, store_code="unreadable"
        )
    said = subject.clean(str(error))
    return KeyRefused(f"{subject} cannot be asked for: {said}", store_code=type(error).__name__)


def _outcome(error: StoreError) -> str:
    return error.kind.value if isinstance(error, StoreBusy) else error.store_code


def _bytes(body: object) -> bytes | None:
    """What botocore has written: XML, or the few bytes of a probe, which it wraps."""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, io.IOBase):
        return bytes(body.read())
    return bytes(body) if isinstance(body, bytes | bytearray) else None


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
