"""POST /api/v1/events: read, judge, produce, and answer once Kafka has acknowledged.

A request is taken as a whole or not at all: nothing is produced before every event in it is found right.
"""

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, NamedTuple, Protocol

import orjson

from app.gateway import fields
from app.gateway.errors import Problem
from app.gateway.limits import Body, InFlight, TokenBucket, rate_limited
from app.gateway.metrics import Metrics
from app.gateway.workflows import Workflows
from app.kafka.producer import MaybeAccepted, NotAccepted, Outgoing
from topics import cloudevents, codec
from topics.catalog import CATALOG
from topics.fields import MAX_KEY, Found, unreadable, valid_traceparent
from topics.malformed import EXAMPLE, Malformed

PATH: Final = "/api/v1/events"
MOST_DETAILS: Final = 100
MOST_KEY: Final = 255
MOST_KEY_BYTES: Final = 4 * MAX_KEY
AT_ONCE: Final = 500
"""Events read before other requests get their turn."""
PLAIN: Final = "application/json"
CLOUD_EVENT: Final = "application/cloudevents+json"
CLOUD_EVENTS: Final = "application/cloudevents-batch+json"
# Kafka counts the batch around a record as well.
MOST_BYTES: Final = CATALOG["events"].max_message_bytes - 4096


class Producer(Protocol):
    """Writes events to their home partitions."""

    @property
    def pending_bytes(self) -> int: ...

    async def produce(self, events: Sequence[Outgoing]) -> None:
        """Return once all are acknowledged."""
        ...


class Posted(NamedTuple):
    """One event of a request, ready for Kafka. A NamedTuple because one is made per event."""

    event_id: str
    topic: str
    outgoing: Outgoing


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request's headers, as far as events need them."""

    content_type: str
    idempotency_key: str | None
    traceparent: str | None

    @classmethod
    def of(cls, headers: Mapping[bytes, bytes]) -> "Request":
        """Raises Problem 415 and 400."""
        content_type = _content_type(headers)
        key = headers.get(b"idempotency-key")
        text = None if key is None else key.decode("latin-1")
        if text is not None and not (0 < len(text) <= MOST_KEY and text.isascii() and text.isprintable()):
            raise Problem(
                400,
                "wrong_idempotency_key",
                "The header Idempotency-Key cannot be used.",
                remedy=f"Send 1 to {MOST_KEY} printable ASCII characters, such as a UUID, or leave it out.",
            )
        parent = headers.get(b"traceparent")
        return cls(
            content_type=content_type,
            idempotency_key=text,
            traceparent=None if parent is None else valid_traceparent(parent.decode("latin-1")),
        )


def _content_type(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"content-type", b"application/json")
    if given == b"application/json":
        media, charset = PLAIN, ""
    else:
        media, _, parameters = given.decode("latin-1").lower().partition(";")
        media, charset = media.strip(), parameters.partition("charset=")[2].strip('" ')
    encoding = headers.get(b"content-encoding", b"identity").decode("latin-1")
    if (
        media not in (PLAIN, CLOUD_EVENT, CLOUD_EVENTS)
        or charset not in ("", "utf-8", "utf8")
        or encoding != "identity"
    ):
        shown = given.decode("latin-1")
        raise Problem(
            415,
            "unsupported_media_type",
            f"The body is announced as {shown!r}" + (f", encoded as {encoding!r}." if encoding != "identity" else "."),
            remedy=f"Send JSON in UTF-8, not compressed: -H 'Content-Type: {PLAIN}' (or {CLOUD_EVENT}).",
        )
    return media


def derived_id(idempotency_key: str, index: int | None) -> str:
    """The id of an event that is posted under an Idempotency-Key; the same key and place give the same id."""
    text = idempotency_key if index is None else f"{index}:{idempotency_key}"
    return blake2b(
        text.encode(), digest_size=16, person=b"idempotency-key" if index is None else b"idempotent-list"
    ).hexdigest()


_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def fresh_ids(at_once: int) -> Iterator[str]:
    """Random UUIDs (version 4) without end, as `uuid.uuid4` makes them in a quarter of the time."""
    while True:
        digits = os.urandom(16 * at_once).hex()
        for at in range(0, len(digits), 32):
            text = digits[at : at + 32]
            yield f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:]}"


def parse(body: bytes) -> Any:
    """Return the JSON of a request. Raises Problem 400."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        wrong = unreadable(body, error, what="the body")
        remedy = fields.remedy(wrong)
        raise Problem(
            400,
            "not_json" if wrong.code == "empty_value" else wrong.code,
            f"{wrong.reason[:1].upper()}{wrong.reason[1:]}.",
            remedy=f"{remedy[:1].upper()}{remedy[1:]}.",
            details=[{"pointer": "", "issue": wrong.reason}],
        ) from None


class _Oversized(Exception):
    """An event above limits.event_bytes."""


class Reader:
    """Turns the JSON of a request into events. It keeps what is wrong, to say all of it at once."""

    def __init__(self, request: Request, *, most_bytes: int, count: int = 1) -> None:
        self._request = request
        self._fresh = fresh_ids(count)
        self._most_bytes = most_bytes
        parent = request.traceparent
        self._headers = [] if parent is None else [("traceparent", parent.encode())]
        self._most_quickly = most_bytes - MOST_KEY_BYTES - sum(len(name) + len(raw) for name, raw in self._headers)
        self.details: list[dict[str, str]] = []
        self.oversized = 0

    def read(self, item: Any, index: int | None) -> Posted | None:
        """Return one event, or None after noting what is wrong with it."""
        where = "" if index is None else f"/{index}"
        is_plain = self._request.content_type == PLAIN and (type(item) is not dict or "specversion" not in item)
        reason = "not an event"
        try:
            if not is_plain:
                cloud_event = cloudevents.from_structured(item, {})
                return self._posted(cloud_event, cloud_event.event_id)
            if type(item) is dict:
                given = item.get("id")
                event_id = self._new_id(index) if given is None else given
                if type(event_id) is str:
                    outgoing = fields.encoded(item, event_id, self._headers)
                    if outgoing is not None and len(outgoing[2]) <= self._most_quickly:
                        return Posted(event_id, item["topic"], outgoing)
                found = fields.plain(item)
                if found is not None:
                    return self._posted(found, event_id)
        except _Oversized as wrong:
            self.oversized += 1
            self._note([{"pointer": where, "issue": str(wrong)}])
            return None
        except Malformed as wrong:
            reason = f"{wrong.reason}; {fields.remedy(wrong)}"
        issues = list(fields.wrong_with(item, where)) if is_plain else []
        self._note(issues or [{"pointer": where, "issue": reason}])
        return None

    def _posted(self, found: Found, event_id: Any) -> Posted:
        request = self._request
        key_bytes, value, headers = codec.produce_form(
            found.topic,
            found.data,
            event_type=found.event_type,
            event_id=event_id,
            key=found.event_key,
            created_at=found.created_at,
            source=found.source,
            traceparent=found.traceparent if request.traceparent is None else request.traceparent,
        )
        size = len(value) + len(key_bytes or b"") + sum(len(name) + len(raw) for name, raw in headers)
        if size > self._most_bytes:
            raise _Oversized(f"the event has {size} bytes, limits.event_bytes allows {self._most_bytes}")
        return Posted(event_id, found.topic, (key_bytes, event_id, value, headers))

    def _new_id(self, index: int | None) -> str:
        key = self._request.idempotency_key
        return next(self._fresh) if key is None else derived_id(key, index)

    def _note(self, issues: Iterable[dict[str, str]]) -> None:
        for issue in issues:
            if len(self.details) < MOST_DETAILS:
                self.details.append(issue)

    def verdict(self) -> None:
        """Raise Problem 413 or 422 if anything was noted."""
        if not self.details:
            return
        if self.oversized == len(self.details):
            raise Problem(
                413,
                "event_too_large",
                "An event is larger than limits.event_bytes; nothing of this request was taken.",
                remedy="Send the large part elsewhere and its address in the event, or raise limits.event_bytes.",
                details=self.details,
            )
        raise Problem(
            422,
            "wrong_fields",
            "The body is JSON, but not one event or a list of events; nothing of this request was taken.",
            remedy=f"Mend what `details` names. The smallest right body is {EXAMPLE}.",
            details=self.details,
        )


def items_of(body: Any, content_type: str, most_events: int) -> list[Any] | None:
    """Return the list that was posted, None for one event. Raises Problem 413, 422."""
    if type(body) is not list:
        if content_type == CLOUD_EVENTS:
            raise _wrong_body(f"{CLOUD_EVENTS} is a list; one event is {CLOUD_EVENT}")
        return None
    if len(body) > most_events:
        raise Problem(
            413,
            "too_many_events",
            f"The list has {len(body)} events, gateway.max_events allows {most_events}.",
            remedy="Send the events in several requests, or raise gateway.max_events.",
        )
    if content_type == CLOUD_EVENT:
        raise _wrong_body(f"{CLOUD_EVENT} is one event; a list is {CLOUD_EVENTS}")
    if not body:
        raise _wrong_body("the list is empty")
    return body


def _wrong_body(issue: str) -> Problem:
    return Problem(
        422,
        "wrong_fields",
        "The body cannot be taken as a whole.",
        remedy=f"Send an event such as {EXAMPLE}, or a list of at least one.",
        details=[{"pointer": "", "issue": issue}],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The settings that bound a request."""

    body_bytes: int
    events: int
    event_bytes: int


class Endpoint:
    """The route itself: a plain ASGI application, because every layer costs a tenth of the whole."""

    def __init__(
        self,
        *,
        producer: Producer,
        workflows: Workflows,
        bounds: Bounds,
        flight: InFlight,
        bucket: TokenBucket | None,
        metrics: Metrics,
    ) -> None:
        self._producer, self._workflows, self._bounds = producer, workflows, bounds
        self._flight, self._bucket, self._metrics = flight, bucket, metrics

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        request = Request.of(headers)
        body = Body(receive, self._flight, self._bounds.body_bytes)
        try:
            answer = await self._accept(request, await body.read(headers.get(b"content-length")))
        finally:
            body.close()
        length = str(len(answer)).encode()
        head = [(b"content-type", b"application/json"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 202, "headers": head})
        await send({"type": "http.response.body", "body": answer})

    async def _accept(self, request: Request, raw: bytes) -> bytes:
        body = parse(raw)
        items = items_of(body, request.content_type, self._bounds.events)
        count = 1 if items is None else len(items)
        if self._bucket is not None and (seconds := self._bucket.take(count)):
            raise rate_limited(seconds)
        reader = Reader(request, most_bytes=self._bounds.event_bytes, count=count)
        if items is None:
            one = reader.read(body, None)
            if one is None:
                reader.verdict()
            assert one is not None
            await self._produce(request, [one])
            return self._answer(one)
        posted = []
        for index, item in enumerate(items):
            one = reader.read(item, index)
            if one is not None:
                posted.append(one)
            if index % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
        reader.verdict()
        await self._produce(request, posted)
        return b'{"events":[' + b",".join([self._answer(one) for one in posted]) + b"]}"

    async def _produce(self, request: Request, posted: list[Posted]) -> None:
        try:
            await self._producer.produce([one.outgoing for one in posted])
        except NotAccepted as error:
            message = f"{error} Nothing of this request was taken."
            raise unavailable("kafka_unavailable", message, "", error.retry_after_seconds) from error
        except MaybeAccepted as error:
            known = request.idempotency_key is not None
            again = "the same Idempotency-Key" if known else f'"id": "{posted[0].event_id}"'
            if len(posted) > 1 and not known:
                again = "an id in each event, or an Idempotency-Key: without one they may count twice"
            remedy = f" Repeat it with {again}" + (
                "." if len(posted) > 1 and not known else ": equal ids are one event."
            )
            message = f"{error} The events of this request may or may not have been accepted."
            raise unavailable("kafka_no_answer", message, remedy, error.retry_after_seconds) from error
        self._metrics.events.inc(len(posted))

    def _answer(self, one: Posted) -> bytes:
        members = self._workflows.matching(one.topic).members
        return b'{"event_id":' + orjson.dumps(one.event_id) + b"," + members + b"}"


def unavailable(code: str, message: str, remedy: str, seconds: int) -> Problem:
    """503; `seconds` is when to try again."""
    remedy = f"Repeat the request after the seconds in Retry-After.{remedy} GET /readyz says what is missing."
    return Problem(503, code, message, remedy=remedy, headers={"Retry-After": str(seconds)})
