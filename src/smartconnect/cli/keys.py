"""`keys rotate`: seal every stored secret again with a new key."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import typer

from smartconnect.cli.options import DEFAULT_FILE, ConfigOption, JsonOption
from smartconnect.cli.stored_task import opened


def register(app: typer.Typer) -> None:
    """Add the commands."""
    keys = typer.Typer(help="The keys that seal secrets in the registry.", no_args_is_help=True)
    app.add_typer(keys, name="keys")

    @keys.callback()
    def group() -> None:
        """The keys that seal secrets in the registry."""

    @keys.command("rotate")
    def rotate(config: ConfigOption = DEFAULT_FILE, as_json: JsonOption = False) -> None:
        """Make a new key (or take the first of the environment) and seal every secret again. The service may run meanwhile."""
        sealed = asyncio.run(_rotate(config))
        print(json.dumps({"resealed": sealed}) if as_json else f"secrets sealed again with the new key: {sealed}")


async def _rotate(config: Path) -> int:
    async with opened(config) as (_, registry):
        return await registry.rotate_keys()
