"""Bodies as hostile or sloppy clients send them: 400 with a reason, never 500 (api.md §2)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartconnect.api.bodies import parsed_object
from smartconnect.control.refusals import Refusal
from tests.unit.api.kit import Client, dump, task_url, tasks_url


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "DMS.00400004"),
        (b"  \n", "DMS.00400004"),
        (b"null", "DMS.00400005"),
        (b"[]", "DMS.00400005"),
        (b'"text"', "DMS.00400005"),
        (b"{", "DMS.00400005"),
        (b"{'a': 1}", "DMS.00400005"),
        (b'{"a": 1} x', "DMS.00400005"),
        (b'{"a": NaN}', "DMS.00400005"),
        (b'{"a": -Infinity}', "DMS.00400005"),
        (b'{"a": 1e999}', "DMS.00400005"),
        (b'{"a": "\xff"}', "DMS.00400005"),
        ('{"a": "b"}'.encode("utf-16"), "DMS.00400005"),
        (b"[" * 500_000, "DMS.00400005"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "DMS.00400005"),
        (b'{"a": 9223372036854775808}', "DMS.00400062"),
        (b'{"a": -9223372036854775809}', "DMS.00400062"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "DMS.00400062"),
        (b'{"a": "\\u0000"}', "DMS.00400085"),
        (b'{"a": {"b": ["\\ud800"]}}', "DMS.00400085"),
        (b'{"a\\u0000": 1}', "DMS.00400085"),
        (b'{"\\udfff": 1}', "DMS.00400085"),
    ],
)
async def test_a_body_we_cannot_bear_is_400(client: Client, body: bytes, code: str) -> None:
    answer = await client.post(tasks_url(), body)
    assert (answer.status, answer.code) == (400, code)


async def test_the_key_of_a_bad_character_is_named(client: Client) -> None:
    answer = await client.post(tasks_url(), b'{"sink_task": {"obs_path": "\\ud800"}}')
    assert answer.json()["error_msg"].endswith("The error key is sink_task.obs_path")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=x", ""])
async def test_json_is_parsed_whatever_the_content_type(client: Client, content_type: str) -> None:
    answer = await client.post(tasks_url(), dump(), headers={"Content-Type": content_type})
    assert answer.status == 200


async def test_a_byte_order_mark_and_64_bits_are_fine(client: Client) -> None:
    assert (await client.post(tasks_url(), b'\xef\xbb\xbf{"task_name": 1}')).code == "DMS.00400007"
    body = {**dump(), "foo": 2**63 - 1, "bar": -(2**63) + 1}
    assert (await client.post(tasks_url(), body)).status == 200


async def test_exactly_one_mebibyte_is_accepted_in_any_chunks(client: Client) -> None:
    body = b'{"a": "' + b"x" * ((1 << 20) - 9) + b'"}'
    assert len(body) == 1 << 20
    chunks = [body[:100], b"", body[100:]]
    assert (await client.post(tasks_url(), chunks=chunks)).code == "DMS.00400007"
    assert (await client.post(tasks_url(), chunks=[*chunks, b" "])).status == 413


async def test_actions_ignore_their_body(client: Client) -> None:
    task = (await client.post(tasks_url(), dump())).json()["id"]
    for body in (b"", b"{}", b"nonsense", b'{"instance_id": "x"}'):
        assert (await client.put(task_url(task, "pause"), body)).status == 204


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.text().map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_give_an_object_or_a_refusal(body: bytes) -> None:
    try:
        assert isinstance(parsed_object(body), dict)
    except Refusal as refusal:
        refusal.message.encode("utf-8")
