"""Which texts a refusal may not quote, and in which disguise they are still found (api.md §8)."""

from __future__ import annotations

import pytest

from smartconnect.control.codes import INVALID_PARAMETER
from smartconnect.control.refusals import Refusal
from smartconnect.control.secrecy import Unquoted, unquoted
from smartconnect.domain.fields import quoted
from smartconnect.domain.problems import Problem
from smartconnect.domain.secret import Secret

LONG = "".join(chr(65 + n % 26) for n in range(200))


@pytest.mark.parametrize("secret", ["hunter22", 'with "quotes" and \\', "Schlüssel/ü+=", "line\nbreak", LONG])
@pytest.mark.parametrize("value", ["{}", "before {} after", "{},{}"])
def test_a_value_that_holds_a_secret_is_quoted_without_it(secret: str, value: str) -> None:
    message = f"must be short, not {quoted(value.format(secret, secret))}"
    cleaned = Unquoted([secret]).clean(message)
    assert secret[:8] not in cleaned
    assert cleaned.startswith("must be short, not ")


@pytest.mark.parametrize("before", [0, 1, 30, 56, 60])
def test_a_secret_that_quoting_cuts_short_is_found_too(before: int) -> None:
    message = f"not {quoted('x' * before + LONG)}, and {quoted('y' * 100)}"
    assert Unquoted([LONG]).clean(message) == f'not "{"x" * before}***…", and "{"y" * 64}…"'


def test_a_secret_as_short_as_a_word_is_hidden_where_it_is_the_whole_value() -> None:
    assert Unquoted(["not"]).clean('must be long, not "not"') == "must be long, not ***"


def test_what_is_no_secret_stays() -> None:
    message = 'must be one of "latest", "earliest", not "late"'
    assert Unquoted(["", "la", "hunter22"]).clean(message) == message


def test_a_refusal_leaves_without_the_secrets_of_the_request_and_of_the_task() -> None:
    body = {"sink_task": {"access_key": "canary-one", "secret_key": ["canary-two"], "obs_bucket_name": "canary-one"}}
    with pytest.raises(Refusal) as refused, unquoted(body, {"sink_task.secret_key": Secret("canary-three")}):
        raise Refusal(INVALID_PARAMETER, [Problem("sink_task.obs_path", "not canary-one, canary-two, canary-three but lake")])
    assert refused.value.message == "Invalid request parameter: sink_task.obs_path: not ***, ***, *** but lake"
