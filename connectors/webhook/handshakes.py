"""Requests by which senders make sure that an address wants their deliveries. They are answered, and are no events.

What is sent back is the sender's own text: it goes as plain text, bounded, so that no browser takes it for a page.
Sources: Meta "Webhooks: verification requests", Microsoft Graph "Receive change notifications: notificationUrl
validation", CloudEvents "HTTP 1.1 Web Hooks", section 4, Slack "url_verification", Discord "Interactions: PING".
"""

import hmac
from typing import Any, Final

import orjson

from connectors.base.texts.templates import MISSING, at
from connectors.webhook.bodies import gathered
from connectors.webhook.config import Config, Provider
from connectors.webhook.messages import Answered, Denial, Request
from connectors.webhook.proofs import query_of

MOST_CHARS: Final = 4096
JSON: Final = ("Content-Type", "application/json")
_PLAIN: Final = (("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff"))

# Discord's codes: of interactions, of webhook events, and of the answers to interactions.
_PING: Final = 1
_EVENTS_PING: Final = 0
_PONG: Final = 1
_DEFERRED: Final = {
    2: {"type": 5},  # a command: the answer follows
    3: {"type": 6},  # a component: nothing changes for now
    4: {"type": 8, "data": {"choices": []}},  # autocompletion: no suggestions
    5: {"type": 5},  # a form: the answer follows
}


def before_the_proof(config: Config, request: Request) -> Answered | None:
    """Return the answer to a handshake that its sender cannot sign; None when the request is none. Raises Denial."""
    match config.challenge:
        case "meta" if request.method == "GET":
            return _meta(config, request)
        case "cloudevents" if request.method == "OPTIONS":
            return _cloud_events(config, request)
        case "microsoft" if request.method == "POST" and b"validationToken=" in request.query:
            tokens = [value for name, value in query_of(request) if name == "validationToken"]
            return _echo(tokens[0]) if len(tokens) == 1 else None
        case _:
            return None


def methods(config: Config) -> str:
    """Return the methods that a source takes, as the header Allow has them."""
    return {"meta": "GET, POST", "cloudevents": "OPTIONS, POST"}.get(config.challenge or "", "POST")


def after_the_proof(config: Config, body: Any) -> Answered | None:
    """Return the answer to a handshake that is signed like an event; None when the delivery is one."""
    if config.provider == Provider.SLACK and at(body, "type") == "url_verification":
        challenge = at(body, "challenge")
        return _echo(challenge) if isinstance(challenge, str) else None
    if config.provider == Provider.DISCORD:
        kind = at(body, "type")
        if type(kind) is int and kind == _PING and at(body, "event") is MISSING:
            return _json({"type": _PONG})
        if type(kind) is int and kind == _EVENTS_PING:
            return Answered(status=204, headers=(JSON,))
    return None


def answer_to(config: Config, body: Any, event_ids: list[str]) -> Answered:
    """Return what a sender wants to hear once its events are durable."""
    if config.provider == Provider.SLACK:
        return Answered(status=200)  # Slack shows the text of any other answer to a command to its user
    if config.provider == Provider.DISCORD:
        kind = at(body, "type")
        if at(body, "event") is not MISSING or type(kind) is not int or kind not in _DEFERRED:
            return Answered(status=204, headers=(JSON,))
        return _json(_DEFERRED[kind])
    if config.answer_body is not None:
        return Answered(status=config.answer_status, headers=_PLAIN, body=config.answer_body.encode())
    if config.answer_status == 204:
        return Answered(status=204)
    said = {"event_id": event_ids[0]} if len(event_ids) == 1 else {"event_ids": event_ids}
    return Answered(status=config.answer_status, headers=(JSON,), body=orjson.dumps(said))


def _meta(config: Config, request: Request) -> Answered:
    given = gathered(query_of(request))
    token, challenge = given.get("hub.verify_token"), given.get("hub.challenge")
    assert config.verify_token is not None
    wanted = config.verify_token.get_secret_value().encode()
    if not isinstance(token, str) or not hmac.compare_digest(token.encode(), wanted):
        raise Denial(
            403,
            "challenge_refused",
            "The hub.verify_token is not the one of this source.",
            remedy="Give both the same verify token.",
        )
    if given.get("hub.mode") != "subscribe" or not isinstance(challenge, str):
        raise _wrong("The request has no hub.mode=subscribe with one hub.challenge.")
    return _echo(challenge)


def _cloud_events(config: Config, request: Request) -> Answered:
    origins = request.values(b"webhook-request-origin")
    origin = origins[0].decode("latin-1") if len(origins) == 1 else ""
    if not 0 < len(origin) <= MOST_CHARS or not origin.isprintable() or not origin.isascii():
        raise _wrong("The request has no WebHook-Request-Origin.")
    if config.allowed_origins and origin not in config.allowed_origins:
        raise Denial(
            403,
            "challenge_refused",
            "The WebHook-Request-Origin is not one of those that this source allows.",
            remedy="Add it to allowed_origins.",
        )
    headers = [("Allow", methods(config)), ("WebHook-Allowed-Origin", origin)]
    if request.values(b"webhook-request-rate"):
        rate = config.rate_per_second
        headers.append(("WebHook-Allowed-Rate", "*" if rate is None else str(max(1, int(rate * 60)))))
    return Answered(status=200, headers=tuple(headers))


def _echo(text: str) -> Answered:
    if len(text) > MOST_CHARS:
        raise _wrong(f"The challenge has more than {MOST_CHARS} characters.")
    try:
        return Answered(status=200, headers=_PLAIN, body=text.encode())
    except UnicodeEncodeError:
        raise _wrong("The challenge is no text.") from None


def _json(value: Any) -> Answered:
    return Answered(status=200, headers=(JSON,), body=orjson.dumps(value))


def _wrong(fact: str) -> Denial:
    return Denial(400, "wrong_challenge", fact, remedy="See the sender's documentation of how it verifies addresses.")
