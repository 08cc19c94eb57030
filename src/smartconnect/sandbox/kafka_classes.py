"""The classes of a Kafka broker as Java's own archive (CDS, JEP 350): with it a broker is up sooner and for less CPU time.

Guarantees that a version's archive is made once, by a broker that is started for it and stopped, and kept in the cache. Java checks it and
does without where it does not fit any more (another Java, jars that have moved). Called by `kafka`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

from smartconnect.sandbox.cache import install_once

_ARCHIVE = "classes.jsa"


async def archive_flags(version: str, learn: Callable[[tuple[str, ...]], Coroutine[None, None, None]]) -> tuple[str, ...]:
    """For `java`, to start from the archive. `learn` starts a broker with the flags that it is given and stops it cleanly, in a loop of its
    own; it is awaited if the cache lacks the archive."""

    def build(staging: Path) -> None:
        asyncio.run(learn((f"-XX:ArchiveClassesAtExit={staging / _ARCHIVE}",)))

    folder = await asyncio.to_thread(install_once, f"kafka-classes/{version}", build)
    archive = folder / _ARCHIVE
    return (f"-XX:SharedArchiveFile={archive}",) if archive.exists() else ()
