"""Log lines on stderr: one JSON object each, or a readable form on a terminal; secrets are taken out of both. `configure` is called
once by each process's entry; everybody else calls `get_logger()`. Lines of libraries that use `logging` take the same way.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, Literal, TextIO, cast

from smartconnect.telemetry.redaction import PROCESS_REDACTOR


def _import_structlog() -> Any:
    """structlog imports rich where it is installed, for tracebacks that we do not use: 5 MiB in each of our processes. `None` in
    `sys.modules` is Python's own way to say "not importable"; it is taken out again, so that the CLI still finds rich."""
    hidden = "rich" not in sys.modules
    if hidden:
        sys.modules["rich"] = cast(Any, None)
    try:
        import structlog
    finally:
        if hidden:
            del sys.modules["rich"]
    return structlog


structlog: Final = _import_structlog()

LogFormat = Literal["auto", "json", "console"]
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class _Bridge(logging.Handler):
    """Hands records of the standard library's logging to our chain."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = get_logger().bind(logger=record.name)
        logger.log(record.levelno, record.getMessage(), exc_info=record.exc_info or None)


def configure(role: str, *, log_format: LogFormat = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Set up this process's logging. `role`: "parent", "api", "worker-2": stands in each line. `auto`: console on a terminal."""
    out = stream or sys.stderr
    console = log_format == "console" or (log_format == "auto" and out.isatty())
    renderer = structlog.dev.ConsoleRenderer(colors=out.isatty()) if console else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            PROCESS_REDACTOR,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(process=role)
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(max(_LEVELS[level], logging.WARNING))


def get_logger() -> Any:
    """A bound logger: `log.info("unit started", task=…, unit=…)`. Events are short, lower case; values go into keys."""
    return structlog.get_logger()
