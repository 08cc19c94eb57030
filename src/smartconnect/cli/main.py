"""`smart-connect`: puts the commands together and turns our errors into one line on stderr and an exit code. A further group of commands
is one more module in `_GROUPS`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

import typer

from smartconnect.cli import doctor, keys, positions, sandbox, serve, verify, version
from smartconnect.cli.demo import register as demo
from smartconnect.cli.tasks import commands as tasks
from smartconnect.domain.errors import SettingsInvalid, SmartConnectError
from smartconnect.telemetry.logs import configure

EXIT_FAILED: Final = 1
EXIT_SETTINGS: Final = 78

_GROUPS: Final[tuple[Callable[[typer.Typer], None], ...]] = (
    serve.register,
    sandbox.register,
    demo.register,
    tasks.register,
    positions.register,
    verify.register,
    doctor.register,
    keys.register,
    version.register,
)


def build() -> typer.Typer:
    """The whole command tree."""
    app = typer.Typer(
        name="smart-connect",
        help="Keeps data flowing between Kafka and other systems, exactly once.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for register in _GROUPS:
        register(app)
    return app


def main() -> None:
    """The console script. Its output may be parsed: what is logged goes to stderr."""
    configure("cli", level="warning")
    try:
        build()()
    except SmartConnectError as error:
        print(f"smart-connect: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(EXIT_SETTINGS if isinstance(error, SettingsInvalid) else EXIT_FAILED)
