"""What the demo shows: a line for each step, live panels while data flows, the verdict. Without a terminal it prints a line every few
seconds instead of the panels.
"""

from __future__ import annotations

import contextlib
import json
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from smartconnect.cli import progress_view, words
from smartconnect.cli.demo.bucket import BucketTally
from smartconnect.cli.demo.source import Written
from smartconnect.cli.demo.stage import BUCKET, Stage
from smartconnect.cli.demo.tally import Tally

_LINE_EVERY_S: Final = 5.0
_COMMAND: Final = Path(sys.executable).with_name("smart-connect")
"""By its path: `make demo` needs no activated environment, so another terminal has none either."""


class Found(NamedTuple):
    """What was written to the instance, and what of it was found in the bucket and in the peer."""

    written: Written
    bucket: BucketTally
    peer: Tally

    @property
    def perfect(self) -> bool:
        return self.bucket.perfect and self.peer.perfect

    @property
    def everywhere(self) -> bool:
        """Has something of each partition arrived in both?"""
        return self.bucket.every_partition and self.peer.every_partition


class Screen:
    """One for a demo."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live: Live | None = None
        self._last_line = 0.0

    def title(self) -> None:
        self.console.print(
            "\n[bold]Smart Connect demo[/]  Kafka → object store and Kafka → Kafka, exactly once; real servers, real requests, "
            "every record counted\n"
        )

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Show what is being waited for, then that it is done and how long it took."""
        started = time.monotonic()
        with self.console.status(f"{escape(what)} …") if self.console.is_terminal else contextlib.nullcontext():
            yield
        self.done(what, time.monotonic() - started)

    def done(self, what: str, seconds: float | None = None) -> None:
        took = "" if seconds is None else f"  [dim]{seconds:.1f} s[/]"
        self.console.print(f"  [green]✔[/] {escape(what)}{took}", highlight=False, soft_wrap=True)

    def request(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        """The request as it was sent, its secrets left out."""
        self.console.print(f"    [bold]{method}[/] [cyan]{escape(path)}[/]", highlight=False, soft_wrap=True)
        self.console.print("    [dim]Authorization: SDK-HMAC-SHA256 Access=…, SignedHeaders=…, Signature=…[/]", highlight=False)
        self.console.print(
            "\n".join(f"    {line}" for line in json.dumps(body, indent=2, ensure_ascii=False).splitlines()), markup=False
        )

    def where_to_look(self, stage: Stage, tasks: Sequence[str]) -> None:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim")
        table.add_column(overflow="fold")
        config = f"--config {stage.settings_file}"
        table.add_row("objects", f"{stage.bucket_folder}")
        s3 = stage.servers.s3
        table.add_row("", f"s3://{BUCKET} at {s3.endpoint}, access key {s3.access_key}")
        table.add_row("topics", f"Kafka at {stage.servers.kafka.bootstrap_servers}")
        table.add_row("copies", f"Kafka at {stage.servers.peer.bootstrap_servers}")
        table.add_row("API", f"{stage.endpoint}/docs")
        table.add_row("", f"every call with the header X-Auth-Token: {stage.token}")
        if stage.console is not None:
            table.add_row("console", f"{stage.console}  (token {stage.token})")
        table.add_row("log", f"{stage.folder / 'service' / 'server.log'}")
        self.console.print(Panel(table, title="[bold]Where to look[/]", title_align="left", padding=(1, 2)))
        self.console.print("  From another terminal, on one line each:")
        for name in tasks:
            self.console.print(f"    {_COMMAND} tasks watch {name} {config}", highlight=False, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Panels are shown, by `update`, while the context lasts."""
        if not self.console.is_terminal:
            yield
            return
        with _no_echo_of_control_keys(), Live(console=self.console, refresh_per_second=4, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def update(self, progress: Sequence[Mapping[str, Any]], found: Found, hint: str) -> None:
        if self._live is not None:
            count = Panel(_count(found, hint), title="[bold]Record by record[/]", title_align="left", padding=(0, 1))
            self._live.update(Group(*map(progress_view.brief, progress), count))
        elif time.monotonic() - self._last_line >= _LINE_EVERY_S:
            self._last_line = time.monotonic()
            for task in progress:
                self.console.print(f"    {progress_view.line(task)}", highlight=False, markup=False, soft_wrap=True)
            self.console.print(
                f"    of {words.number(found.written.records)} records {words.number(found.bucket.once)} were found in "
                f"{found.bucket.objects} objects, {words.number(found.peer.once)} in the peer",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )

    def verdict(self, found: Found) -> None:
        written, bucket, peer = found
        if found.perfect:
            text = (
                f"[bold green]Every record is in the bucket and in the peer exactly once.[/]\n\n"
                f"{words.number(bucket.once)} records in {bucket.objects} objects ({words.size(bucket.nbytes)}), "
                f"{words.number(peer.once)} records in the peer's topics: 0 lost, 0 twice, 0 out of order.\n"
                f"{words.number(written.aborted)} records of aborted transactions were in Kafka, and none is in either."
            )
        else:
            text = (
                f"[bold red]Something is not right.[/]\n\n{words.number(written.records)} records were written.\n"
                f"bucket: {_told(bucket)}\npeer: {_told(peer)}"
            )
        self.console.print(Panel(text, border_style="green" if found.perfect else "red", padding=(1, 2)))


@contextlib.contextmanager
def _no_echo_of_control_keys() -> Iterator[None]:
    """A terminal that writes ^C into a live panel moves it by what it wrote, and a line of it stays for ever."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    quiet = termios.tcgetattr(sys.stdin)
    quiet[3] &= ~termios.ECHOCTL
    termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def _count(found: Found, hint: str) -> RenderableType:
    written, bucket, peer = found
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", min_width=10)
    table.add_column()
    table.add_row("written", f"{words.number(written.records)} records to Kafka; {words.number(written.aborted)} more were aborted")
    table.add_row("in bucket", f"{_coloured(bucket)}; {bucket.objects} objects ({words.size(bucket.nbytes)})")
    table.add_row("in peer", _coloured(peer))
    if bucket.newest_key:
        table.add_row("newest", f"{bucket.newest_key}")
    table.add_row("", f"[italic]{hint}[/]")
    return table


def _coloured(tally: Tally) -> str:
    return f"[{'green' if tally.perfect else 'bold red'}]{_told(tally)}[/]"


def _told(tally: Tally) -> str:
    return (
        f"{words.number(tally.once)} found, {words.number(tally.lost)} lost, {words.number(tally.twice)} twice, "
        f"{words.number(tally.strange)} strange"
    )
