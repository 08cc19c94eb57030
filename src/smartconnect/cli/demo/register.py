"""The command itself; what it runs is loaded when it is called."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

OnceOption = Annotated[
    bool, typer.Option("--once", help="End by itself when every partition has arrived; exit code 0 if all is right.")
]
KeepOption = Annotated[bool, typer.Option("--keep", help="Leave objects and logs behind.")]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("demo")
    def demo(once: OnceOption = False, keep: KeepOption = False) -> None:
        """See it work: real Kafkas and S3, a dump and a replication through the API, live progress, every record counted. Ctrl-C ends."""
        from smartconnect.cli.demo import command

        code = asyncio.run(command.run(once=once, keep_folder=keep))
        if code:
            raise typer.Exit(code)
