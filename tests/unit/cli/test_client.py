"""What the client signs, the API's verifier accepts; what comes back that is no success is one sentence."""

from __future__ import annotations

import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from smartconnect.api.signing import RawRequest, SignatureRefused, header_text, read_claim, verify
from smartconnect.cli.client import ApiClient, ApiRefused, ApiUnreachable, SigningKey, Token
from smartconnect.domain.secret import Secret
from smartconnect.sandbox.ports import free_port

NOW_S = 1767323045.0
KEY = SigningKey("AK-EXAMPLE", Secret("SK-EXAMPLE"))


async def verified(request: web.Request) -> web.Response:
    """Verify as the API does, from what came over the wire."""
    headers: dict[str, list[str]] = {}
    for name, value in request.raw_headers:
        headers.setdefault(name.decode().lower(), []).append(header_text(value))
    path, _, query = request.raw_path.partition("?")
    received = RawRequest(request.method, path.encode(), query.encode(), headers, await request.read())
    try:
        verify(received, read_claim(received), KEY.secret_key, NOW_S)
    except SignatureRefused as refused:
        return web.json_response({"error_code": "APIGW.0301", "error_msg": str(refused)}, status=401)
    return web.json_response({"method": request.method})


async def served(handler: object) -> TestServer:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)  # type: ignore[arg-type]  # aiohttp's handlers are wider than its stub
    server = TestServer(app)
    await server.start_server()
    return server


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v2/p/instances/i/connector/tasks?offset=3&limit=2", None),
        ("GET", "/v2/p/instances/i/connector/tasks?topic=a%2Fb%20c", None),
        ("POST", "/v2/p/instances/i/connector/tasks", {"task_name": "d1", "text": "ü"}),
        ("PUT", "/v2/p/instances/i/connector/tasks/1/pause", None),
        ("DELETE", "/v2/p/instances/i%2Fj/connector/tasks/1", None),
    ],
)
async def test_a_signed_call_is_accepted(method: str, path: str, body: object) -> None:
    async with await served(verified) as server, ApiClient(str(server.make_url("")), KEY, wall=lambda: NOW_S) as client:
        assert await client.call(method, path, body) == {"method": method}


async def test_a_call_signed_with_another_key_is_refused_in_the_words_of_the_api() -> None:
    other = SigningKey("AK-EXAMPLE", Secret("another"))
    async with await served(verified) as server, ApiClient(str(server.make_url("")), other, wall=lambda: NOW_S) as client:
        with pytest.raises(ApiRefused, match=r"401 APIGW\.0301"):
            await client.call("GET", "/v2/p")


async def test_a_token_is_sent_as_it_is() -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.json_response({"token": request.headers["X-Auth-Token"]})

    async with await served(echo) as server, ApiClient(str(server.make_url("")), Token(Secret("t-1"))) as client:
        assert await client.call("GET", "/") == {"token": "t-1"}


async def test_an_answer_that_is_not_of_the_api_says_so() -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<html>")

    async with await served(page) as server, ApiClient(str(server.make_url("")), None) as client:
        with pytest.raises(ApiUnreachable, match="not as the API does"):
            await client.call("GET", "/")


def test_an_endpoint_that_is_no_address_is_refused() -> None:
    with pytest.raises(ApiUnreachable, match="no address"):
        ApiClient("127.0.0.1:8080", None)


def test_a_caller_never_shows_its_secret() -> None:
    shown = repr(KEY) + repr(Token(Secret("t-1"))) + json.dumps(str(KEY))
    assert "SK-EXAMPLE" not in shown
    assert "t-1" not in shown


async def test_an_address_at_which_nothing_answers_is_told_without_pythons_objects() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    async with ApiClient(address, None) as client:
        with pytest.raises(ApiUnreachable) as told:
            await client.call("GET", "/")
    where = address.removeprefix("http://")
    assert str(told.value) == (
        f"no answer from {address} (no connection to {where}: Connection refused); is the service running there? See --endpoint"
    )


async def test_https_to_a_listener_without_tls_is_told_as_what_it_is() -> None:
    async with await served(verified) as server, ApiClient(f"https://127.0.0.1:{server.port}", None) as client:
        with pytest.raises(ApiUnreachable, match=rf"no TLS with 127\.0\.0\.1:{server.port}: "):
            await client.call("GET", "/")
