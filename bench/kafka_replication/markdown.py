"""The result file for people: a page from the content of the result file for machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.common.results import cell

_COLUMNS = ("mb_per_s", "records_per_s", "cpu_s_per_gb", "start_to_first_record_s", "rss_mib", "whole_cpu_s_per_gb", "load_average")
_IDS = ("arrived", "twice", "lost", "late", "torn")


def page(content: Mapping[str, Any]) -> str:
    """Everything but the settings of the sides."""
    return "\n".join(_lines(content)) + "\n"


def _lines(content: Mapping[str, Any]) -> Iterator[str]:
    yield f"# Kafka replication, {content['at'][:10]}"
    yield ""
    yield f"`{content['command']}`"
    yield ""
    yield from (f"* {name}: {value}" for name, value in {**content["versions"], **content["machine"]}.items())
    for one in content["compared"]:
        yield from _compared(one)
    for one in content["latencies"]:
        yield from _latency(one)
    for one in content["others"]:
        yield from _other(one)
        yield from _targets(one["targets"])
    yield from (f"\nFailed: {why}" for why in content["failed"])


def _compared(one: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", f"## {one['case']}" + (" — void" if one["void"] else ""), "")
    yield (
        f"{one['records']:,} records of {one['value_bytes']} B, {one['records_per_batch']} in a batch of "
        f"{one['stored_batch_bytes']:,} stored bytes, compressed {one['compressed']} : 1. "
        f"Exactly once: {', '.join(side for side, asked in one['exactly_once'].items() if asked) or 'none'}."
    )
    if one["void"]:
        yield f"More than 30 % slower than known: {', '.join(one['void'])}."
    yield ""
    yield from _table(["side", *_COLUMNS, *_IDS], [_side(name, row) for name, row in one["sides"].items()])
    yield ""
    yield from (
        f"* {peer}: {ratio['cpu']} × our CPU; our throughput {ratio['throughput']} × its" for peer, ratio in one["ratios"].items()
    )
    yield from (f"* {side} failed: {why}" for side, why in one["failed"].items())
    yield from _targets(one["targets"])


def _side(name: str, row: Mapping[str, Any]) -> list[str]:
    return [name, *(_flat(row[column]) for column in _COLUMNS), *(_flat(row["ids"][column]) for column in _IDS)]


def _latency(one: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", f"## Latency: {one['side']}, {one['rate']}/s, {'exactly' if one['exactly_once'] else 'at least'} once", "")
    to_source, to_append, to_reader = (_flat(one[name]) for name in ("source_ms", "append_ms", "seen_ms"))
    yield f"{one['received']:,} records; ms to the source's answer: {to_source}; to append: {to_append}; to the reader: {to_reader}."
    yield from _targets(one["targets"])


def _other(one: Mapping[str, Any]) -> Iterator[str]:
    """A list of the same things is a table."""
    yield from ("", f"## {one['mode']}", "")
    figures = {name: value for name, value in one.items() if name not in ("mode", "targets")}
    yield from (f"* {name}: {_flat(value)}" for name, value in figures.items() if not isinstance(value, list))
    for rows in (value for value in figures.values() if isinstance(value, list) and value):
        yield ""
        yield from _table(list(rows[0]), [[_flat(value) for value in row.values()] for row in rows])


def _targets(targets: Mapping[str, Sequence[float | str]]) -> Iterator[str]:
    if targets:
        yield ""
        yield from _table(["target", "value", "wanted", ""], [[name, *map(_flat, cells)] for name, cells in targets.items()])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    yield from ("| " + " | ".join(row) + " |" for row in rows)


def _flat(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else cell(value).replace("\n", ", ")
