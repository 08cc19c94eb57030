"""Logs of killed processes."""

from __future__ import annotations

from tests.support.log_lines import log_lines


def test_a_line_behind_half_a_line_is_read() -> None:
    torn = '{"event": "gone", "extra": {"a": 1}, "timestamp": "2026-{"event": "process started", "child": "api"}'
    assert log_lines(torn) == [{"event": "process started", "child": "api"}]


def test_what_is_no_json_is_left_out() -> None:
    text = 'Traceback {"a": 1}\n{"event": "cut of\n\n{"event": "whole"}\n'
    assert log_lines(text) == [{"event": "whole"}]
