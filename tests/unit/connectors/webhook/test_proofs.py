"""Every provider's proof: what it signs passes, and nothing else does."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.webhook import Accepted, Denied
from connectors.webhook.proofs import Signed
from tests.unit.connectors.webhook import signing
from tests.unit.connectors.webhook.signing import AT, NOW, OTHER, SECRET, SENDERS, Sender, changed, mac, request

BODY = b'{"id":"evt_1","type":"order.paid","amount":7}'


@pytest.fixture(params=SENDERS)
def sender(request: pytest.FixtureRequest) -> Sender:
    return SENDERS[request.param]


def code(outcome: Any) -> str:
    assert isinstance(outcome, Denied), outcome
    assert outcome.status == 401
    return outcome.code


def test_what_is_signed_is_accepted(sender: Sender) -> None:
    assert isinstance(sender.receiver().receive(sender.request(BODY)), Accepted)


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"{} ", BODY + b"\n"])
def test_every_body_that_is_signed_is_believed(sender: Sender, body: bytes) -> None:
    assert isinstance(sender.receiver().receive(sender.request(body)), Accepted)


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(SENDERS)), at=st.integers(0, len(BODY) - 1), flip=st.integers(1, 255))
def test_a_body_with_one_byte_changed_is_denied(name: str, at: int, flip: int) -> None:
    sender = SENDERS[name]
    body = BODY[:at] + bytes([BODY[at] ^ flip]) + BODY[at + 1 :]
    assert code(sender.receiver().receive(replace(sender.request(BODY), body=body))) == "signature_wrong"


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(sorted(SENDERS)), at=st.integers(0, 400), flip=st.integers(1, 255))
def test_a_header_of_the_signature_with_one_byte_changed_is_denied(name: str, at: int, flip: int) -> None:
    sender = SENDERS[name]
    whole = sender.request(BODY)
    for header in {sender.signature, sender.timestamp or sender.signature}:
        (value,) = whole.values(header.encode())
        spot = at % len(value)
        if header == "stripe-signature" and spot >= value.index(b",v0"):
            continue  # a signature of a scheme that is not asked for
        wrong = value[:spot] + bytes([value[spot] ^ flip]) + value[spot + 1 :]
        code(sender.receiver().receive(changed(whole, header, wrong)))


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(sorted(SENDERS)),
    value=st.one_of(
        st.binary(max_size=80),
        st.text("abcdef0123456789=,. vt1a+/-", max_size=120).map(str.encode),
        st.lists(st.sampled_from([b"v1,", b"v1=", b"v0=", b"sha256=", b"t=", b"=", b",", b" ", AT.encode(), b"a" * 64]))
        .map(b"".join),
    ),
)  # fmt: skip
def test_whatever_stands_in_the_headers_is_401_and_never_an_error(name: str, value: bytes) -> None:
    sender = SENDERS[name]
    whole = sender.request(BODY)
    for header in {sender.signature, sender.timestamp or sender.signature}:
        if whole.values(header.encode()) != [value]:
            code(sender.receiver().receive(changed(whole, header, value)))


@pytest.mark.parametrize("name", ["github", "slack", "standard", "standard v1a"])
def test_a_signature_without_what_stands_before_it_or_with_another_scheme_is_denied(name: str) -> None:
    sender = SENDERS[name]
    whole = sender.request(BODY)
    (value,) = whole.values(sender.signature.encode())
    for wrong in (value[value.index(b"," if b"," in value else b"=") + 1 :], b"v9" + value, value.upper()):
        assert code(sender.receiver().receive(changed(whole, sender.signature, wrong))) == "signature_wrong"


def test_a_header_that_is_missing_or_comes_twice_is_denied(sender: Sender) -> None:
    whole = sender.request(BODY)
    for header in {sender.signature, sender.timestamp or sender.signature}:
        (value,) = whole.values(header.encode())
        assert code(sender.receiver().receive(changed(whole, header, None))) == "signature_missing"
        twice = replace(whole, headers=(*whole.headers, (header.encode(), value)))
        assert code(sender.receiver().receive(twice)) == "signature_missing"


@pytest.mark.parametrize("name", [name for name, sender in SENDERS.items() if sender.timestamp])
def test_a_signed_time_counts_in_both_directions(name: str) -> None:
    sender = SENDERS[name]
    for off in (-300, 300):
        accepted = sender.receiver().receive(sender.request(BODY, now=NOW + timedelta(seconds=off)))
        assert isinstance(accepted, Accepted)
    for off in (-301, 301):
        denied = sender.receiver().receive(sender.request(BODY, now=NOW + timedelta(seconds=off)))
        assert code(denied) == "timestamp_outside_tolerance"
    assert isinstance(
        sender.receiver(tolerance="10m").receive(sender.request(BODY, now=NOW + timedelta(seconds=301))), Accepted
    )


def test_several_secrets_are_valid_while_they_rotate(sender: Sender) -> None:
    field = "public_key" if "public_key" in sender.options else "secret"
    good = sender.options[field]
    foreign = {
        "discord": b"\x01".hex() * 32,
        "standard": "whpk_" + "AAAA" * 10 + "AAA=" if field == "public_key" else "whsec_" + "QUFB" * 8,
    }.get(sender.options["provider"], OTHER)
    for several in ([foreign, good], [good, foreign]):
        assert isinstance(sender.receiver(**{field: several}).receive(sender.request(BODY)), Accepted)
    assert code(sender.receiver(**{field: [foreign]}).receive(sender.request(BODY))) == "signature_wrong"


def test_several_signatures_come_while_a_sender_rotates() -> None:
    sender = SENDERS["stripe"]
    wrong, right = mac(b"other").hex(), mac(AT.encode() + b"." + BODY).hex()
    whole = request(BODY, {"stripe-signature": f"t={AT},v1={wrong},v1={right}"})
    assert isinstance(sender.receiver().receive(whole), Accepted)
    many = request(BODY, {"stripe-signature": f"t={AT}" + f",v1={wrong}" * 16 + f",v1={right}"})
    assert code(sender.receiver().receive(many)) == "signature_wrong"

    sender = SENDERS["standard"]
    (value,) = sender.request(BODY).values(b"webhook-signature")
    listed = b"v1,AAAA v1a,BBBB v2,x " + value
    assert isinstance(sender.receiver().receive(changed(sender.request(BODY), "webhook-signature", listed)), Accepted)


def test_a_sender_of_standard_webhooks_may_move_from_one_kind_of_key_to_the_other() -> None:
    both = signing.receiver(provider="standard", secret=signing.WHSEC, public_key=signing.WHPK)
    for name in ("standard", "standard v1a"):
        assert isinstance(both.receive(SENDERS[name].request(BODY)), Accepted)
    foreign = changed(SENDERS["standard"].request(BODY), "webhook-id", b"msg_2")
    assert code(both.receive(foreign)) == "signature_wrong"


@pytest.mark.parametrize("name", ["standard", "standard v1a"])
def test_a_standard_webhook_for_another_id_is_denied(name: str) -> None:
    sender = SENDERS[name]
    assert code(sender.receiver().receive(changed(sender.request(BODY), "webhook-id", b"msg_2"))) == "signature_wrong"
    assert code(sender.receiver().receive(changed(sender.request(BODY), "webhook-id", None))) == "signature_missing"


@pytest.mark.parametrize("name", ["standard", "standard v1a"])
def test_headers_may_have_the_names_of_svix(name: str) -> None:
    whole = SENDERS[name].request(BODY)
    older = replace(whole, headers=tuple((key.replace(b"webhook-", b"svix-"), value) for key, value in whole.headers))
    accepted = SENDERS[name].receiver().receive(older)
    assert isinstance(accepted, Accepted)
    assert accepted.events[0].id == "msg_1"
    mixed = replace(older, headers=(*older.headers, (b"webhook-id", b"msg_1")))
    assert code(SENDERS[name].receiver().receive(mixed)) == "signature_missing"


def test_two_times_in_one_header_are_denied() -> None:
    right = mac(AT.encode() + b"." + BODY).hex()
    doubled = request(BODY, {"stripe-signature": f"t={AT},t={AT},v1={right}"})
    assert code(SENDERS["stripe"].receiver().receive(doubled)) == "signature_malformed"


# ---- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        ({}, {"authorization": f"Bearer {SECRET}"}),
        ({"header": "X-Gitlab-Token"}, {"x-gitlab-token": SECRET}),
        ({"header": "authorization", "prefix": "Basic "}, {"authorization": f"Basic {SECRET}"}),
        ({"secret": [OTHER, SECRET]}, {"authorization": f"Bearer {SECRET}"}),
    ],
)
def test_a_token_stands_in_a_header(options: dict[str, Any], headers: dict[str, str]) -> None:
    hook = signing.receiver(**{"provider": "token", "secret": SECRET} | options)
    assert isinstance(hook.receive(request(BODY, headers)), Accepted)
    (name,) = headers
    for wrong in (headers[name] + "x", headers[name][:-1], SECRET.upper(), "", "\xff"):
        assert code(hook.receive(request(BODY, {name: wrong}))) in ("token_wrong", "token_missing")


def test_a_token_stands_in_the_query() -> None:
    hook = signing.receiver(provider="token", secret=SECRET, query_parameter="q")
    accepted = hook.receive(request(BODY, query=f"q={SECRET}&a=1"))
    assert isinstance(accepted, Accepted)
    assert accepted.events[0].data["query"] == {"a": "1"}
    assert code(hook.receive(request(BODY, query=f"q={SECRET}&q={SECRET}"))) == "token_missing"
    assert code(hook.receive(request(BODY, {"authorization": f"Bearer {SECRET}"}))) == "token_missing"
    assert code(hook.receive(request(BODY, query="q=%ff"))) == "token_wrong"


def test_no_proof_is_asked_for_where_none_is_configured() -> None:
    assert isinstance(signing.receiver(provider="none").receive(request(BODY)), Accepted)


# ---- what is signed --------------------------------------------------------------------------------------------------


def test_a_template_of_what_is_signed_is_cut_at_its_fields() -> None:
    signed = Signed.parse("v0:{timestamp}:{id}.{body}!")
    assert signed.of(body=b"{body}", timestamp=b"1", message_id=b"i") == b"v0:1:i.{body}!"
    assert (signed.has("timestamp"), Signed.parse("{body}").has("timestamp")) == (True, False)


@pytest.mark.parametrize("wrong", ["", "x", "{timestamp}", "{body}{body}", "{bodi}{body}", "{body", "}{body}", "{}"])
def test_a_template_without_the_body_or_with_other_fields_is_none(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"body|not known|before"):
        Signed.parse(wrong)
