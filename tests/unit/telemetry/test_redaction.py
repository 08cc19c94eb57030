"""A canary in every place where a secret could slip into a log line."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from smartconnect.domain.secret import Secret
from smartconnect.telemetry import logs
from smartconnect.telemetry.redaction import PROCESS_REDACTOR, Redactor, names_a_secret

CANARY = "canary-7f3a9-secret"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure("worker-0", log_format="json", level="debug", stream=stream)
    PROCESS_REDACTOR.register([Secret(CANARY)])
    yield stream
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = []


def _last(stream: io.StringIO) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(stream.getvalue().splitlines()[-1])
    return answer


def test_registered_secret_never_appears_wherever_it_stands(lines: io.StringIO) -> None:
    log = logs.get_logger()
    log.info(f"message with {CANARY}", text=f"in a {CANARY} value", nested={"a": [f"x{CANARY}", {"b": (CANARY,)}]})
    log.warning("object", thing=ValueError(CANARY), secret_object=Secret(CANARY))
    try:
        raise RuntimeError(f"refused: {CANARY}")
    except RuntimeError:
        log.exception("traceback")
    logging.getLogger("some.library").warning("library says %s", CANARY)
    assert len(lines.getvalue().splitlines()) == 4
    assert CANARY not in lines.getvalue()
    assert "RuntimeError: refused: ***" in lines.getvalue()


def test_value_under_a_secret_key_is_hidden_even_when_nobody_registered_it(lines: io.StringIO) -> None:
    logs.get_logger().info("x", password="unknown-1", config={"sink_task.secret_key": "unknown-2", "X-Auth-Token": "unknown-3"})
    line = _last(lines)
    assert "unknown" not in lines.getvalue()
    assert line["password"] == "***"
    assert line["config"] == {"sink_task.secret_key": "***", "X-Auth-Token": "***"}


def test_line_names_process_level_and_time(lines: io.StringIO) -> None:
    logs.get_logger().warning("unit retries", attempts=3)
    line = _last(lines)
    assert (line["process"], line["level"], line["event"], line["attempts"]) == ("worker-0", "warning", "unit retries", 3)
    assert line["timestamp"].endswith("Z")


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    logs.configure("parent", log_format="json", level="warning", stream=stream)
    logs.get_logger().info("quiet")
    assert stream.getvalue() == ""
    structlog.reset_defaults()


def test_console_form_is_redacted_too() -> None:
    stream = io.StringIO()
    logs.configure("parent", log_format="console", stream=stream)
    PROCESS_REDACTOR.register([Secret(CANARY)])
    logs.get_logger().info("hello", value=CANARY)
    assert "hello" in stream.getvalue()
    assert CANARY not in stream.getvalue()
    structlog.reset_defaults()


@pytest.mark.parametrize(
    "key", ["password", "redis_password", "sink_task.secret_key", "access_key", "Authorization", "X-Auth-Token"]
)
def test_key_that_names_a_secret_is_known(key: str) -> None:
    assert names_a_secret(key)


@pytest.mark.parametrize("key", ["code", "tokens_left", "key_file", "partition", "keys", "topic"])
def test_ordinary_key_is_shown(key: str) -> None:
    assert not names_a_secret(key)


def test_short_text_is_not_blanked_out_everywhere() -> None:
    redactor = Redactor()
    redactor.register([Secret("ab"), Secret("")])
    assert redactor.clean_text("about cabs") == "about cabs"


def test_longer_secret_wins_over_its_own_beginning() -> None:
    redactor = Redactor()
    redactor.register([Secret("pass"), Secret("password-long")])
    assert redactor.clean_text("x password-long y pass z") == "x *** y *** z"
