"""Sealed secrets: nothing of them is readable in any file, only the right key in the right place opens them, and removal erases them."""

from __future__ import annotations

import asyncio
import base64
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from smartconnect.domain.errors import SecretUnreadable, SettingsInvalid
from smartconnect.domain.progress import Event, Level
from smartconnect.domain.secret import Secret
from smartconnect.registry import Registry, Timing
from tests.unit.registry.conftest import OpenRegistry
from tests.unit.registry.givens import NOW, a_task, change, delete, insert

CANARY = "canary-5f3b9a71-in-the-coal-mine"
FIELD = "sink_task.secret_key"
SECRETS = {FIELD: Secret(CANARY), "sink_task.access_key": Secret("AK-" + CANARY)}


def bytes_on_disk(file: Path) -> bytes:
    """The database with its log and shared memory."""
    found = [path for path in file.parent.iterdir() if path.name.startswith(file.name)]
    assert file in found
    return b"".join(path.read_bytes() for path in found)


@contextmanager
def by_hand(file: Path) -> Iterator[sqlite3.Connection]:
    """The file as somebody with an editor has it."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield connection


def sealed(file: Path, task_id: str = "task-1", field: str = FIELD) -> str:
    with by_hand(file) as connection:
        (value,) = connection.execute("SELECT sealed FROM secrets WHERE task_id = ? AND field = ?", (task_id, field)).fetchone()
        return str(value)


def a_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


async def test_secrets_come_back_and_the_canary_is_in_no_file(
    registry: Registry, another: Registry, file: Path, key_file: Path
) -> None:
    task = await insert(registry, a_task(), secrets=SECRETS, events=[Event(NOW, Level.INFO, "made", "made")])
    assert await another.secrets(task.id) == SECRETS
    await change(registry, task, secrets={FIELD: Secret("second " + CANARY)})
    assert (await another.secrets(task.id))[FIELD].reveal() == "second " + CANARY
    for text in (CANARY, base64.b64encode(CANARY.encode()).decode()[:20], key_file.read_text().strip()):
        assert text.encode() not in bytes_on_disk(file)
    assert b"name of task-1" in bytes_on_disk(file)


async def test_an_empty_secret_clears(registry: Registry) -> None:
    task = await insert(registry, a_task(), secrets=SECRETS | {"source_task.password": Secret("")})
    assert set(await registry.secrets(task.id)) == set(SECRETS)
    await change(registry, task, secrets={FIELD: Secret("")})
    assert set(await registry.secrets(task.id)) == {"sink_task.access_key"}


async def test_any_text_can_be_a_secret(registry: Registry) -> None:
    odd = {"a.b": Secret("ключ \0 \ud800 🔑"), "a.c": Secret("x" * 10_000)}
    await insert(registry, a_task(), secrets=odd)
    assert await registry.secrets("task-1") == odd


async def test_removal_erases_even_the_sealed_form_from_the_files(registry: Registry, file: Path) -> None:
    task = await insert(registry, a_task(), secrets=SECRETS)
    value = sealed(file).encode()
    assert value in bytes_on_disk(file)
    await delete(registry, task)
    await registry.remove_task(task.id, "")
    assert value not in bytes_on_disk(file)
    assert value[20:60] not in bytes_on_disk(file)
    assert await registry.secrets(task.id) == {}


async def test_a_replaced_secret_is_erased_too(registry: Registry, file: Path) -> None:
    task = await insert(registry, a_task(), secrets=SECRETS)
    value = sealed(file).encode()
    await change(registry, task, secrets={FIELD: Secret("another")})
    assert value[20:60] not in bytes_on_disk(file)


async def test_a_reader_in_the_way_only_delays_the_erasure(open_registry: OpenRegistry, file: Path) -> None:
    registry = await open_registry(timing=Timing(busy_timeout_ms=100))
    task = await insert(registry, a_task(), secrets=SECRETS)
    value = sealed(file).encode()
    with by_hand(file) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM tasks").fetchone()
        await delete(registry, task)
        await registry.remove_task(task.id, "")
        assert value in bytes_on_disk(file)
    await registry._database.erase_due()
    assert value[20:60] not in bytes_on_disk(file)


async def test_another_key_is_refused_before_anything_is_served(open_registry: OpenRegistry, key_file: Path) -> None:
    await (await open_registry()).close()
    key_file.write_text(a_key() + "\n")
    with pytest.raises(SettingsInvalid, match="not the key of this registry"):
        await open_registry()


async def test_a_missing_key_file_is_made_for_a_new_registry_only(open_registry: OpenRegistry, key_file: Path) -> None:
    await (await open_registry()).close()
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    key_file.unlink()
    with pytest.raises(SettingsInvalid, match="bring it back"):
        await open_registry()
    assert not key_file.exists()


async def test_a_key_file_that_is_there_is_used_as_it_is(open_registry: OpenRegistry, key_file: Path) -> None:
    key_file.touch(mode=0o600)
    key_file.write_text(a_key() + "\n")
    before = key_file.read_text()
    await insert(await open_registry(), a_task(), secrets=SECRETS)
    assert await (await open_registry()).secrets("task-1") == SECRETS
    assert key_file.read_text() == before


async def test_a_key_file_that_others_may_read_is_refused(open_registry: OpenRegistry, key_file: Path) -> None:
    await (await open_registry()).close()
    key_file.chmod(0o640)
    with pytest.raises(SettingsInvalid, match="0600"):
        await open_registry()


@pytest.mark.parametrize("text", ["", "\n", "not base64!\n", "c2hvcnQ=\n", "é\n"])
async def test_a_malformed_key_file_is_refused_without_being_quoted(open_registry: OpenRegistry, key_file: Path, text: str) -> None:
    key_file.touch(mode=0o600)
    key_file.write_text(text)
    with pytest.raises(SettingsInvalid, match="key_file") as refused:
        await open_registry()
    assert not text.strip() or text.strip() not in str(refused.value)


async def test_the_key_may_come_from_the_environment(open_registry: OpenRegistry, key_file: Path) -> None:
    key = Secret(a_key())
    await insert(await open_registry(key=key), a_task(), secrets=SECRETS)
    assert not key_file.exists()
    assert await (await open_registry(key=key)).secrets("task-1") == SECRETS
    for wrong in (Secret(a_key()), Secret("nothing"), Secret("")):
        with pytest.raises(SettingsInvalid, match="environment"):
            await open_registry(key=wrong)


async def test_a_sealed_value_opens_only_in_its_own_place(registry: Registry, file: Path) -> None:
    await insert(registry, a_task("task-1"), secrets=SECRETS)
    await insert(registry, a_task("task-2"), secrets={FIELD: Secret("other")})
    with by_hand(file) as connection:
        connection.execute("UPDATE secrets SET sealed = ? WHERE task_id = 'task-2'", (sealed(file),))
    with pytest.raises(SecretUnreadable, match=r"task-2/sink_task\.secret_key"):
        await registry.secrets("task-2")
    with by_hand(file) as connection:
        connection.execute("UPDATE secrets SET sealed = ? WHERE field = 'sink_task.access_key'", (sealed(file),))
    with pytest.raises(SecretUnreadable, match="damaged or moved"):
        await registry.secrets("task-1")


@pytest.mark.parametrize("damage", ["", "x", "{id}.", "{id}.AAAA", "{id}.!!!", "000000000000.AAAA", "{all}A", "{cut}"])
async def test_a_damaged_value_is_told_and_cured_by_sending_the_secret_again(registry: Registry, file: Path, damage: str) -> None:
    task = await insert(registry, a_task(), secrets=SECRETS)
    value = sealed(file)
    damaged = damage.format(id=value.partition(".")[0], all=value, cut=value[:-8])
    with by_hand(file) as connection:
        connection.execute("UPDATE secrets SET sealed = ? WHERE field = ?", (damaged, FIELD))
    with pytest.raises(SecretUnreadable, match="send it again"):
        await registry.secrets(task.id)
    await change(registry, task, secrets={FIELD: Secret("again")})
    assert (await registry.secrets(task.id))[FIELD] == Secret("again")


async def test_rotation_reseals_everything_and_running_processes_follow(
    registry: Registry, another: Registry, open_registry: OpenRegistry, file: Path, key_file: Path
) -> None:
    for number in range(3):
        await insert(registry, a_task(f"task-{number}"), secrets=SECRETS)
    old_id, old_text, old_value = sealed(file).partition(".")[0], key_file.read_text(), sealed(file)
    assert await registry.rotate_keys() == 6
    assert sealed(file).partition(".")[0] != old_id
    assert old_value.encode()[20:60] not in bytes_on_disk(file)
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert key_file.read_text().endswith(old_text)
    for one in (registry, another, await open_registry()):
        assert await one.secrets("task-2") == SECRETS
    await another.rotate_keys()
    await insert(registry, a_task("task-9"), secrets=SECRETS)
    assert sealed(file, "task-9").partition(".")[0] == sealed(file).partition(".")[0]
    key_file.write_text(key_file.read_text().splitlines()[0] + "\n")
    assert await (await open_registry()).secrets("task-0") == SECRETS
    key_file.write_text(old_text)
    with pytest.raises(SettingsInvalid):
        await open_registry()


async def test_two_rotations_at_once_lose_no_secret(registry: Registry, another: Registry, open_registry: OpenRegistry) -> None:
    await insert(registry, a_task(), secrets=SECRETS)
    await asyncio.gather(registry.rotate_keys(), another.rotate_keys(), another.rotate_keys())
    assert await (await open_registry()).secrets("task-1") == SECRETS


async def test_rotation_in_the_environment_goes_to_its_first_key(open_registry: OpenRegistry) -> None:
    old, new = a_key(), a_key()
    await insert(await open_registry(key=Secret(old)), a_task(), secrets=SECRETS)
    both = await open_registry(key=Secret(f"{new}\n{old}\n"))
    assert await both.secrets("task-1") == SECRETS
    assert await both.rotate_keys() == 2
    assert await (await open_registry(key=Secret(new))).secrets("task-1") == SECRETS
    with pytest.raises(SettingsInvalid):
        await open_registry(key=Secret(old))


async def test_a_failed_rotation_changes_nothing(registry: Registry, open_registry: OpenRegistry, file: Path) -> None:
    await insert(registry, a_task("task-1"), secrets=SECRETS)
    await insert(registry, a_task("task-2"), secrets=SECRETS)
    with by_hand(file) as connection:
        connection.execute("UPDATE secrets SET sealed = 'broken' WHERE task_id = 'task-2' AND field = ?", (FIELD,))
    before = sealed(file)
    with pytest.raises(SecretUnreadable):
        await registry.rotate_keys()
    assert sealed(file) == before
    assert await (await open_registry()).secrets("task-1") == SECRETS


async def test_no_repr_shows_a_key(registry: Registry, key_file: Path) -> None:
    key = key_file.read_text().strip()
    vault = registry._vault
    shown = f"{vault!r} {vars(vault)!r} {registry!r}"
    assert key not in shown
    assert repr(base64.b64decode(key))[2:-1] not in shown
