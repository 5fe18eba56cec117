"""A request becomes an event, an answer or a denial, whatever is in it."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base.contract import Received
from connectors.base.services.signature import digest_of
from connectors.webhook import Accepted, Answered, Denied, Request
from connectors.webhook.receiver import MOST_EVENTS
from tests.unit.connectors.webhook.signing import NOW, SECRET, SENDERS, WHSEC, receiver, request

BODY = b'{"action":"opened"}'


def only(outcome: Any) -> Received:
    assert isinstance(outcome, Accepted), outcome
    (event,) = outcome.events
    return event


def test_an_event_has_body_headers_and_query() -> None:
    sender = SENDERS["github"]
    found = only(sender.receiver().receive(sender.request(BODY, query="a=1&a=2&b=%C3%BC")))
    assert found == Received(
        id="72d3162e-cc78-11e3-81ab-4c9367dc0958",
        event_type="issues",
        data={
            "body": {"action": "opened"},
            "encoding": "json",
            "headers": {
                "content-type": "application/json",
                "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
                "x-github-event": "issues",
            },
            "query": {"a": ["1", "2"], "b": "ü"},
        },
    )


def test_an_event_may_be_the_body_alone() -> None:
    assert only(receiver(provider="none", publish="body").receive(request(BODY))).data == {"action": "opened"}


@pytest.mark.parametrize(
    "name",
    [
        *("authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-apikey", "x-auth", "api_key"),
        *("x-gitlab-token", "x-telegram-bot-api-secret-token", "x-hub-signature-256", "x-amz-security-token", "x-jwt"),
        *("x-shopify-hmac-signature", "x-goog-iam-credential", "password", "x-session-id", "stripe-signature"),
    ],
)
def test_headers_that_hold_secrets_are_not_published(name: str) -> None:
    data = only(receiver(provider="none").receive(request(BODY, {name: "canary"}, query=f"{name}=canary"))).data
    assert b"canary" not in orjson.dumps(data)


@pytest.mark.parametrize("name", ["x-author", "x-keyword", "user-agent", "x-github-event", "x-signal", "x-monkey"])
def test_other_headers_are_published(name: str) -> None:
    assert only(receiver(provider="none").receive(request(BODY, {name: "seen"}))).data["headers"][name] == "seen"


def test_the_configured_header_with_the_token_is_not_published() -> None:
    hook = receiver(provider="token", secret=SECRET, header="X-Odd")
    found = only(hook.receive(request(BODY, {"x-odd": SECRET})))
    assert SECRET.encode() not in orjson.dumps(found.data)


def test_a_header_that_comes_twice_has_both_values() -> None:
    given = Request(method="POST", headers=((b"x-a", b"1"), (b"x-a", b"2")), query=b"", body=b"", now=NOW)
    found = only(receiver(provider="none").receive(given))
    assert found.data == {"body": None, "encoding": "empty", "headers": {"x-a": "1, 2"}, "query": {}}


def test_equal_deliveries_have_equal_ids_and_others_have_others() -> None:
    hook = receiver(provider="none")
    first, again = only(hook.receive(request(BODY))), only(hook.receive(request(BODY, {"x-attempt": "2"})))
    assert (first.id, again.id) == (digest_of(BODY), digest_of(BODY))
    assert only(hook.receive(request(BODY + b" "))).id != first.id


def test_only_configured_content_types_are_taken() -> None:
    hook = receiver(provider="none", content_types=["Application/JSON", "text/*"])
    assert isinstance(hook.receive(request(BODY)), Accepted)
    assert isinstance(hook.receive(request(BODY, {"content-type": "text/csv"})), Accepted)
    for content_type in ("application/xml", ""):
        denied = hook.receive(request(BODY, {"content-type": content_type}))
        assert isinstance(denied, Denied)
        assert (denied.status, denied.code) == (415, "unsupported_media_type")


def test_the_proof_comes_before_everything_that_reads_the_body() -> None:
    hook = receiver(provider="github", secret=SECRET, content_types=["application/json"])
    for headers in ({"content-type": "image/png"}, {"content-encoding": "gzip"}, {}):
        denied = hook.receive(request(b"{", headers))
        assert isinstance(denied, Denied)
        assert denied.status == 401


def test_payloads_in_forms_are_read() -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    body = b"payload=%7B%22type%22%3A%22block_actions%22%2C%22trigger_id%22%3A%22t1%22%7D"
    sender = SENDERS["slack"]
    found = only(sender.receiver().receive(request(body, sender.sign(body) | form)))
    assert (found.id, found.event_type, found.data["body"]["type"]) == ("t1", "interactive", "block_actions")
    command = b"command=%2Fdeploy&text=now&trigger_id=t2&token=canary"
    found = only(sender.receiver().receive(request(command, sender.sign(command) | form)))
    assert (found.id, found.event_type, found.data["body"]["text"]) == ("t2", "slash_command", "now")


# ---- CloudEvents -----------------------------------------------------------------------------------------------------

EVENT = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "sold", "subject": "any", "time": NOW.isoformat()}


def cloud(body: Any, content_type: str = "application/cloudevents+json", **headers: str) -> Any:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    given = {"content-type": content_type} | {name.replace("_", "-"): value for name, value in headers.items()}
    return receiver(provider="none").receive(request(raw, given))


def test_a_structured_cloud_event_keeps_its_id_type_and_attributes() -> None:
    found = only(cloud(EVENT | {"data": {"n": 1}, "shop": "berlin"}))
    assert (found.id, found.event_type, found.created_at) == ("/shop#7", "sold", NOW)
    assert found.data["body"] == {"n": 1}
    assert found.data["cloud_event"] == EVENT | {"shop": "berlin"}


def test_a_binary_cloud_event_has_its_attributes_in_headers() -> None:
    headers = {"ce_specversion": "1.0", "ce_id": "7", "ce_source": "/shop", "ce_type": "sold%20out"}
    found = only(cloud(b'{"n":1}', "application/json", **headers))
    assert (found.id, found.event_type, found.data["body"]) == ("/shop#7", "sold out", {"n": 1})
    assert found.data["cloud_event"]["source"] == "/shop"


def test_a_batch_of_cloud_events_is_as_many_events() -> None:
    accepted = cloud([EVENT, EVENT | {"id": "8"}], "application/cloudevents-batch+json")
    assert isinstance(accepted, Accepted)
    assert [one.id for one in accepted.events] == ["/shop#7", "/shop#8"]
    assert orjson.loads(accepted.answer.body) == {"event_ids": ["/shop#7", "/shop#8"]}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ({}, "application/cloudevents+json"),
        (EVENT | {"id": None}, "application/cloudevents+json"),
        (b"{", "application/cloudevents+json"),
        ({}, "application/cloudevents-batch+json"),
        ([], "application/cloudevents-batch+json"),
        ([EVENT] * (MOST_EVENTS + 1), "application/cloudevents-batch+json"),
        ([EVENT, 7], "application/cloudevents-batch+json"),
    ],
)
def test_what_is_no_cloud_event_is_denied(body: Any, content_type: str) -> None:
    denied = cloud(body, content_type)
    assert isinstance(denied, Denied)
    assert denied.status == 400


# ---- whatever comes --------------------------------------------------------------------------------------------------

HOOKS = {name: sender.receiver() for name, sender in SENDERS.items()} | {
    "none": receiver(provider="none", id_field="a.b", type_header="x-type"),
    "token": receiver(provider="token", secret=SECRET, query_parameter="k"),
    "meta": receiver(provider="hmac", secret=SECRET, challenge="meta", verify_token="v"),
    "microsoft": receiver(provider="none", challenge="microsoft"),
    "cloudevents": receiver(provider="none", challenge="cloudevents"),
    "both": receiver(provider="standard", secret=WHSEC, public_key=SENDERS["standard v1a"].options["public_key"]),
}
NAMES = [
    *("content-type", "content-encoding", "authorization", "x-hub-signature-256", "stripe-signature", "x-time"),
    *("x-slack-signature", "x-slack-request-timestamp", "webhook-id", "webhook-timestamp", "webhook-signature"),
    *("x-signature-ed25519", "x-signature-timestamp", "x-signature", "ce-specversion", "ce-id", "ce-source", "ce-type"),
    *("webhook-request-origin", "webhook-request-rate", "x-type"),
]
VALUES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            *(b"application/json", b"application/x-www-form-urlencoded", b"text/plain; charset=utf-16", b"1.0"),
            *(b"application/cloudevents+json", b"application/cloudevents-batch+json", b"t=1,v1=2", b"v1,AAAA"),
            *(b"", b";charset", b"/"),
        ]
    ),
)
HEADERS = st.tuples(st.one_of(st.sampled_from(NAMES).map(str.encode), st.binary(max_size=12)), VALUES)
QUERIES = [b"k=" + SECRET.encode(), b"validationToken=%ff", b"hub.challenge=1", b"&" * 300]
BODIES = [b"{}", b"[]", b"null", b'{"type":1}', b"a=1&payload={}", b"\xef\xbb\xbf{}"]
REQUESTS = st.builds(
    Request,
    method=st.sampled_from(["POST", "POST", "POST", "GET", "OPTIONS", "HEAD", "X"]),
    headers=st.lists(HEADERS, max_size=8).map(tuple),
    query=st.one_of(st.binary(max_size=60), st.sampled_from(QUERIES)),
    body=st.one_of(st.binary(max_size=100), st.sampled_from(BODIES)),
    now=st.just(NOW),
)


@settings(max_examples=1500, deadline=None)
@given(name=st.sampled_from(sorted(HOOKS)), given_request=REQUESTS)
def test_no_request_makes_it_raise_and_what_comes_out_can_be_sent(name: str, given_request: Request) -> None:
    match HOOKS[name].receive(given_request):
        case Accepted(events=events, answer=answer):
            assert name in ("none", "token", "microsoft", "cloudevents"), "nobody signed this"
            for event in events:
                assert 0 < len(event.id) <= 400
                assert event.id.isprintable()
                orjson.dumps(event.data)
        case Answered() as answer:
            assert name in ("microsoft", "cloudevents", "token"), "nobody knew what this takes"
        case Denied(status=status, headers=headers):
            assert status in (400, 401, 403, 405, 415)
            answer = Answered(status=status, headers=headers)
    for header, value in answer.headers:
        assert f"{header}{value}".isascii()
        assert f"{header}{value}".isprintable()


@settings(max_examples=400, deadline=None)
@given(name=st.sampled_from(sorted(SENDERS)), body=st.binary(max_size=200), content_type=VALUES)
def test_every_body_that_is_signed_is_taken_or_said_to_be_unreadable(
    name: str, body: bytes, content_type: bytes
) -> None:
    sender = SENDERS[name]
    outcome = sender.receiver().receive(
        request(body, sender.sign(body) | {"content-type": content_type.decode("latin-1")})
    )
    if isinstance(outcome, Denied):
        assert outcome.status in (400, 415)
    else:
        assert isinstance(outcome, Accepted)
        orjson.dumps(outcome.events[0].data)
