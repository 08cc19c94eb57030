"""Random requests signed by the SDK's own signer are verified by ours (api.md §10.2)."""

from __future__ import annotations

import base64
import random
from pathlib import Path

import pytest

from smartconnect.api.signing import RawRequest, header_text, read_claim, verify
from smartconnect.domain.secret import Secret
from tests.support.sdk_env import SDK_VERSIONS, run_in_sdk

SIGN = Path(__file__).with_name("sdk_sign.py")
ALPHABET = [
    "a",
    "Z",
    "7",
    "/",
    "%2F",
    "%2f",
    "%20",
    "+",
    "~",
    "-",
    "_",
    ".",
    "%25",
    "%C3%A4",
    "*",
    "'",
    "(",
    "%E2%82%AC",
    "=",
    "&",
    "%26",
]
TEXTS = ["", "a", "ä€", "a b", "a+b", "~", "/", "*", "&=", "%2F", "'()", "10"]

pytestmark = pytest.mark.timeout(900)


def requests(count: int, seed: int) -> list[dict[str, object]]:
    rng = random.Random(seed)
    return [
        {
            "method": rng.choice(["GET", "POST", "PUT", "DELETE"]),
            "path": "/v2/" + "".join(rng.choice(ALPHABET) for _ in range(rng.randrange(12))),
            "query": [[rng.choice(TEXTS) or "k", rng.choice(TEXTS)] for _ in range(rng.randrange(4))],
            "headers": {"Content-Type": "application/json", "User-Agent": rng.choice(TEXTS) or "agent"},
            "body": rng.choice(["", "{}", '{"task_name": "ä€"}']),
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("version", SDK_VERSIONS)
def test_what_the_sdk_signs_we_verify(version: str) -> None:
    sent = requests(400, seed=11)
    signed = run_in_sdk(version, SIGN, {"access_key": "AK", "secret_key": "SK", "requests": sent})
    assert len(signed) == len(sent)
    for wanted, made in zip(sent, signed, strict=True):
        path, _, query = made["uri"].partition("?")
        headers = {name.lower(): [header_text(base64.b64decode(value))] for name, value in made["headers"].items()}
        body = base64.b64decode(made["body"])
        request = RawRequest(str(wanted["method"]), path.encode(), query.encode(), headers, body)
        claim = read_claim(request)
        verify(request, claim, Secret("SK"), made["now_s"])
