"""Handshakes are answered and become no events; what senders want to hear after an event."""

from typing import Any

import pytest

from connectors.webhook import Accepted, Answered, Denied
from tests.unit.connectors.webhook.signing import SECRET, SENDERS, receiver, request

PLAIN = (("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff"))
JSON = (("Content-Type", "application/json"),)


def status(outcome: Any) -> tuple[int, str]:
    assert isinstance(outcome, Denied), outcome
    return outcome.status, outcome.code


def test_slack_hears_its_challenge_once_it_is_signed() -> None:
    sender = SENDERS["slack"]
    body = b'{"type":"url_verification","challenge":"3eZbrw1a","token":"old"}'
    assert sender.receiver().receive(sender.request(body)) == Answered(status=200, headers=PLAIN, body=b"3eZbrw1a")
    assert status(sender.receiver().receive(request(body))) == (401, "signature_missing")


def test_discord_hears_pong_to_each_of_its_pings() -> None:
    sender = SENDERS["discord"]
    ping = sender.receiver().receive(sender.request(b'{"type":1,"id":"1","token":"t"}'))
    assert ping == Answered(status=200, headers=JSON, body=b'{"type":1}')
    assert sender.receiver().receive(sender.request(b'{"type":0,"version":1}')) == Answered(status=204, headers=JSON)
    assert status(sender.receiver().receive(request(b'{"type":1}'))) == (401, "signature_missing")


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b'{"type":2,"id":"1"}', Answered(status=200, headers=JSON, body=b'{"type":5}')),
        (b'{"type":3,"id":"1"}', Answered(status=200, headers=JSON, body=b'{"type":6}')),
        (b'{"type":4,"id":"1"}', Answered(status=200, headers=JSON, body=b'{"type":8,"data":{"choices":[]}}')),
        (b'{"type":5,"id":"1"}', Answered(status=200, headers=JSON, body=b'{"type":5}')),
        (b'{"type":1,"event":{"type":"ENTITLEMENT_CREATE"}}', Answered(status=204, headers=JSON)),
        (b'{"type":true,"id":"1"}', Answered(status=204, headers=JSON)),
        (b"[2]", Answered(status=204, headers=JSON)),
        (b"null", Answered(status=204, headers=JSON)),
    ],
)
def test_discord_hears_that_the_answer_to_an_interaction_follows(body: bytes, answer: Answered) -> None:
    sender = SENDERS["discord"]
    accepted = sender.receiver().receive(sender.request(body))
    assert isinstance(accepted, Accepted)
    assert accepted.answer == answer


def test_slack_hears_nothing_that_it_would_show() -> None:
    sender = SENDERS["slack"]
    accepted = sender.receiver().receive(sender.request(b'{"type":"event_callback","event_id":"Ev1"}'))
    assert isinstance(accepted, Accepted)
    assert accepted.answer == Answered(status=200)


META = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=the-verify-token"


def meta(query: str, method: str = "GET") -> Any:
    hook = receiver(provider="hmac", secret=SECRET, challenge="meta", verify_token="the-verify-token")
    return hook.receive(request(b"", method=method, query=query))


def test_meta_hears_its_challenge_when_it_knows_the_token() -> None:
    assert meta(META) == Answered(status=200, headers=PLAIN, body=b"1158201444")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (META.replace("the-verify-token", "another"), (403, "challenge_refused")),
        (META + "&hub.verify_token=the-verify-token", (403, "challenge_refused")),
        ("hub.mode=subscribe&hub.challenge=1", (403, "challenge_refused")),
        (META.replace("subscribe", "unsubscribe"), (400, "wrong_challenge")),
        (META.replace("1158201444", "x" * 5000), (400, "wrong_challenge")),
        ("&a=1" * 300, (400, "wrong_parameters")),
    ],
)
def test_meta_without_the_token_hears_nothing(query: str, expected: tuple[int, str]) -> None:
    assert status(meta(query)) == expected


def test_a_post_of_meta_is_no_handshake() -> None:
    assert status(meta(META, "POST")) == (401, "signature_missing")


def test_microsoft_hears_its_token_as_plain_text() -> None:
    hook = receiver(provider="none", challenge="microsoft")
    token = hook.receive(request(b"", method="POST", query="validationToken=Validation%3A+%3Cb%3E"))
    assert token == Answered(status=200, headers=PLAIN, body=b"Validation: <b>")
    assert isinstance(hook.receive(request(b'{"value":[]}')), Accepted)


def test_who_does_not_know_the_token_of_the_query_has_no_handshake() -> None:
    hook = receiver(provider="token", secret=SECRET, query_parameter="k", challenge="microsoft")
    assert status(hook.receive(request(b"", query="validationToken=x"))) == (401, "token_missing")
    answered = hook.receive(request(b"", query=f"validationToken=x&k={SECRET}"))
    assert answered == Answered(status=200, headers=PLAIN, body=b"x")


def options(headers: dict[str, str], **more: Any) -> Any:
    hook = receiver(provider="none", challenge="cloudevents", **more)
    return hook.receive(request(b"", {"content-type": ""} | headers, method="OPTIONS"))


def test_a_sender_of_cloud_events_hears_that_it_may_send() -> None:
    allow = ("Allow", "OPTIONS, POST")
    origin = {"webhook-request-origin": "eventemitter.example"}
    allowed = ("WebHook-Allowed-Origin", "eventemitter.example")
    assert options(origin) == Answered(status=200, headers=(allow, allowed))
    rated = origin | {"webhook-request-rate": "120"}
    assert options(rated).headers == (allow, allowed, ("WebHook-Allowed-Rate", "*"))
    assert options(rated, rate_per_second=2.0).headers[2] == ("WebHook-Allowed-Rate", "120")


def test_an_origin_that_is_not_allowed_or_none_is_told_so() -> None:
    other = {"webhook-request-origin": "other.example"}
    assert status(options(other, allowed_origins=["eventemitter.example"])) == (403, "challenge_refused")
    assert status(options({})) == (400, "wrong_challenge")
    assert status(options({"webhook-request-origin": "\xff"})) == (400, "wrong_challenge")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])
def test_without_a_handshake_only_post_is_taken(method: str) -> None:
    denied: Any = receiver(provider="none").receive(request(b"", method=method))
    assert status(denied) == (405, "method_not_allowed")
    assert denied.headers == (("Allow", "POST"),)


@pytest.mark.parametrize(
    ("chosen", "answer"),
    [
        (
            {"answer_status": 200, "answer_body": "<Response/>"},
            Answered(status=200, headers=PLAIN, body=b"<Response/>"),
        ),
        ({"answer_status": 204}, Answered(status=204)),
        ({"id_field": "id"}, Answered(status=202, headers=JSON, body=b'{"event_id":"1"}')),
    ],
)
def test_an_answer_may_be_chosen(chosen: dict[str, Any], answer: Answered) -> None:
    accepted = receiver(provider="none", **chosen).receive(request(b'{"id":"1"}'))
    assert isinstance(accepted, Accepted)
    assert accepted.answer == answer
