"""The records that steps send: events, and records on Kafka topics that are not Headgate's own."""

from collections.abc import Mapping
from typing import Any

from app.engine.tables.run import Run
from app.engine.values.outgoing import Record
from app.runtime import fragments
from app.runtime.limits import Misuse, StepLimit, StepLimits, checked_text
from topics import causation, codec, foreign, keys
from topics.malformed import shown


def event_record(
    run: Run,
    limits: StepLimits,
    key: str,
    event_id: str,
    topic: str,
    data: Any,
    event_type: str | None,
    event_key: str | None,
) -> Record:
    """Return the event that a step publishes. Raises Malformed and StepLimit."""
    record_key, value, headers = codec.produce_form(
        topic,
        fragments.checked(data, "the data of the event"),
        event_type=event_type,
        event_id=event_id,
        key=event_key,
        source=f"headgate/{run.workflow.id}",
        traceparent=trace_of(run),
    )
    headers.extend(causation.headers(run.id, run.events[0].id, key))
    # Counted as its reader will count it, or an event that was taken here would be a dead letter there.
    _check_size(run, limits, f"the event of step {key!r}", record_key, value, headers)
    home = keys.home(event_key, event_id, limits.partitions)
    return Record("events", home, record_key, value, tuple(headers))


def foreign_record(
    run: Run,
    limits: StepLimits,
    key: str,
    topic: Any,
    value: Any,
    record_key: Any,
    headers: Mapping[str, str | bytes] | None,
) -> Record:
    """Return the record that a step sends. Raises Misuse, Malformed and StepLimit."""
    if type(topic) is not str or not topic:
        raise Misuse(f"step {key!r} sends to the Kafka topic {topic!r}; give its name")
    if not foreign.is_topic(topic):
        raise Misuse(f"step {key!r} sends to {shown(topic)}, which no Kafka topic is called; give {foreign.RULE}")
    if not limits.send_allowed(topic):
        raise Misuse(
            f"step {key!r} may not send to the Kafka topic {topic!r}; add it to replies.allowed_topics (Headgate's own "
            "topics cannot be allowed: to send an event, call ctx.step.publish_event)"
        )
    what = f"the value of step {key!r}"
    if value is not None and not isinstance(value, bytes):
        value = codec.encode_data(fragments.checked(value, what), what)
    if record_key is not None:
        record_key = _bytes(record_key, f"the record key of step {key!r}")
    names = {str(name): one for name, one in (headers or {}).items()}
    for name in names:
        checked_text(name, f"the name of a header of step {key!r}")
    named = {name: _bytes(one, f"the header {name!r} of step {key!r}") for name, one in names.items()}
    named.setdefault("traceparent", trace_of(run).encode())
    for name, content in causation.headers(run.id, run.events[0].id, key):
        named.setdefault(name, content)
    pairs = list(named.items())
    _check_size(run, limits, f"the record of step {key!r}", record_key, value, pairs)
    return Record(topic, None, record_key, value, tuple(pairs), foreign=True)


def trace_of(run: Run) -> str:
    """Return the traceparent of a run: the trace is that of its first event."""
    return keys.traceparent_of(run.events[0].traceparent, run.id[-2 * keys.DIGEST_BYTES :])


def _bytes(given: Any, what: str) -> bytes:
    if isinstance(given, bytes):
        return given
    if isinstance(given, str):
        try:
            return given.encode()
        except UnicodeEncodeError:
            raise Misuse(f"{what} holds half a surrogate pair, so it is no Unicode; give text or bytes") from None
    raise Misuse(f"{what} is {given!r}; give text or bytes")


def _check_size(
    run: Run, limits: StepLimits, what: str, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
) -> None:
    size = len(value or b"") + len(key or b"") + sum(len(name) + len(content) for name, content in headers)
    if size > limits.event_bytes:
        raise StepLimit(
            f"{what} in run {run.id!r} has {size} bytes, more than the {limits.event_bytes} of limits.event_bytes; "
            "publish a reference to the data instead"
        )
