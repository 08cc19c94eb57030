"""Options that many commands have, so that they are spelled and explained once."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from smartconnect.settings_load import DEFAULT_FILE

__all__ = ["DEFAULT_FILE", "ConfigOption", "JsonOption", "LogFormatOption", "LogLevelOption"]


class LogFormat(enum.StrEnum):
    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class LogLevel(enum.StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


ConfigOption = Annotated[Path, typer.Option("--config", help="The settings file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LogFormatOption = Annotated[LogFormat, typer.Option("--log-format", help="auto: readable on a terminal, else JSON lines.")]
LogLevelOption = Annotated[LogLevel, typer.Option("--log-level", help="The least level that is logged.")]
