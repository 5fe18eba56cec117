"""What became of one event, from what Kafka holds: values in, a JSON object out. `app.wiring.explaining` reads them."""

import ast
import difflib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from app.ui import handled
from topics import keys, told
from topics.envelope import Envelope
from topics.facts import RunFact
from topics.patterns import Pattern, PatternError
from topics.reserved import RESUME, START, resume_topic
from topics.timestamps import milliseconds, rfc3339

Object = Mapping[str, Any]
MOST_REFUSED: Final = 8
"""Refused events of a wait that facts tell of at most (app.engine.tables.awaited)."""
_TEXT: Final = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_CONDITION: Final = re.compile(rf"topic=({_TEXT}) event_key=(None|{_TEXT})(?: event_type=({_TEXT}))?")


class Condition(NamedTuple):
    """An event that a step waits for."""

    pattern: Pattern
    event_key: str | None
    event_type: str | None


@dataclass(kw_only=True)
class Evidence:
    """What was read about an event and whoever may have had to do with it."""

    event: Envelope
    equal: Sequence[Envelope]
    """All events with its id, source and key that were found, itself included, the earliest first."""
    partitions: int
    dedup_ms: int
    """For how long an id is remembered."""
    letters: Sequence[Object] = ()
    """Dead letters of the records in `equal`."""
    announced: Mapping[str, Object] = field(default_factory=dict)
    loaders: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Live workers by the workflows that they have loaded."""
    results: Sequence[Object] = ()
    facts: Mapping[str, Sequence[Object]] = field(default_factory=dict)
    """By run, oldest first; of runs that have to do with the event."""
    facts_from_ms: int = 0
    """From when on facts were read: of a wait that began before, nothing may be known."""
    starts: Mapping[str, str] = field(default_factory=dict)
    """When runs started, as far as they are told of."""
    journals: Mapping[int, handled.Journaled] = field(default_factory=dict)
    """Of the partitions that have to do with `original`, read before everything else, in the order of its way."""


def original(event: Envelope, equal: Sequence[Envelope], dedup_ms: int) -> Envelope:
    """Return the event that was handled where `event` is its repetition, else itself. `equal`: see Evidence."""
    before = [one for one in equal if _at(one) < _at(event) and one.timestamp_ms >= event.timestamp_ms - dedup_ms]
    return before[0] if event.explicit and before else event


def gathers_at(workflow_id: str, record: Object, partitions: int) -> int | None:
    """Return the partition at which the batches of an announced workflow gather, None if it is the event's."""
    if not _batched(record) or record.get("batch_by") != "workflow":
        return None
    return keys.partition_of(workflow_id.encode(), partitions)


def _batched(record: Object) -> bool:
    size = record.get("batch_size")
    return isinstance(size, int | float) and size > 1


def way_of(event: Envelope, announced: Mapping[str, Object], partitions: int) -> list[int]:
    """Return the partitions that an event comes by: where it landed, its home, where its batches gather."""
    home = keys.home_of(event, partitions)
    gather = [
        gathers_at(workflow_id, record, partitions)
        for workflow_id, record in announced.items()
        if _why_not(workflow_id, record, event.topic) is None
    ]
    return list(dict.fromkeys([event.partition, home, *(one for one in gather if one is not None)]))


def explained(found: Evidence) -> dict[str, Any]:
    """Return where the event is, what each workflow did with it, and which waits saw it."""
    event, digest = found.event, keys.digest_of(found.event)
    runs = _runs(found)
    return {
        "event": _described(event, found.partitions),
        "duplicate_of": _duplicate_of(found),
        "repeated_by": [_place(one) for one in _after(found)],
        "dead_letters": [_letter(one) for one in found.letters],
        "workflows": [
            _of_workflow(found, workflow_id, keys.run_id(workflow_id, digest), runs)
            for workflow_id in sorted({*found.announced, *_called(event)})
        ],
        "waits": list(_waits(found)),
        "waits_from": rfc3339(found.facts_from_ms),
    }


# --- the event ------------------------------------------------------------------------------------------------------


def _described(event: Envelope, partitions: int) -> dict[str, Any]:
    home = keys.home_of(event, partitions)
    by = "its key" if event.key is not None else "its id" if event.explicit else "where it landed"
    return {
        "id": event.id,
        "source": event.source,
        "topic": event.topic,
        "event_type": event.event_type,
        "key": event.key,
        "partition": event.partition,
        "offset": event.offset,
        "appended_at": rfc3339(event.timestamp_ms),
        "home": home,
        "home_by": by,
    }


def _place(event: Envelope) -> dict[str, Any]:
    return {"partition": event.partition, "offset": event.offset, "appended_at": rfc3339(event.timestamp_ms)}


def _at(event: Envelope) -> tuple[int, int, int]:
    return (event.timestamp_ms, event.partition, event.offset)


def _duplicate_of(found: Evidence) -> dict[str, Any] | None:
    """The first of its like that came before it, while its id was remembered."""
    first = original(found.event, found.equal, found.dedup_ms)
    return None if first is found.event else _place(first)


def _after(found: Evidence) -> list[Envelope]:
    return [one for one in found.equal if _at(one) > _at(found.event)]


def _letter(letter: Object) -> dict[str, Any]:
    return {name: letter.get(name) for name in ("code", "reason", "remedy", "workflow_id", "run_id", "at")}


def _called(event: Envelope) -> Iterator[str]:
    """The workflow that the event starts by its name."""
    if event.topic.startswith(START):
        yield event.topic.removeprefix(START)


# --- workflows ------------------------------------------------------------------------------------------------------


def holds(events: Any, places: Iterable[tuple[int, int]]) -> bool:
    """Say whether the `events` of a result or a fact have one that landed at one of these places."""
    if not isinstance(events, list):
        return False
    wanted = list(places)  # not a set: whatever somebody wrote there can be compared, and not all of it hashed
    return any(isinstance(one, dict) and (one.get("partition"), one.get("offset")) in wanted for one in events)


def _runs(found: Evidence) -> dict[str, dict[str, Any]]:
    """What is known of each run: its status, its error, and whether the event is one of those that started it."""
    places = [(one.partition, one.offset) for one in found.equal]
    known: dict[str, dict[str, Any]] = {}
    for run_id, facts in found.facts.items():
        if not any(str(one.get("fact")).startswith("run_") for one in facts):
            continue
        listener = told.Listener()
        run: dict[str, Any] = {"workflow_id": facts[0].get("workflow_id"), "error": None, "started": False}
        for fact in facts:
            listener.hear(fact)
            run["started"] = run["started"] or (
                fact.get("fact") == RunFact.STARTED and holds(fact.get("events"), places)
            )
            if str(fact.get("fact")).startswith("run_"):
                run["error"] = fact.get("error")
        known[run_id] = run | {"status": listener.status}
    for result in found.results:
        known[str(result.get("run_id"))] = {
            "workflow_id": result.get("workflow_id"),
            "status": result.get("status"),
            "error": result.get("error"),
            "started": holds(result.get("events"), places),
        }
    return known


def _of_workflow(
    found: Evidence, workflow_id: str, run_id: str, runs: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    record = found.announced.get(workflow_id)
    if run_id in runs:
        return _answer(workflow_id, runs[run_id]["status"], run_id, _error(runs[run_id]))
    for other, run in runs.items():
        if run["started"] and run["workflow_id"] == workflow_id:
            return _answer(workflow_id, run["status"], other, _said("batched into this run", _error(run)))
    if record is None:
        return _answer(workflow_id, "unknown", None, "no worker has announced it")
    if record.get("retired_at"):
        return _answer(workflow_id, "retired", None, f"retired at {record['retired_at']}")
    why_not = _why_not(workflow_id, record, found.event.topic)
    if why_not is not None:
        return _answer(workflow_id, "no match", None, _said(why_not, _cancels(record, found.event)))
    for letter in found.letters:
        if letter.get("workflow_id") == workflow_id:
            return _answer(
                workflow_id, "refused", letter.get("run_id"), f"{letter.get('code')}: {letter.get('reason')}"
            )
    became, why = _without_run(found, workflow_id, run_id, record)
    return _answer(workflow_id, became, None, why)


def _without_run(found: Evidence, workflow_id: str, run_id: str, record: Object) -> tuple[str, str]:
    """Say what the journals tell of an event that triggers a workflow and has no run that was told of."""
    event = original(found.event, found.equal, found.dedup_ms)
    home = keys.home_of(event, found.partitions)
    batched = _batched(record)
    for one in found.journals.values():
        if workflow_id in one.waits_for:
            if not found.loaders.get(workflow_id):
                return "asleep", "no live worker has loaded it; it runs once one has"
            if batched:
                return "gathering", f"it waits for its batch, at partition {one.partition}"
            behind = one.holders.get(workflow_id)
            return "queued", f"it waits behind {behind}, which has its key" if behind else "its turn is about to come"
        if run_id in one.runs:
            return "running", "its run has begun, and nothing was told of it yet"
        if run_id in one.decided:
            return "decided", f"its result is on its way; partition {one.partition} sends it, or its next owner does"
    behind_ = _not_there(found, event, home, gathers_at(workflow_id, record, found.partitions))
    if behind_ is not None:
        return "not handled", behind_
    at_home = found.journals[home]
    if "" in at_home.decided:
        return "decided", f"a dead letter is on its way; partition {home} sends it, or its next owner does"
    since_ms = at_home.known_since_ms.get(workflow_id)
    if since_ms is not None and event.timestamp_ms < since_ms and event.topic != START + workflow_id:
        return "no run", f"partition {home} heard of it at {rfc3339(since_ms)}, after the event"
    if since_ms is None and not found.loaders.get(workflow_id):
        return "asleep", f"no live worker has loaded it, and partition {home} has not heard of it"
    if record.get("has_filter"):
        return "filtered", f"its filter refused the event, which partition {home} has handled"
    return "no run", f"partition {home} has handled the event: what it came to is no longer kept, or {_ANOTHER}"


_ANOTHER: Final = "another form of the workflow, which did not take it, was loaded then"


def _not_there(found: Evidence, event: Envelope, home: int, gathers: int | None) -> str | None:
    """Say how far an event has come that was not handled yet; None for one that was."""
    way = [event.partition, home, *([] if gathers is None else [gathers])]
    for partition in way:
        if partition not in found.journals or not found.journals[partition].claimed:
            return f"no worker has ever taken partition {partition}; it is handled once one does"
    landed = found.journals[event.partition]
    if landed.events_offset <= event.offset:
        behind = event.offset - landed.events_offset
        return f"partition {event.partition} is {behind} records before it; `headgate doctor` shows the lag"
    for source, target in itertools.pairwise(way):
        if not handled.passed_on(found.journals[source], found.journals[target]):
            return f"partition {source} has passed it on, and partition {target} has not handled all of that yet"
    return None


def _answer(workflow_id: str, became: Any, run_id: Any, why: str | None) -> dict[str, Any]:
    return {"workflow": workflow_id, "became": became, "run_id": run_id, "why": why}


def _error(run: Object) -> str | None:
    error = run.get("error")
    return f"{error.get('type')}: {error.get('message')}" if isinstance(error, dict) else None


def _said(*parts: str | None) -> str:
    return "; ".join(one for one in parts if one)


def _why_not(workflow_id: str, record: Object, topic: str) -> str | None:
    """Say why none of a workflow's triggers meets the topic, None if one does or if it is started by its name."""
    if topic == START + workflow_id:
        return None
    patterns = list(_patterns(record.get("triggers")))
    if any(one.matches(topic) for one in patterns):
        return None
    if not patterns:
        return "it has no trigger: it starts by its name or its schedule"
    near = difflib.get_close_matches(topic, [one.text for one in patterns], n=1, cutoff=0)
    nearest = next((one for one in patterns if near and one.text == near[0]), patterns[0])
    others = "" if len(patterns) == 1 else f" ({len(patterns) - 1} more)"
    return f"{nearest.text!r}{others}: {nearest.difference(topic)}"


def _cancels(record: Object, event: Envelope) -> str | None:
    """Say whether the event is one of those that cancel runs of the workflow, None if not."""
    if event.key is None or not any(one.matches(event.topic) for one in _patterns(record.get("cancel_on"))):
        return None
    by = ", if its cancel_filter says so" if record.get("has_cancel_filter") else ""
    return f"it cancels runs of the key {event.key!r} that began before it{by} (cancel_on)"


def _patterns(triggers: Any) -> Iterator[Pattern]:
    for text in triggers if isinstance(triggers, list) else ():
        try:
            yield Pattern.parse(text)
        except PatternError:
            continue


# --- waits ----------------------------------------------------------------------------------------------------------


def conditions(what: Any) -> list[Condition]:
    """Return the events that a step waits for, from the `what` of its facts; none for other steps."""
    made = []
    for topic, event_key, event_type in _CONDITION.findall(what) if isinstance(what, str) else ():
        try:
            pattern = Pattern.parse(ast.literal_eval(topic))
            key, kind = (ast.literal_eval(one) if one else None for one in (event_key, event_type))
        except (PatternError, SyntaxError, ValueError):
            continue
        made.append(Condition(pattern, key, kind))
    return made


def concerns(fact: Object, topic: str) -> bool:
    """Say whether the fact is of a step that waits for events on `topic`."""
    if fact.get("kind") == "suspend":
        return topic.startswith(RESUME) and resume_topic(str(fact.get("run_id")), str(fact.get("step"))) == topic
    return any(one.pattern.matches(topic) for one in conditions(fact.get("what")))


def _waits(found: Evidence) -> Iterator[dict[str, Any]]:
    topic = found.event.topic
    for run_id, facts in sorted(found.facts.items()):
        of_topic = {str(one.get("step")) for one in facts if "step" in one and concerns(one, topic)}
        for step in told.steps_of(facts):
            if step["step"] in of_topic:
                became = _of_wait(found, run_id, facts, step)
                if became is not None:
                    yield {"run_id": run_id, "step": step["step"], "what": step["what"]} | became


def _of_wait(found: Evidence, run_id: str, facts: Sequence[Object], step: Object) -> dict[str, Any] | None:
    """What the event was to a wait; None for one that was over before, or whose run began after it."""
    event, at_ms = found.event, found.event.timestamp_ms
    places = [(one.partition, one.offset) for one in found.equal]
    if holds(step["received"], places):
        return _wait("received", f"at {step['finished_at']}")
    if holds(step["refused"], places):
        return _wait("refused", "its filter refused the event")
    begun = _ms(found.starts.get(run_id)) or _ms(step["asked_at"])
    ended = _ms(step["finished_at"])
    if (begun is not None and at_ms < begun) or (ended is not None and ended < at_ms):
        return None
    if any(one.get("fact") == RunFact.STARTED and holds(one.get("events"), places) for one in facts):
        return _wait("missed", "it started this run, which never receives it")
    other = next((one["step"] for one in told.steps_of(facts) if holds(one["received"], places)), None)
    if other is not None:
        return _wait("missed", f"step {other!r} of the same run received it")
    asked_for = conditions(step["what"])
    since = dict(enumerate(step["events_since"] or ()))
    which = [n for n, one in enumerate(asked_for) if one.pattern.matches(event.topic)]
    if which and all((_ms(since.get(n)) or 0) > at_ms for n in which):
        return _wait("missed", f"it takes events from {', '.join(since[n] for n in which)} on")
    wanted = [asked_for[n] for n in which]
    if wanted and all(one.event_key not in (None, event.key) for one in wanted):
        asked = ", ".join(repr(one.event_key) for one in wanted)
        return _wait("missed", f"it waits for key {asked}, the event has {event.key!r}")
    if wanted and all(one.event_type not in (None, event.event_type) for one in wanted):
        asked = ", ".join(repr(one.event_type) for one in wanted)
        return _wait("missed", f"it waits for type {asked}, the event has {event.event_type!r}")
    until = _ms(step["until"])
    if until is not None and until < at_ms:
        return _wait("missed", f"it waited until {step['until']}")
    if step["received"]:
        return _wait("missed", f"it received {step['received'][0].get('id')} first")
    if ended is not None:
        became = "resumed" if step["kind"] == "suspend" and step["error"] is None else "missed"
        return _wait(became, f"{_error(step) or 'it ended'} at {step['finished_at']}")
    return _wait("open", f"it waits still: {_on_its_way(found, len(step['refused']))}")


def _on_its_way(found: Evidence, refused: int) -> str:
    event = original(found.event, found.equal, found.dedup_ms)
    behind = _not_there(found, event, keys.home_of(event, found.partitions), None)
    if behind is not None:
        return behind
    if refused >= MOST_REFUSED:
        return f"its filter refused {refused} events, and of more nothing is told: this one too, or it is on its way"
    return "the event is on its way to it, or to its filter"


def _wait(became: str, why: str) -> dict[str, Any]:
    return {"became": became, "why": why}


def _ms(text: Any) -> int | None:
    try:
        return milliseconds(text)
    except (TypeError, ValueError):
        return None
