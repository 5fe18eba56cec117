"""Whether a workflow listens to a logical topic, and which topic was meant where none does."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from topics.patterns import Pattern, PatternError


def patterns(announced: Iterable[Mapping[str, Any]]) -> list[Pattern]:
    """What the workflows that are not retired trigger on. What cannot be read triggers nothing."""
    return [one for record in announced if not record.get("retired_at") for one in _read(record.get("triggers"))]


def _read(triggers: Any) -> Iterator[Pattern]:
    for text in triggers if isinstance(triggers, list) else ():
        try:
            yield Pattern.parse(text)
        except PatternError:
            continue


def unheard(topic: str, announced: Iterable[Mapping[str, Any]]) -> str | None:
    """What to tell of an event on `topic`, or None where a workflow listens to it."""
    known = list(announced)
    if all(record.get("retired_at") for record in known):
        return (
            f"no workflow listens to {topic!r}: no worker has announced any. Start one: `headgate worker PATH`, or "
            "`headgate dev PATH`"
        )
    listened = patterns(known)
    if any(pattern.matches(topic) for pattern in listened):
        return None
    near = difflib.get_close_matches(topic, sorted({one.text for one in listened}), n=1)
    remedy = f"did you mean {near[0]!r}?" if near else "`headgate workflows list` shows what they trigger on"
    return f"no workflow listens to {topic!r}; {remedy}"
