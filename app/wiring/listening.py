"""What announced workflows listen to, and which topic was meant where none does. For commands and `headgate dev`."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson

from app.kafka import records
from app.kafka.admin import Admin
from app.settings import KafkaSettings
from topics import catalog
from topics.patterns import Pattern, PatternError


def announcements(
    kafka: KafkaSettings, admin: Admin, *, odd: Callable[[bytes], object] = lambda _key: None
) -> dict[str, dict[str, Any]]:
    """What the compacted topic says of each workflow, by its id; `odd` hears the keys of what is no announcement.

    Raises TopicMissing, KafkaUnreachable, AdminError.
    """
    found = {}
    for key, record in sorted(records.last_values(kafka, admin, catalog.qualified(kafka.prefix, "workflows")).items()):
        try:
            value = orjson.loads(record.value or b"null")
        except orjson.JSONDecodeError:
            value = None
        if isinstance(value, dict):
            name = key.decode(errors="replace")
            found[name] = {"id": name} | value
        else:
            odd(key)
    return found


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
    near = nearest(topic, listened)
    remedy = f"did you mean {near!r}?" if near else "`headgate workflows list` shows what they trigger on"
    return f"no workflow listens to {topic!r}; {remedy}"


def nearest(topic: str, listened: Iterable[Pattern]) -> str | None:
    """The trigger that was likely meant."""
    found = difflib.get_close_matches(topic, sorted({one.text for one in listened}), n=1)
    return found[0] if found else None


def example(announced: Iterable[Mapping[str, Any]], sources: Iterable[str]) -> str | None:
    """A topic that sets something off: a literal trigger, of the workflows in `sources` if one is told from them.

    Announcements outlive the workflows of earlier starts, so the text of what is loaded now has the last word.
    """
    literal = [one.text for one in patterns(announced) if one.is_literal]
    texts = list(sources)
    written = [topic for topic in literal if any(f'"{topic}"' in text or f"'{topic}'" in text for text in texts)]
    return next(iter(written or literal), None)
