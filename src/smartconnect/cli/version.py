"""`version`: what is installed."""

from __future__ import annotations

import importlib.metadata
import json
import platform

import typer

from smartconnect.cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("version")
    def version(as_json: JsonOption = False) -> None:
        """Print the version."""
        try:
            installed = importlib.metadata.version("smartconnect")
        except importlib.metadata.PackageNotFoundError:
            installed = "0+unknown"
        facts = {"smartconnect": installed, "python": platform.python_version()}
        print(json.dumps(facts) if as_json else f"smart-connect {installed} (Python {facts['python']})")
