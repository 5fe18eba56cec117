"""/webhooks/<provider>/<id>: a delivery is bounded, proven, parsed, produced, and answered 2xx once Kafka has it.

A plain ASGI application: what is signed are the raw bytes. It asks for no token, for a delivery has its own proof.
"""

import time
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from app.gateway import events
from app.gateway.errors import Problem
from app.gateway.hooks import PREFIX, Hook, Made
from app.gateway.letters import Letters
from app.gateway.limits import Body, InFlight, TokenBucket, rate_limited
from app.gateway.metrics import Metrics
from app.gateway.sources import Sources
from app.kafka.producer import MaybeAccepted, NotAccepted, Outgoing
from app.observe import logs
from connectors.base.instance.buffer import Read
from connectors.base.instance.events import NotAnEvent
from connectors.webhook import Accepted, Answered, Denied, Request
from topics.facts import Record
from topics.fields import valid_traceparent

ROUTE: Final = f"{PREFIX}{{provider}}/{{id}}"
UNHANDLED_SECONDS: Final = 30
"""When to try a source again that somebody has to mend first."""
_OF_THE_SENDER: Final = frozenset({"nesting_too_deep", "data_not_json", "key_invalid", "id_invalid"})
"""What is wrong with a delivery itself; everything else is a matter of the source's filter and templates."""

log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What the endpoint uses."""

    sources: Sources
    producer: events.Producer
    letters: events.Producer
    """Of the topic of dead letters."""
    body_bytes: int
    flight: InFlight
    bucket: TokenBucket | None
    metrics: Metrics
    clock: Callable[[], float] = time.time
    """Seconds since 1970: signed times are compared with it."""


class Endpoint:
    """The route itself."""

    def __init__(self, around: Around) -> None:
        self._around = around
        self._letters = Letters(around.letters)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        hook, made = self._found(scope["path"])
        method: str = scope["method"]
        raw = tuple((name.lower(), value) for name, value in scope["headers"])
        most = min(made.receiver.config.max_body_bytes or self._around.body_bytes, self._around.body_bytes)
        body = Body(receive, self._around.flight, most)
        try:
            content = await body.read(dict(raw).get(b"content-length")) if method == "POST" else b""
            request = Request(
                method=method,
                headers=raw,
                query=scope["query_string"],
                body=content,
                now=datetime.fromtimestamp(self._around.clock(), UTC),
            )
            answer = await self._answer(hook, made, request)
        finally:
            body.close()
        head = [(name.lower().encode(), value.encode()) for name, value in answer.headers]
        if answer.status != 204:
            head.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": head})
        await send({"type": "http.response.body", "body": answer.body})

    def _found(self, path: str) -> tuple[Hook, Made]:
        """Return the source that is called. Raises Problem 404 and 503."""
        provider, _, instance_id = path.removeprefix(PREFIX).partition("/")
        sources = self._around.sources
        hook = sources.hooks.get(instance_id)
        if hook is None or hook.provider != provider:
            if not sources.known():
                raise _later("sources_not_read", "This gateway has not read yet which sources there are.", 1)
            raise Problem(
                404,
                "webhook_not_found",
                f"There is no {path[:200]}.",
                remedy="GET /api/v1/sources shows the `path` of each source that is a webhook.",
            )
        if hook.spec.paused:
            raise _later("source_paused", f"Source {instance_id!r} is paused.", UNHANDLED_SECONDS)
        made = hook.made()
        if made is None:
            fact = f"Source {instance_id!r} cannot be received as it is set up."
            raise _later("source_failed", fact, UNHANDLED_SECONDS)
        return hook, made

    async def _answer(self, hook: Hook, made: Made, request: Request) -> Answered:
        """Raises Problem."""
        outcome = made.receiver.receive(request)
        match outcome:
            case Denied():
                hook.watched.note(outcome.code)
                raise Problem(
                    outcome.status,
                    outcome.code,
                    outcome.message,
                    remedy=outcome.remedy,
                    headers=dict(outcome.headers),
                )
            case Answered():
                hook.watched.note("handshake")
                return outcome
            case Accepted():
                hook.watched.heard(len(request.body))
                self._limit(hook, made, len(outcome.events))
                await self._take(hook, made, request, outcome)
                return outcome.answer

    def _limit(self, hook: Hook, made: Made, count: int) -> None:
        """Raises Problem 429. Only proven deliveries count: nobody else can use up a source's share."""
        if made.bucket is not None and (seconds := made.bucket.take(1)):
            hook.watched.note("rate_limited")
            raise Problem(
                429,
                "rate_limited",
                f"More deliveries per second arrive than rate_per_second of source {hook.spec.id!r} allows.",
                remedy="Repeat the request after the seconds in Retry-After.",
                headers=rate_limited(seconds).headers,
            )
        if self._around.bucket is not None and (seconds := self._around.bucket.take(count)):
            hook.watched.note("rate_limited")
            raise rate_limited(seconds)

    async def _take(self, hook: Hook, made: Made, request: Request, accepted: Accepted) -> None:
        """Write the events, and dead letters of those that the source's own filter or templates failed on."""
        at_ms = int(request.now.timestamp() * 1000)
        began = time.monotonic()
        trace = _trace(request)
        outgoing: list[Outgoing] = []
        letters: list[Record] = []
        results = {"passed": 0, "turned_away": 0, "failed": 0}
        for event in accepted.events:
            try:
                one = made.maker.event(event, at_ms=at_ms)
            except NotAnEvent as why:
                _refuse_of_sender(why)
                log.warning("webhook_dead_letter", source=hook.spec.id, code=why.code, reason=why.reason)
                letters.append(made.maker.dead_letter(event, why, at_ms=at_ms))
                results["failed"] += 1
                continue
            results["turned_away" if one is None else "passed"] += 1
            if one is not None:
                outgoing.append((one.key, one.home, one.value, [*one.headers, *trace]))
        await self._produce(outgoing, letters, hook.spec.id)
        if hook.spec.filter is not None:
            hook.watched.sorted(results)
        hook.watched.published(
            [Read(item=event, at=began, at_ms=at_ms) for event in accepted.events], len(outgoing), len(letters)
        )
        self._around.metrics.events.inc(len(outgoing))

    async def _produce(self, outgoing: Sequence[Outgoing], letters: Sequence[Record], where: str) -> None:
        try:
            if letters:
                await self._letters.write(letters, where)
            if outgoing:
                await self._around.producer.produce(outgoing)
        except NotAccepted as error:
            message = f"{error} Nothing of this delivery was taken."
            raise events.unavailable("kafka_unavailable", message, "", error.retry_after_seconds) from error
        except MaybeAccepted as error:
            message = f"{error} This delivery may or may not have been accepted."
            again = " Delivered again it is the same event."
            raise events.unavailable("kafka_no_answer", message, again, error.retry_after_seconds) from error


def _refuse_of_sender(why: NotAnEvent) -> None:
    """Raises Problem 413 and 422 for what the sender alone can mend."""
    if why.code == "too_large":
        raise Problem(413, "event_too_large", f"Of this delivery {why.reason}.", remedy=f"{_sentence(why.remedy)}")
    if why.code in _OF_THE_SENDER:
        raise Problem(422, "wrong_fields", f"It cannot be taken: {why.reason}.", remedy=_sentence(why.remedy))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _trace(request: Request) -> list[tuple[str, bytes]]:
    values = request.values(b"traceparent")
    parent = valid_traceparent(values[0].decode("latin-1")) if len(values) == 1 else None
    return [] if parent is None else [("traceparent", parent.encode())]


def _later(code: str, fact: str, seconds: int) -> Problem:
    return Problem(
        503,
        code,
        f"{fact} Nothing of this delivery was taken.",
        remedy="Repeat it after the seconds in Retry-After. GET /api/v1/sources says how the source is.",
        headers={"Retry-After": str(seconds)},
    )
