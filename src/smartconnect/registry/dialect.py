"""All that is particular to SQLite: how connections are made and tuned, how a writer begins, how erased bytes leave the files, how a
row is inserted unless it exists. Another database needs another module like this one and nothing else.

Why each pragma: WAL lets readers go on beside the one writer; `synchronous=FULL`, because a plan number or an epoch that a power cut
takes back would be given twice; `secure_delete`, because an erased secret must not stay in free pages; BEGIN IMMEDIATE, because a
transaction that reads before it writes would otherwise fail half-way when another process has written.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from smartconnect.domain.errors import SettingsInvalid

_PRIMARY_CODE: Final = 0xFF  # https://sqlite.org/rescode.html: the rest of an error code is detail
ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def sqlite_path(url: str) -> Path:
    """The file that a registry URL names; SettingsInvalid for what this version cannot open."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SettingsInvalid("registry.url: not a URL such as sqlite:///smart-connect.db") from None
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise SettingsInvalid(
            f"registry.url: {parsed.get_backend_name()} cannot be opened by this version; give a file, as in sqlite:///smart-connect.db"
        )
    return Path(parsed.database)


def make_file(path: Path) -> None:
    """Make the file with mode 0600 if it is missing (-wal and -shm take over its mode)."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise SettingsInvalid(
            f"registry.url: {path} cannot be opened: {error.strerror}; is its folder there and writable?"
        ) from None


def make_engines(path: Path, *, busy_timeout_ms: int, readers: int) -> tuple[AsyncEngine, sa.Engine]:
    """(writer, reader): one connection that writes, some that read, for as many threads. Neither opens anything yet."""
    wait_s = busy_timeout_ms / 1000
    common: dict[str, Any] = {"max_overflow": 0, "pool_timeout": wait_s, "hide_parameters": True}
    connect: dict[str, Any] = {"isolation_level": None, "timeout": wait_s}
    writer = create_async_engine(URL.create("sqlite+aiosqlite", database=str(path)), pool_size=1, connect_args=connect, **common)
    # A connection goes from one thread to the next, but never serves two at a time.
    reader = sa.create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=sa.QueuePool,
        pool_size=readers,
        connect_args=connect | {"check_same_thread": False},
        **common,
    )
    _tune(writer.sync_engine, begin="BEGIN IMMEDIATE", read_only=False)
    _tune(reader, begin="BEGIN", read_only=True)
    return writer, reader


def _tune(engine: sa.Engine, *, begin: str, read_only: bool) -> None:
    def tune(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for pragma in ("foreign_keys=ON", "synchronous=FULL", "secure_delete=ON", f"query_only={'ON' if read_only else 'OFF'}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def start(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", tune)
    event.listen(engine, "begin", start)


async def use_wal(writer: AsyncEngine) -> None:
    """Switch the file to WAL, which lasts. Two processes that do this to a new file at once do not wait for each other in SQLite (its
    busy time-out is not asked): one of them is told that it is busy."""
    await _pragma(writer, "journal_mode=WAL")


def is_busy(error: object) -> bool:
    """Does this error of the driver say that another process holds a lock, which it will let go of?"""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & _PRIMARY_CODE in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


async def erase_leftovers(writer: AsyncEngine) -> bool:
    """Move the log into the file and cut it to nothing, so that what was overwritten is in neither. False: a reader is in the way."""
    row = await _pragma(writer, "wal_checkpoint(TRUNCATE)")
    return row is not None and row[0] == 0


async def _pragma(writer: AsyncEngine, pragma: str) -> sqlite3.Row | None:
    """Run one pragma outside any transaction, which SQLAlchemy itself would begin."""
    async with writer.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        async with raw.execute(f"PRAGMA {pragma}") as cursor:
            row: sqlite3.Row | None = await cursor.fetchone()
            return row


def insert_new(table: sa.Table) -> Insert:
    """An INSERT that leaves rows alone which exist already."""
    return insert(table).on_conflict_do_nothing()


def insert_or_replace(table: sa.Table, *changing: str) -> Insert:
    """An INSERT that gives a row which exists already new values in the columns `changing`."""
    statement = insert(table)
    return statement.on_conflict_do_update(
        index_elements=[column.name for column in table.primary_key], set_={name: statement.excluded[name] for name in changing}
    )
