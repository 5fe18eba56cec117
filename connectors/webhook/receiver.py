"""Judges requests to a webhook: what is proven becomes events, everything else is answered or denied.

Pure: the gateway reads the request within its bounds, calls `receive`, writes the events and answers.
"""

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from connectors.base.contract import Received
from connectors.webhook import bodies, handshakes, naming, schemes
from connectors.webhook.bodies import Body, Encoding, Media
from connectors.webhook.config import Config, Provider
from connectors.webhook.messages import Accepted, Answered, Denial, Outcome, Request
from connectors.webhook.proofs import Token, query_of
from topics import cloudevents
from topics.fields import Found
from topics.malformed import Malformed

MOST_EVENTS: Final = 1000
"""Of one batch of CloudEvents."""
_SECRET: Final = re.compile(
    r"authoriz|cookie|token|secret|passw|api-?_?key|access-?_?key|credential|signature|session|jwt|(^|[-_.])(auth|key|sig)([-_.]|$)"
)
_OPEN: Final = frozenset({Provider.NONE, Provider.TOKEN, Provider.HMAC})


class Receiver:
    """Receives the deliveries of one source."""

    def __init__(self, config: Config, *, instance_id: str) -> None:
        self.instance_id, self.config = instance_id, config
        self._proof = schemes.proof_of(config)
        self._secret_headers, self._secret_parameters = schemes.secret_names(config)

    def receive(self, request: Request) -> Outcome:
        """Return what becomes of a request. No request makes it raise."""
        if self.config.provider == Provider.STANDARD:
            request = request.renamed(b"svix-", b"webhook-")  # as many senders still call them
        try:
            return self._receive(request)
        except Denial as denial:
            return denial.denied

    def _receive(self, request: Request) -> Accepted | Answered:
        config = self.config
        in_query = isinstance(self._proof, Token) and self._proof.query_parameter is not None
        if in_query:
            self._proof.check(request)  # also of handshakes: their sender knows the whole address
        answer = handshakes.before_the_proof(config, request)
        if answer is not None:
            return answer
        if request.method != "POST":
            allowed = handshakes.methods(config)
            raise Denial(
                405,
                "method_not_allowed",
                f"Source {self.instance_id!r} does not take {request.method}.",
                remedy=f"Use {allowed}.",
                headers=(("Allow", allowed),),
            )
        if not in_query:
            self._proof.check(request)
        media = Media.of(request)
        if config.content_types and not media.is_one_of(config.content_types):
            raise Denial(
                415,
                "unsupported_media_type",
                f"Source {self.instance_id!r} does not take the content type {media.name!r}.",
                remedy=f"Send {', '.join(config.content_types)}, or add it to content_types.",
            )
        if config.provider in _OPEN and _is_cloud_event(request, media):
            return self._cloud_events(request, media)
        body = bodies.read(request, media)
        value = bodies.payload_of(body) if config.provider in (Provider.GITHUB, Provider.SLACK) else body.value
        answer = handshakes.after_the_proof(config, value)
        if answer is not None:
            return answer
        name = naming.name_of(config, request, value)
        event = Received(
            id=name.id,
            event_type=name.type,
            created_at=name.created_at,
            data=self._data(request, Body(value=value, encoding=body.encoding)),
        )
        return Accepted(events=(event,), answer=handshakes.answer_to(config, value, [name.id]))

    def _cloud_events(self, request: Request, media: Media) -> Accepted:
        found = [
            Received(
                id=naming.id_of(f"{one.event.source}#{one.event.event_id}"),
                event_type=one.event.event_type or naming.RECEIVED,
                key=one.event.event_key,
                created_at=naming.time_of(one.event.created_at),
                data=self._data(
                    request,
                    Body(value=one.event.data, encoding=Encoding.JSON),
                    {"cloud_event": one.attributes},
                ),
            )
            for one in _cloud_events_in(request, media)
        ]
        answer = handshakes.answer_to(self.config, None, [one.id for one in found])
        return Accepted(events=tuple(found), answer=answer)

    def _data(self, request: Request, body: Body, more: dict[str, Any] | None = None) -> Any:
        if self.config.publish == "body":
            return body.value
        headers: dict[str, str] = {}
        for raw, value in request.headers:
            name = raw.decode("latin-1")
            if name in self._secret_headers or _SECRET.search(name):
                continue
            text = value.decode("latin-1")
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
        query = [
            (name, value)
            for name, value in query_of(request)
            if name not in self._secret_parameters and not _SECRET.search(name.lower())
        ]
        data = {"body": body.value, "encoding": body.encoding.value, "headers": headers}
        return data | {"query": bodies.gathered(query)} | (more or {})


# ---- CloudEvents over HTTP (binding 1.0.2) ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _CloudEvent:
    event: Found
    attributes: dict[str, Any]


def _is_cloud_event(request: Request, media: Media) -> bool:
    return media.name in (bodies.CLOUD_EVENT, bodies.CLOUD_EVENTS) or bool(request.values(b"ce-specversion"))


def _cloud_events_in(request: Request, media: Media) -> list[_CloudEvent]:
    """Raises Denial 400."""
    try:
        if media.name == bodies.CLOUD_EVENT:
            return [_structured(bodies.json_of(request.body))]
        if media.name == bodies.CLOUD_EVENTS:
            items = bodies.json_of(request.body)
            if not isinstance(items, list) or not 0 < len(items) <= MOST_EVENTS:
                raise _wrong(f"The batch of CloudEvents is no list of 1 to {MOST_EVENTS}.", "Send a list of them.")
            return [_structured(one) for one in items]
        texts = {
            "ce_" + name.decode("latin-1")[3:]: unquote(value.decode("latin-1"))
            for name, value in request.headers
            if name.startswith(b"ce-")
        }
        if media.name:
            texts["content-type"] = media.name
        event = cloudevents.from_binary(request.body, {"topic": "any"} | texts)
        attributes = {name[3:]: text for name, text in texts.items() if name.startswith("ce_")}
        return [_CloudEvent(event=event, attributes=attributes)]
    except Malformed as error:
        raise _wrong(f"The CloudEvent cannot be read: {error.reason}.", f"{error.remedy}.") from None


def _structured(item: Any) -> _CloudEvent:
    event = cloudevents.from_structured(item, {"topic": "any"})
    attributes = {name: value for name, value in item.items() if name not in ("data", "data_base64")}
    return _CloudEvent(event=event, attributes=attributes)


def _wrong(fact: str, remedy: str) -> Denial:
    return Denial(400, "wrong_fields", fact, remedy=remedy)
