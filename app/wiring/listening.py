"""What announced workflows listen to, which workers have loaded them, and which topic was meant where none listens. For
commands and `headgate dev`.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from app.kafka import records
from app.kafka.admin import Admin
from app.settings import KafkaSettings
from topics import announcement, catalog
from topics.patterns import Pattern, PatternError

PERIODS: Final = 3
"""A worker that was silent for so many of its periods is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A live worker and what it has loaded: versions by workflow id."""

    instance_id: str
    workflows: Mapping[str, str]
    silent_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """All that the compacted topic says: announcements and retirements by workflow id, and the live workers."""

    workflows: Mapping[str, dict[str, Any]]
    workers: Sequence[Worker]

    def loaders(self, workflow_id: str) -> list[Worker]:
        """The live workers that have loaded the workflow."""
        return [one for one in self.workers if workflow_id in one.workflows]


def announcements(kafka: KafkaSettings, admin: Admin) -> Mapping[str, dict[str, Any]]:
    """What `heard` says of each workflow, by its id."""
    return heard(kafka, admin, now_ms=0).workflows


def heard(
    kafka: KafkaSettings, admin: Admin, *, now_ms: int, odd: Callable[[bytes], object] = lambda _key: None
) -> Heard:
    """Read the topic; `odd` hears the keys of what is no announcement.

    Raises TopicMissing, KafkaUnreachable, AdminError.
    """
    found: dict[str, dict[str, Any]] = {}
    workers: list[Worker] = []
    for key, record in sorted(records.last_values(kafka, admin, catalog.qualified(kafka.prefix, "workflows")).items()):
        try:
            value = orjson.loads(record.value or b"null")
        except orjson.JSONDecodeError:
            value = None
        if not announcement.is_workflow_key(key):
            workers.extend(_worker(key, value, now_ms - record.timestamp_ms))
        elif isinstance(value, dict):
            name = key.decode(errors="replace")
            found[name] = value | {"id": name}
        else:
            odd(key)
    return Heard(workflows=found, workers=workers)


def _worker(key: bytes, value: Any, silent_ms: int) -> Iterator[Worker]:
    """The worker of a record, if it is one and was heard of lately."""
    if not isinstance(value, dict) or key != announcement.worker_key(str(value.get("instance_id"))):
        return
    every, workflows = value.get("every_seconds"), value.get("workflows")
    if isinstance(every, int | float) and isinstance(workflows, dict) and silent_ms <= PERIODS * every * 1000:
        yield Worker(
            instance_id=str(value["instance_id"]),
            workflows={str(name): str(version) for name, version in workflows.items()},
            silent_seconds=max(0, silent_ms) / 1000,
        )


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
    remedy = f"did you mean {near!r}?" if near else "`headgate workflows list` shows what they trigger on."
    return f"no workflow listens to {topic!r}; {remedy} If a run waits for it, all is well"


def nearest(topic: str, listened: Iterable[Pattern]) -> str | None:
    """The trigger that was likely meant."""
    found = difflib.get_close_matches(topic, sorted({one.text for one in listened}), n=1)
    return found[0] if found else None


def example(announced: Iterable[Mapping[str, Any]], sources: Iterable[str]) -> str | None:
    """A topic that sets something off: a literal trigger, of the workflows in `sources` if one is told from them.

    Announcements outlive the workflows of earlier starts, so the text of what is loaded now has the last word.
    """
    literal = [one.text for one in patterns(announced) if one.is_literal]
    text = "\n".join(sources).replace("'", '"')
    written = [topic for topic in literal if f'"{topic}"' in text]
    # What others publish on the way is named after what begins it, as a rule.
    return min(written, key=lambda topic: text.index(f'"{topic}"'), default=next(iter(literal), None))
