"""Opening: the schema that migrations make is the one that statements are written against, and what cannot be opened is refused."""

from __future__ import annotations

import ast
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

import smartconnect.registry
from smartconnect.domain.errors import RegistryUnreachable, SettingsInvalid
from smartconnect.registry import Registry, schema
from smartconnect.registry.tables import metadata
from tests.unit.registry.conftest import OpenRegistry
from tests.unit.registry.givens import a_task, insert

POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy does not type it
PACKAGE = Path(smartconnect.registry.__file__).parent


def migrated(file: Path) -> sa.Engine:
    return sa.create_engine(f"sqlite:///{file}")


async def test_migrations_make_exactly_the_tables_that_statements_use(open_registry: OpenRegistry, file: Path) -> None:
    await open_registry()
    with migrated(file).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        inspector = sa.inspect(connection)
        for table in metadata.sorted_tables:
            assert inspector.get_pk_constraint(table.name)["constrained_columns"] == [c.name for c in table.primary_key], table.name
            for key in inspector.get_foreign_keys(table.name):
                assert key["options"] == {"ondelete": "CASCADE"}


def test_the_newest_schema_known_is_the_last_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.NEWEST


async def test_a_newer_schema_is_refused_and_left_alone(open_registry: OpenRegistry, file: Path) -> None:
    await (await open_registry()).close()
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SettingsInvalid, match="schema 9999, made by a newer version"):
        await open_registry()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]


async def test_opening_again_finds_everything(open_registry: OpenRegistry, file: Path) -> None:
    first = await open_registry()
    task = await insert(first, a_task())
    await first.close()
    assert await (await open_registry()).find_task(task.instance_id, task.id) == (task, True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_a_migration_that_fails_leaves_nothing_and_the_next_open_begins_again(
    open_registry: OpenRegistry, file: Path, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = schema._migrate

    def dies_half_way(connection: sa.Connection) -> None:
        real(connection)
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(schema, "_migrate", dies_half_way)
        with pytest.raises(RuntimeError):
            await open_registry()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    assert not key_file.exists()
    await insert(await open_registry(), a_task())


async def test_every_connection_keeps_what_the_guarantees_stand_on(registry: Registry) -> None:
    def told(connection: sa.Connection) -> dict[str, object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names}

    async with registry._database.write() as writer:
        assert await writer.run_sync(told) == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
    assert await registry._database.read(told) == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
    with pytest.raises(RegistryUnreachable, match="readonly"):
        await registry._database.read(lambda reader: reader.exec_driver_sql("DELETE FROM tasks"))


@pytest.mark.parametrize("url", ["postgresql://user:hunter2@host/db", "sqlite://", "sqlite:///:memory:", "nonsense", ""])
async def test_a_url_that_cannot_be_opened_is_refused_by_its_key_without_its_password(url: str, key_file: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"registry\.url") as refused:
        await Registry.open(url, key_file)
    assert "hunter2" not in str(refused.value)


async def test_a_folder_that_is_missing_is_a_settings_error(tmp_path: Path, key_file: Path) -> None:
    with pytest.raises(SettingsInvalid, match="folder"):
        await Registry.open(f"sqlite:///{tmp_path}/not there/x.db", key_file)
    assert not key_file.exists()


async def test_a_file_that_is_no_database_is_unreachable(file: Path, key_file: Path) -> None:
    file.write_bytes(b"something else entirely" * 1000)
    with pytest.raises(RegistryUnreachable, match="not a database"):
        await Registry.open(f"sqlite:///{file}", key_file)


def test_the_tables_can_be_made_in_postgresql_too() -> None:
    statements = [str(CreateTable(table).compile(dialect=POSTGRESQL)) for table in metadata.sorted_tables]
    assert any("id BIGSERIAL" in statement for statement in statements)
    assert any("content BYTEA" in statement for statement in statements)


def test_only_one_module_knows_sqlite() -> None:
    knowing = set()
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[Any] = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            module = getattr(node, "module", "") or ""
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if "sqlalchemy.dialects" in module or any("dialects" in str(name) for name in names) or "PRAGMA" in text:
                knowing.add(path.name)
    assert knowing == {"dialect.py"}
