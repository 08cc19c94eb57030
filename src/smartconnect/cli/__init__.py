"""The command line. `main` is the entry point of `smart-connect`; each group of commands is a module with a `register` function."""

from smartconnect.cli.main import main

__all__ = ["main"]
