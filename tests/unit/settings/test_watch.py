"""Reading the settings again: on change and when asked, never half, and only units whose connection changed are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from smartconnect.domain.task import Desired, Kind, Task, TaskConfig
from smartconnect.settings import Settings
from smartconnect.settings_load import load
from smartconnect.settings_watch import SettingsWatch, connection_change
from smartconnect.telemetry.meters import Meters
from smartconnect.telemetry.names import SETTINGS_INFO, SETTINGS_REJECTED
from tests.support.waiting import eventually

TEXT = """
[api]
auth = "none"
[control]
max_tasks = 5
[obs]
endpoint = "http://one"
[[instances]]
id = "i1"
project_id = "p"
bootstrap_servers = "h:1"
[[instances]]
id = "i2"
project_id = "p"
bootstrap_servers = "h:2"
"""
TASK = Task("t", "p", "i1", "n", Kind.OBS_DUMP, TaskConfig(), Desired.RUNNING, 1, 1, 0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "smart-connect.toml"
    file.write_text(TEXT)
    return file


@pytest.fixture
async def watch(file: Path) -> AsyncIterator[SettingsWatch]:
    watch = SettingsWatch(file, load(file, {}), Meters())
    watching = asyncio.create_task(watch.run())
    yield watch
    watching.cancel()


def _replace(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


async def test_changed_file_is_used_and_listeners_get_both_versions(file: Path, watch: SettingsWatch) -> None:
    heard: list[tuple[int, int]] = []
    watch.on_change(lambda old, new: heard.append((old.control.max_tasks, new.control.max_tasks)))
    before = watch.hash
    _replace(file, TEXT.replace("max_tasks = 5", "max_tasks = 6"))
    await eventually(lambda: heard, what="the listener is called")
    assert heard == [(5, 6)]
    assert watch.current.control.max_tasks == 6
    assert watch.hash != before
    hashes = [labels for name, labels, _ in watch._meters.snapshot() if name == SETTINGS_INFO.name]
    assert hashes == [(watch.hash,)]


async def test_bad_file_changes_nothing_and_is_reported_until_it_is_good_again(file: Path, watch: SettingsWatch) -> None:
    before, heard = watch.current, []
    watch.on_change(lambda _old, new: heard.append(new))
    _replace(file, TEXT.replace("max_tasks = 5", "max_tasks = -1"))
    await eventually(lambda: watch._meters.value(SETTINGS_REJECTED) == 1, what="the bad file is reported")
    assert watch.current is before
    assert heard == []
    _replace(file, TEXT)
    with capture_logs() as logged:
        await eventually(lambda: watch._meters.value(SETTINGS_REJECTED) == 0, what="the good file is accepted")
    assert [line["event"] for line in logged] == ["the settings file is good again"]
    assert heard == []


async def test_reload_reads_secrets_from_other_files_again(file: Path, tmp_path: Path, watch: SettingsWatch) -> None:
    secret = tmp_path / "ca-password"
    secret.write_text("one")
    _replace(file, TEXT + f'[[api.tokens]]\ntoken_file = "{secret}"\n')
    await eventually(lambda: watch.current.api.tokens, what="the token is there")
    secret.write_text("two")
    watch.reload()
    await eventually(lambda: watch.current.api.tokens[0].token.reveal() == "two", what="the new secret is read")


def _versions(file: Path, change: str, with_: str) -> tuple[Settings, Settings]:
    old = load(file, {})
    file.write_text(TEXT.replace(change, with_))
    return old, load(file, {})


def test_only_tasks_of_the_changed_instance_are_concerned(file: Path) -> None:
    change = connection_change(*_versions(file, "h:1", "h:9"))
    assert change.concerns(TASK)
    assert not change.concerns(replace(TASK, instance_id="i2"))
    named_as_source = replace(TASK, instance_id="i2", config=TaskConfig(source_task={"instance_id": "i1"}))
    assert change.concerns(named_as_source)


def test_changed_store_concerns_dumps_alone(file: Path) -> None:
    change = connection_change(*_versions(file, "http://one", "http://two"))
    assert change.concerns(TASK)
    assert not change.concerns(replace(TASK, kind=Kind.KAFKA_REPLICATION))


@pytest.mark.parametrize(
    ("change", "with_"), [("max_tasks = 5", "max_tasks = 6"), ('id = "i1"', 'id = "i1"\nconnector_enabled = false')]
)
def test_change_of_something_else_stops_no_unit(file: Path, change: str, with_: str) -> None:
    assert not connection_change(*_versions(file, change, with_)).concerns(TASK)
