"""Envelopes of SNS: taken off where they are, left alone where none is."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base.services.envelopes import Letter, NoEnvelope, Unwrap, unwrapped
from connectors.base.services.sqs import Message

SENT = datetime(2026, 6, 1, tzinfo=UTC)
ENVELOPE: dict[str, Any] = {
    "Type": "Notification",
    "MessageId": "sns-1",
    "TopicArn": "arn:aws:sns:eu-west-1:1:orders",
    "Subject": "a subject",
    "Message": '{"total": 3}',
    "Timestamp": "2026-06-01T12:00:00.123Z",
    "SignatureVersion": "1",
    "MessageAttributes": {"color": {"Type": "String", "Value": "red"}},
}


async def _ack() -> None:
    pass


def message(body: str) -> Message:
    return Message(
        handle="h1",
        id="m1",
        message_id="m1",
        body=body,
        attributes={"size": "1"},
        group=None,
        sent_at=SENT,
        received_count=1,
        ack=_ack,
    )


PLAIN = Letter(id="m1", body="hello", attributes={"size": "1"}, sent_at=SENT)
UNWRAPPED = Letter(
    id="sns-1",
    body='{"total": 3}',
    attributes={"color": "red"},
    sent_at=datetime(2026, 6, 1, 12, 0, 0, 123_000, tzinfo=UTC),
    subject="a subject",
    topic_arn="arn:aws:sns:eu-west-1:1:orders",
)


@pytest.mark.parametrize("how", [Unwrap.AUTO, Unwrap.SNS])
def test_a_message_is_taken_out_of_its_envelope(how: Unwrap) -> None:
    assert unwrapped(message(json.dumps(ENVELOPE)), how) == UNWRAPPED


def test_an_envelope_is_left_where_none_is_expected() -> None:
    body = json.dumps(ENVELOPE)
    assert unwrapped(message(body), Unwrap.NONE) == Letter(id="m1", body=body, attributes={"size": "1"}, sent_at=SENT)


@pytest.mark.parametrize("how", [Unwrap.AUTO, Unwrap.NONE])
def test_a_raw_message_is_its_own_letter(how: Unwrap) -> None:
    assert unwrapped(message("hello"), how) == PLAIN


@pytest.mark.parametrize(
    "body",
    [
        "hello",
        '{"Type": "Notification"',
        '["Notification"]',
        json.dumps({**ENVELOPE, "Type": "SubscriptionConfirmation", "Message": '"Notification"'}),
        json.dumps({**ENVELOPE, "MessageId": 7}),
        json.dumps({name: value for name, value in ENVELOPE.items() if name != "TopicArn"}),
    ],
)
def test_what_only_looks_like_an_envelope_is_none(body: str) -> None:
    assert unwrapped(message(body), Unwrap.AUTO).id == "m1"
    with pytest.raises(NoEnvelope, match="set unwrap to auto or none"):
        unwrapped(message(body), Unwrap.SNS)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"Subject": None}, {"subject": None}),
        ({"MessageAttributes": "odd"}, {"attributes": {}}),
        ({"MessageAttributes": {"a": 1}}, {"attributes": {}}),
        ({"Timestamp": "yesterday"}, {"sent_at": None}),
        ({"Timestamp": "2026-06-01T12:00:00"}, {"sent_at": None}),
        ({"Timestamp": "0001-01-01T00:00:00+14:00"}, {"sent_at": None}),
    ],
)
def test_odd_fields_of_an_envelope_do_no_harm(change: dict[str, Any], expected: dict[str, Any]) -> None:
    letter = unwrapped(message(json.dumps({**ENVELOPE, **change})), Unwrap.AUTO)
    assert {name: getattr(letter, name) for name in expected} == expected


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@settings(deadline=None)
@given(changes=st.dictionaries(st.sampled_from(sorted(ENVELOPE)), VALUES))
def test_no_envelope_escapes_as_an_exception(changes: dict[str, Any]) -> None:
    letter = unwrapped(message(json.dumps({**ENVELOPE, **changes})), Unwrap.AUTO)
    assert isinstance(letter.body, str)
