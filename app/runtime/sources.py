"""`ctx.sources`: sources that a run sets up, waits for, sends through and ends (headgate.Sources has the promises).

Each is made of steps: records for `triggers` and `actions` that are journaled first, and waits for the events by which
connectors answer. What a source emits is in the log, so nothing is lost between two waits.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from hashlib import blake2b
from typing import Any, Final

import orjson

from app.engine.values import asks
from app.engine.values.asks import Ask, Kind, Outcome, Recorded
from app.engine.values.outgoing import Record
from app.runtime import outcomes, spans
from app.runtime.attempt import Attempt
from app.runtime.limits import Misuse, checked_text
from app.runtime.steps import Steps
from app.runtime.waiting import Filter
from headgate.context import Span
from headgate.errors import EventTimeout, StepError
from headgate.event import Event
from topics import keys
from topics.sources import (
    Message,
    Spec,
    State,
    Unsuitable,
    asked_to_send,
    configured,
    is_source_id,
    made_of,
    sent_topic,
    state_topic,
)

CONNECT_SECONDS: Final = 30.0
SEND_SECONDS: Final = 30.0
_OWN_ID: Final = re.compile(r"\{\{\s*source\.id\s*\}\}")
_STATES: Final = frozenset(state.value for state in State)
_SETTLED: Final = frozenset({State.CONNECTED.value, State.FAILED.value, State.PAUSED.value})


class Sources:
    """The sources of one attempt (headgate.Sources)."""

    __slots__ = ("_attempt", "_connected", "_steps")

    def __init__(self, attempt: Attempt, steps: Steps) -> None:
        self._attempt, self._steps = attempt, steps
        self._connected: set[str] = set()
        """What this attempt has set up so far: the events of these are where they are by default."""

    def connect(
        self,
        key: str,
        kind: str,
        id: str | None = None,  # noqa: A002 as in files of sources
        options: Mapping[str, Any] | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 as in files of sources
        reconnect: Mapping[str, Any] | None = None,
        timeout: Span = CONNECT_SECONDS,
    ) -> Any:
        instance_id = self._derived(key) if id is None else self._checked(key, id)

        def make(_recorded: Recorded | None) -> Ask:
            spec = self._spec(key, kind, instance_id, options, filter, reconnect)
            record = configured(spec)
            return asks.Note(
                orjson.dumps(instance_id),
                (Record("triggers", None, record.key, record.value, tuple(record.headers)),),
            )

        states = self._attempt.limits.source_states

        def look() -> dict[str, Any]:
            """How it is, as its owner said last: the wait takes only what is settled."""
            return next((dict(one) for one in states() if one.get("id") == instance_id), {})

        def told(event: Event[Any] | None, last: Mapping[str, Any] = {}) -> dict[str, Any]:
            status = last if event is None else event.data
            error = status.get("error") or {}
            late = f"it has not connected in time: `headgate connectors status {instance_id}` says how it is"
            state = status.get("state")
            return {
                "id": instance_id,
                "kind": kind,
                "status": state if state in _STATES else State.STARTING.value,
                "connectedAt": status.get("connected_at"),
                "error": error.get("message") or (late if event is None else None),
            }

        def missed() -> Any:
            looking = self._steps.run(f"{key}:last", look)
            return told(None, looking) if self._attempt.plain else _later(looking, partial(told, None))

        def is_settled(event: Event[Any]) -> bool:
            return isinstance(event.data, dict) and event.data.get("state") in _SETTLED

        def wait() -> Any:
            return self._steps.wait_for_event(
                f"{key}:state", state_topic(instance_id), timeout, event_key=instance_id, filter=is_settled
            )

        self._connected.add(instance_id)

        def ask() -> Any:
            note = self._note(key, f"connect kind={kind!r} id={instance_id!r}", make)
            return self._then(note, wait, told, missed)

        return ask() if id is None else self._unless_taken(key, instance_id, ask)

    def wait(
        self,
        key: str,
        id: str,  # noqa: A002 as in files of sources
        event_type: str | None = None,
        timeout: Span | None = None,
        filter: Filter | None = None,  # noqa: A002 as in wait_for_event
    ) -> Any:
        instance_id = self._checked(key, id)
        topic_of = self._attempt.limits.source_topic

        def check(topic: str | None) -> None:
            if topic is not None and not _is_within(topic, instance_id):
                raise StepError(
                    key,
                    "TopicElsewhere",
                    f"source {instance_id!r} puts its events on the topic {topic!r} and not on '{instance_id}/*'; wait "
                    f"for them with ctx.step.wait_for_event and {_pattern_of(topic)}",
                )

        def ask() -> Any:
            topic = f"{instance_id}/*"
            return self._steps.wait_for_event(key, topic, timeout, event_type=event_type, filter=filter)

        if instance_id in self._connected:
            return ask()
        return self._after_a_look(key, lambda: topic_of(instance_id), check, ask)

    def send(
        self,
        key: str,
        id: str,  # noqa: A002 as in files of sources
        message: Mapping[str, Any],
        timeout: Span = SEND_SECONDS,
    ) -> Any:
        instance_id, message_id = self._checked(key, id), keys.published_event_id(self._attempt.run.id, key)

        def make(_recorded: Recorded | None) -> Ask:
            if not isinstance(message, Mapping):
                raise Misuse(f"step {key!r} sends {message!r:.200}; give an object as the source's kind describes it")
            span_ms = spans.span_ms(timeout, "timeout")
            given = Message(id=message_id, source=instance_id, body=message, expires_ms=self._attempt.now_ms + span_ms)
            try:
                record = asked_to_send(given)
            except TypeError as error:
                raise Misuse(f"the message of step {key!r} cannot be written as JSON: {error}") from None
            self._check_size(f"the message of step {key!r}", record.value)
            return asks.Note(
                orjson.dumps(message_id),
                (Record("actions", None, record.key, record.value, tuple(record.headers)),),
            )

        def missed() -> Any:
            late = f"source {instance_id!r} did not say in time that it has sent it"
            raise StepError(key, "SendTimeout", f"{late}: `headgate connectors status` says how it is")

        def told(event: Event[Any]) -> Any:
            if event.data.get("status") != "sent":
                raise StepError(key, "SendFailed", str(event.data.get("error")))
            return event.data.get("reply")

        def wait() -> Any:
            # A little longer than the source tries: it tells why it gave up.
            longest = spans.span_ms(timeout, "timeout") / 1000 + 10
            return self._steps.wait_for_event(f"{key}:sent", sent_topic(message_id), longest, event_key=instance_id)

        return self._then(self._note(key, f"send id={instance_id!r}", make), wait, told, missed)

    def disconnect(self, key: str, id: str) -> Any:  # noqa: A002 as in files of sources
        instance_id = self._checked(key, id)

        def make(_recorded: Recorded | None) -> Ask:
            return asks.Note(b"null", (Record("triggers", None, instance_id.encode(), None, ()),))

        def ask() -> Any:
            about = f"disconnect id={instance_id!r}"
            return self._attempt.ask(key, Kind.NOTE, about, make, lambda outcome: outcomes.nothing(key, outcome))

        return self._unless_taken(key, instance_id, ask)

    def status(self, key: str, id: str | None = None) -> Any:  # noqa: A002 as in files of sources
        wanted = None if id is None else self._checked(key, id)
        states = self._attempt.limits.source_states

        def look() -> dict[str, Any]:
            return {"sources": [_shown(one) for one in states() if wanted is None or one.get("id") == wanted]}

        return self._steps.run(key, look)

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _unless_taken(self, key: str, instance_id: str, ask: Callable[[], Any]) -> Any:
        """Ask, unless somebody who is no run has set the source up: a file's source is the file's. Raises StepError."""
        states = self._attempt.limits.source_states

        def look() -> str | None:
            origins = [str(one.get("origin") or "") for one in states() if one.get("id") == instance_id]
            return next((origin for origin in origins if not origin.startswith("run ")), None)

        def check(origin: str | None) -> None:
            if origin is not None:
                raise StepError(
                    key,
                    "SourceTaken",
                    f"source {instance_id!r} was set up by {origin or 'somebody else'}, not by a run; wait for its "
                    "events, or choose another id",
                )

        return self._after_a_look(key, look, check, ask)

    def _after_a_look(
        self, key: str, look: Callable[[], str | None], check: Callable[[str | None], None], ask: Callable[[], Any]
    ) -> Any:
        """Ask once what a step has seen is checked, which stays what it was when the run is called again."""
        looking = self._steps.run(f"{key}:look", look)
        if self._attempt.plain:
            check(looking)
            return ask()

        async def after() -> Any:
            check(await looking)
            return await ask()

        return after()

    def _note(self, key: str, about: str, make: Callable[[Recorded | None], Ask]) -> Any:
        def decode(outcome: Outcome) -> Any:
            return orjson.loads(outcomes.value_of(key, outcome))

        return self._attempt.ask(key, Kind.NOTE, about, make, decode)

    def _then(
        self, first: Any, wait: Callable[[], Any], told: Callable[[Event[Any]], Any], missed: Callable[[], Any]
    ) -> Any:
        """Wait after the first step, and tell what came, or what is to be told where the time was over."""
        if self._attempt.plain:
            try:
                event = wait()
            except EventTimeout:
                return missed()
            return told(event)
        return _both(first, wait, told, missed)

    def _spec(self, key: str, kind: Any, instance_id: str, options: Any, given: Any, reconnect: Any) -> Spec:
        from connectors.base.kinds import declared  # with what the kinds need: for those that use it

        found = {
            "id": instance_id,
            "kind": kind,
            "options": options,
            "filter": given,
            "reconnect": reconnect,
            # One source's events in one order, so that a wait never passes one over.
            "key": "{{ source.id }}",
        }
        try:
            spec = made_of(found, origin=f"run {self._attempt.run.id}")
            declared.check(spec)
            self._check_size(f"the source of step {key!r}", orjson.dumps(spec.to_record()))
        except (Unsuitable, declared.UnsuitableSource, TypeError) as error:
            raise Misuse(f"step {key!r} sets up a source that cannot be: {error}") from None
        return spec

    def _check_size(self, what: str, value: bytes) -> None:
        most = self._attempt.limits.event_bytes // 2
        if len(value) > most:
            raise Misuse(f"{what} has {len(value)} bytes, {most} are allowed")

    def _derived(self, key: str) -> str:
        text = f"{self._attempt.run.id}:{key}"
        return f"run-{blake2b(text.encode(), digest_size=12).hexdigest()}"

    def _checked(self, key: str, given: Any) -> str:
        if not is_source_id(given):
            raise Misuse(
                f"step {key!r} names the source {given!r:.200}; an id has 1 to 100 letters, digits, `.`, `_` or `-`"
            )
        return checked_text(given, f"the id of the source of step {key!r}")


async def _both(
    first: Awaitable[Any], wait: Callable[[], Any], told: Callable[[Event[Any]], Any], missed: Callable[[], Any]
) -> Any:
    await first
    try:
        event = await wait()
    except EventTimeout:
        event = None
    if event is not None:
        return told(event)
    late = missed()
    return await late if isinstance(late, Awaitable) else late


async def _later(looking: Awaitable[Any], told: Callable[[Any], Any]) -> Any:
    return told(await looking)


def _is_within(topic: str, instance_id: str) -> bool:
    """Whether all topics that a template makes are met by the pattern of a source's own."""
    head, _, rest = _OWN_ID.sub(instance_id, topic).partition("/")
    return head == instance_id and bool(rest) and "/" not in rest


def _pattern_of(topic: str) -> str:
    """Return the words for a pattern that the topics of a template meet."""
    literal, place, _ = topic.partition("{{")
    if not place:
        return f"the topic {literal!r}"
    head = literal.rpartition("/")[0]
    return f"the pattern '{head}/**'" if head else "a pattern of it"


def _shown(status: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": status.get("id"),
        "kind": status.get("kind"),
        "status": status.get("state"),
        "eventsReceived": status.get("events_received"),
        "lastEventAt": status.get("last_event_at"),
        "connectedAt": status.get("connected_at"),
        "reconnectAttempts": status.get("reconnect_attempts"),
    }
