"""Requests to webhooks: headers, bodies, queries and handshakes of each scheme, signed, and changed after that.

What was changed after it was signed must never be taken: that is looked at as well.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from connectors.webhook import Accepted, Answered, Config, Denied, Receiver, Request
from connectors.webhook.receiver import MOST_EVENTS
from tests.fuzz.mutation import RAWS, Mutator
from tests.fuzz.targets import Target, landed
from tests.unit.connectors.webhook.signing import AT, NOW, PUBLIC, SECRET, SENDERS, WHPK, WHSEC

BODIES: Final[Mapping[str, tuple[Any, ...]]] = {
    "github": (
        {"action": "opened", "issue": {"number": 1, "title": "x"}, "sender": {"login": "ann"}},
        {"zen": "Keep it"},
    ),
    "stripe": ({"id": "evt_1", "type": "charge.failed", "created": 1_780_000_000, "data": {"object": {"amount": 7}}},),
    "slack": (
        {"type": "url_verification", "challenge": "3eZbrw1a", "token": "t"},
        {"type": "event_callback", "event_id": "Ev1", "event_time": 1_780_000_000, "event": {"type": "app_mention"}},
        {"type": "app_rate_limited", "minute_rate_limited": 1},
        {"type": "block_actions", "trigger_id": "1.2", "actions": [{}]},
    ),
    "standard": ({"type": "user.created", "timestamp": "2026-06-01T12:00:00Z", "data": {"id": 1}},),
    "discord": (
        {"type": 1, "id": "1"},
        {"type": 2, "id": "9", "data": {"name": "deploy"}},
        {"type": 0, "application_id": "1"},
        {"type": 1, "event": {"type": "APPLICATION_AUTHORIZED", "timestamp": "2026-06-01T12:00:00.5Z", "data": {}}},
    ),
    "hmac": ({"id": "d-1", "event": {"kind": "sold", "id": 7}, "items": [{"sku": "a"}]},),
}
MEDIA: Final = (
    *(b"application/json", b"application/json; charset=utf-8", b'APPLICATION/JSON;charset="utf-16"', b"text/plain"),
    *(b"application/x-www-form-urlencoded", b"text/plain; charset=windows-1252", b"application/xml", b"image/png", b""),
    *(b"application/vnd.api+json", b"multipart/form-data; boundary=x", b"application/cloudevents+json", b"/", b"\xff"),
)
NAMES: Final = (
    *(b"content-type", b"content-encoding", b"content-length", b"x-delivery", b"x-kind", b"user-agent", b"cookie"),
    *(b"x-signature", b"x-time", b"webhook-id", b"svix-id", b"ce-id", b"ce-type", b"x-github-event", b"\xfc", b""),
)
HEADER_WORDS: Final = (
    *(
        b",",
        b", ",
        b" ",
        b"=",
        b";",
        b"v1=",
        b"v1,",
        b"v1a,",
        b"v0=",
        b"sha256=",
        b"t=",
        b"t=1",
        b"whsec_",
        b"Bearer ",
        b"\t",
    ),
    *(
        b"0" * 64,
        b"==",
        b"\xff",
        b"\x00",
        b"9" * 30,
        b"-1",
        b"1780315200",
        b"1780315200000",
        "\u0661".encode(),
        b"a" * 3000,
    ),
)
QUERIES: Final = (b"", b"a=1&a=2&b=%C3%BC", b"token=" + SECRET.encode(), b"%zz&&=&=1", b"a=1;b=2", b"x&" * 300)
OPTIONS: Final[Mapping[str, tuple[Mapping[str, Any], ...]]] = {
    "none": (
        {"id_field": "id", "type_field": "event.kind"},
        {"id_header": "X-Delivery", "type_header": "X-Kind", "publish": "body"},
        {"content_types": ["application/json", "text/*"], "answer_status": 204},
    ),
    "token": (
        {"secret": SECRET},
        {"secret": SECRET, "query_parameter": "token"},
        {"secret": [SECRET, "2"], "header": "X-Key", "prefix": "k "},
    ),
}


def named_sender(draw: Mutator, provider: str) -> str:
    return draw.pick([name for name in SENDERS if name.split(" ")[0] == provider])


def content(draw: Mutator, provider: str) -> bytes:
    """A body: JSON, a form, or anything."""
    seeds = BODIES.get(provider, BODIES["hmac"])
    match draw.below(6):
        case 0:
            return draw.raw(
                [b"", b"payload=%7B%22a%22%3A1%7D&x=1&x=2", b"<a/>", b"command=%2Fx&trigger_id=1", b"\xff\xfe{"]
            )
        case 1:
            return urlencode({"payload": draw.json(seeds)}).encode()
        case _:
            return draw.json(seeds)


def headers(draw: Mutator, given: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    """Headers as they came, with some that matter, that do not, twice, and without a sense."""
    made = [(name.encode(), value.encode("latin-1")) for name, value in given.items()]
    made.append((b"content-type", draw.raw(MEDIA, HEADER_WORDS, most=1)))
    seeds = (b"x", *MEDIA, AT.encode())
    more = [(draw.pick(NAMES), draw.raw(seeds, HEADER_WORDS, most=2)) for _ in range(draw.pick((0, 0, 0, 1, 2)))]
    return (*made, *more)


Delivery = tuple[str, Mapping[str, Any], Request, bytes | None]
"""The name of a sender, options, the request, and the body that was signed (None: any may be taken)."""


def signed(provider: str) -> Callable[[Mutator], Delivery]:
    def make(draw: Mutator) -> Delivery:
        name = named_sender(draw, provider)
        sender, body = SENDERS[name], content(draw, provider)
        request = Request(method="POST", headers=(), query=draw.raw(QUERIES), body=body, now=NOW)
        given = headers(draw, sender.sign(body))
        if draw.happens(0.5):
            given = tuple(
                (known, draw.raw((value,), HEADER_WORDS) if draw.happens(0.3) else value) for known, value in given
            )
        sent = draw.raw((body,)) if draw.happens(0.2) else body
        method = "POST" if draw.happens(0.95) else draw.pick(("GET", "PUT", "OPTIONS", "", "post", "ü"))
        return name, sender.options, replace(request, headers=given, body=sent, method=method), body

    return make


def open_to_all(provider: str) -> Callable[[Mutator], Delivery]:
    def make(draw: Mutator) -> Delivery:
        options = {"provider": provider, **draw.pick(OPTIONS[provider])}
        given = {"authorization": f"Bearer {SECRET}", "x-key": f"k {SECRET}", "x-delivery": "d-1", "x-kind": "sold"}
        made = headers(draw, given)
        if draw.happens(0.5):
            made = tuple((name, draw.raw((value,), HEADER_WORDS, most=1)) for name, value in made)
        request = Request(method="POST", headers=made, query=draw.raw(QUERIES), body=content(draw, provider), now=NOW)
        return provider, options, request, None

    return make


CLOUD: Final[tuple[Any, ...]] = (
    {
        "specversion": "1.0",
        "id": "7",
        "source": "/shop",
        "type": "sold",
        "time": "2026-06-01T12:00:00Z",
        "datacontenttype": "application/json",
        "partitionkey": "k",
        "data": {"n": [1, {"a": "b"}]},
    },
    {"specversion": "1.0", "id": "8", "source": "urn:x", "type": "t", "data_base64": "eyJhIjogMX0=", "subject": "s"},
)


def cloud_event(draw: Mutator) -> Delivery:
    form, extra = draw.below(3), list[tuple[bytes, bytes]]()
    if form == 0:
        body, media = draw.json(CLOUD), b"application/cloudevents+json"
    elif form == 1:
        batch = [draw.value(CLOUD, most=1) for _ in range(draw.pick((0, 1, 2, 3)))]
        body, media = draw.json([batch]), b"application/cloudevents-batch+json"
    else:
        attributes = draw.value(
            [{name: str(CLOUD[0][name]) for name in ("specversion", "id", "source", "type", "time")}]
        )
        found = attributes if isinstance(attributes, dict) else {}
        extra = [(b"ce-" + _latin(name), _latin(value)) for name, value in found.items()]
        body, media = draw.json([{"n": 1}]), draw.raw(MEDIA, HEADER_WORDS, most=1)
    request = Request(method="POST", headers=((b"content-type", media), *extra), query=b"", body=body, now=NOW)
    return "cloud", {"provider": "none"}, request, None


def _latin(value: Any) -> bytes:
    return str(value).encode("latin-1", "replace")[:4000]


CHALLENGES: Final = (
    b"hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=verify",
    b"validationToken=Validation%3A%20Testing%20%C3%BC",
    b"hub.mode=subscribe&hub.verify_token=verify&hub.challenge=a&hub.challenge=b",
)


def challenge(draw: Mutator) -> Delivery:
    kind = draw.pick(("meta", "microsoft", "cloudevents"))
    options: dict[str, Any] = {"provider": "none", "challenge": kind}
    if kind == "meta":
        options["verify_token"] = "verify"
    if kind == "cloudevents" and draw.happens(0.3):
        options |= {"allowed_origins": ["events.example"], "rate_per_second": 0.001}
    given = [
        (b"webhook-request-origin", draw.raw([b"events.example"], HEADER_WORDS)),
        (b"webhook-request-rate", draw.raw([b"120"], HEADER_WORDS)),
    ]
    request = Request(
        method=draw.pick(("GET", "POST", "OPTIONS")),
        headers=tuple(one for one in given if draw.happens(0.8)),
        query=draw.raw(CHALLENGES, (*RAWS, b"hub.challenge=", b"%00", b"%ed%a0%80", b"&", b"=")),
        body=draw.pick((b"{}", b"")),
        now=NOW,
    )
    return "challenge", options, request, None


_receivers: dict[str, Receiver] = {}


def check(given: Delivery) -> str:
    name, options, request, body = given
    key = f"{name}{options}"
    if key not in _receivers:
        _receivers[key] = Receiver(Config(**options), instance_id="src")
    outcome = _receivers[key].receive(request)
    match outcome:
        case Denied():
            assert 400 <= outcome.status < 500
            assert outcome.message
            assert outcome.remedy
            assert SECRET not in outcome.message + outcome.remedy
            writable(outcome.headers)
            orjson.dumps([outcome.code, outcome.message, outcome.remedy])
            return outcome.code
        case Answered():
            writable(outcome.headers)
            return f"answered {outcome.status}"
        case Accepted():
            assert body is None or (request.body == body and request.method == "POST"), "it is not what was signed"
            assert 0 < len(outcome.events) <= MOST_EVENTS
            writable(outcome.answer.headers)
            ends = {landed(one) for one in outcome.events}
            return "event" if ends == {"event"} else min(ends - {"event"})


def writable(pairs: tuple[tuple[str, str], ...]) -> None:
    """Headers of an answer hold nothing that would end them."""
    for name, value in pairs:
        assert name.isascii()
        assert value.isprintable()
        value.encode("latin-1")


# ---- options ---------------------------------------------------------------------------------------------------------

CONFIGS: Final[tuple[Mapping[str, Any], ...]] = (
    *(dict(one.options) for one in SENDERS.values()),
    {"provider": "token", "secret": ["a", "b"], "header": "X-Token", "prefix": "", "content_types": ["text/*"]},
    {"provider": "standard", "public_key": WHPK, "secret": [WHSEC], "tolerance": "5m", "publish": "body"},
    {"provider": "discord", "public_key": [PUBLIC.hex()], "rate_per_second": 5, "max_body_bytes": 1000},
    {"provider": "none", "challenge": "meta", "verify_token": "v", "id_field": "a.b", "answer_body": "ok"},
)


def options(draw: Mutator) -> Any:
    return draw.value(CONFIGS)


def check_options(given: Any) -> str:
    try:
        orjson.dumps(given)
    except TypeError:
        return "no JSON"  # as what is declared is refused before
    try:
        made = Config.model_validate(given)
    except ValueError as error:
        str(error)
        return "refused"
    Receiver(made, instance_id="src").receive(Request(method="POST", headers=(), query=b"", body=b"{}", now=NOW))
    return "taken"


TARGETS: Final = (
    *(Target(name=f"webhook-{provider}", make=open_to_all(provider), check=check) for provider in OPTIONS),
    *(
        Target(name=f"webhook-{provider}", make=signed(provider), check=check)
        for provider in dict.fromkeys(name.split(" ")[0] for name in SENDERS)
    ),
    Target(name="webhook-cloudevents", make=cloud_event, check=check),
    Target(name="webhook-challenges", make=challenge, check=check),
    Target(name="webhook-options", make=options, check=check_options),
)
