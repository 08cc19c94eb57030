"""What users write on the command line, and how numbers are written back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import click
import pytest
import typer

from smartconnect.cli import words
from smartconnect.cli.main import build
from smartconnect.cli.positions import Action, PositionsImpossible, read_change
from smartconnect.cli.verify import NotVerified, since_ms, what_is_amiss
from smartconnect.domain.positions import PositionChange, PositionMoved
from smartconnect.domain.verification import FindingKind, VerifyResult

NOW = 1_767_323_045_000


def test_since_takes_times_ago_and_moments() -> None:
    assert since_ms("", NOW) is None
    assert since_ms("90s", NOW) == NOW - 90_000
    assert since_ms("12h", NOW) == NOW - 12 * 3_600_000
    assert since_ms("2026-01-02T03:04:05+00:00", NOW) == 1_767_323_045_000
    local = datetime.fromisoformat("2026-01-02T03:04").astimezone()
    assert since_ms("2026-01-02T03:04", NOW) == int(local.timestamp() * 1000)


@pytest.mark.parametrize("text", ["tomorrow", "3x", "-1h", "2026-13-01"])
def test_since_refuses_what_is_no_time(text: str) -> None:
    with pytest.raises(NotVerified, match="--since"):
        since_ms(text, NOW)


def test_what_is_equal_is_not_told_among_what_is_wrong() -> None:
    found = {FindingKind.EQUAL: 5, FindingKind.DIFFERS: 1, FindingKind.EXPIRED: 2}
    assert what_is_amiss("orders", VerifyResult(findings=found)) == "orders is not as it should be: 1 differs, 2 expired"
    assert what_is_amiss("orders", VerifyResult(findings={FindingKind.EXPIRED: 1})) == "not all of orders can be told: 1 expired"


def test_positions_reads_set_and_skip() -> None:
    assert read_change(Action.SET, ["orders", "3", "8123"]) == PositionChange("orders", 3, 8123)
    assert read_change(Action.SKIP, ["orders", "3"]) == PositionChange("orders", 3, None)


@pytest.mark.parametrize(
    ("action", "where"),
    [(Action.SET, ["orders", "3"]), (Action.SET, ["orders", "x", "1"]), (Action.SKIP, ["orders"]), (Action.SKIP, ["o", "1", "2"])],
)
def test_positions_says_how_to_write_it(action: Action, where: list[str]) -> None:
    with pytest.raises(PositionsImpossible, match=f"positions TASK {action}"):
        read_change(action, where)


@pytest.mark.parametrize(
    ("moved", "told"),
    [
        (PositionMoved(5, 9, 10), "offsets [5, 9) are not delivered"),
        (PositionMoved(9, 5, 10), "offsets [5, 9) are delivered again"),
        (PositionMoved(None, 5, 10), "there was none before"),
    ],
)
def test_a_moved_position_says_what_it_means(moved: PositionMoved, told: str) -> None:
    assert told in moved.in_words("orders-3")


@pytest.mark.parametrize(
    ("ms", "text"),
    [(None, "–"), (240, "240 ms"), (3500, "3.5 s"), (59_000, "59 s"), (214_000, "3 min 34 s"), (7_500_000, "2 h 5 min")],
)
def test_durations_are_written_as_people_say_them(ms: int | None, text: str) -> None:
    assert words.duration(ms) == text


def test_sizes_and_numbers_are_written_as_people_say_them() -> None:
    assert [words.size(value) for value in (None, 12, 12_600, 12_600_000, 1.5e9)] == ["–", "12 B", "12.6 kB", "12.6 MB", "1.5 GB"]
    assert words.number(1234567.8) == "1,234,568"
    assert [words.counted(count, "object") for count in (0, 1, 2000)] == ["0 objects", "1 object", "2,000 objects"]


def test_every_promised_command_is_there() -> None:
    app = build()
    names = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    promised = {"serve", "worker", "sandbox", "demo", "tasks", "positions", "verify", "doctor", "keys", "version"}
    assert promised <= names


def test_no_help_loses_words_in_brackets() -> None:
    """rich takes [word] for markup and shows nothing."""
    helps = list(_helps(typer.main.get_command(build())))
    assert len(helps) > 50
    assert [text for text in helps if "[" in text] == []


def _helps(command: click.Command) -> Iterator[str]:
    yield command.help or ""
    for parameter in command.params:
        yield getattr(parameter, "help", None) or ""
    for child in getattr(command, "commands", {}).values():
        yield from _helps(child)
