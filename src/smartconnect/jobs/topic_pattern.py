"""The user's `topics_regex`, compiled by RE2: linear time whatever the user writes, hence no look-around and no back-references
(api.md §4). Called by jobs when they validate, select topics and compare tasks.
"""

from __future__ import annotations

from functools import lru_cache

import re2

from smartconnect.domain.fields import Unfit
from smartconnect.domain.topics import Matcher, TopicSelection, split_topics

MAX_PATTERN = 256


@lru_cache(maxsize=256)
def compile_pattern(text: str) -> Matcher:
    """A function that says whether a whole name matches. Raises `Unfit` with the engine's reason."""
    if len(text) > MAX_PATTERN:
        raise Unfit(f"must have at most {MAX_PATTERN} characters, not {len(text)}")
    options = re2.Options()
    options.log_errors = False
    try:
        pattern = re2.compile(text, options)
    except re2.error as error:
        raise Unfit(f"is no regular expression that can be matched in linear time (RE2): {_reason(error)}") from None
    return lambda name: pattern.fullmatch(name) is not None


def _reason(error: Exception) -> str:
    cause = error.args[0] if error.args else ""
    return cause.decode(errors="replace") if isinstance(cause, bytes) else str(cause)


def selection(topics: str | None, topics_regex: str | None) -> TopicSelection:
    """What a validated configuration selects; nothing if it has neither."""
    if topics_regex:
        return TopicSelection(names=frozenset(), matches=compile_pattern(topics_regex))
    return TopicSelection(names=frozenset(split_topics(topics)) if topics else frozenset())
