from typing import Any

import pytest

from app.engine.tables.run import Run
from app.runtime import sending
from app.runtime.limits import Misuse, StepLimit, StepLimits
from tests.unit.app.engine.partition import NOW, event, flow
from topics.malformed import Malformed

RUN = "charge:0123456789abcdef01234567"
LIMITS = StepLimits(partitions=4, event_bytes=300, send_allowed=lambda topic: topic == "answers")


def send(value: Any = None, *, topic: Any = "answers", key: Any = None, headers: Any = None) -> Any:
    run = Run(RUN, flow(), (event(3),), None, None, NOW)
    return sending.foreign_record(run, LIMITS, "ask", topic, value, key, headers)


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, None), (b"\x00\xff", b"\x00\xff"), ("text", b'"text"'), ({"a": 1}, b'{"a":1}')],
)
def test_a_record_is_sent_as_it_was_given(value: Any, written: bytes | None) -> None:
    record = send(value, key="k", headers={"a": "x", "b": b"\x00"})

    trace = b"00-0123456789abcdef0123456701234567-0123456789abcdef-01"
    assert record == (
        "answers",
        None,
        b"k",
        written,
        (
            ("a", b"x"),
            ("b", b"\x00"),
            ("traceparent", trace),
            ("causation_id", RUN.encode()),
            ("causation_step", b"ask"),
            ("causation_event", event(3).id.encode()),
        ),
        True,
    )


def test_an_author_may_set_every_header() -> None:
    own = {"traceparent": "mine", "causation_id": "too", "causation_step": "and", "causation_event": "this"}

    assert dict(send(headers=own).headers) == {name: value.encode() for name, value in own.items()}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"topic": "headgate.events"}, "may not send to the Kafka topic 'headgate.events'; add it to replies."),
        ({"topic": "x" * 40_000}, "xx..., which no Kafka topic is called; give 1 to 249 of the characters"),
        ({"topic": None}, "sends to the Kafka topic None; give its name"),
        ({"key": 7}, "the record key of step 'ask' is 7; give text or bytes"),
        ({"headers": {"h": 7}}, "the header 'h' of step 'ask' is 7; give text or bytes"),
    ],
)
def test_what_no_retry_mends_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(Misuse) as caught:
        send(1, **given)
    assert words in str(caught.value)


def test_what_is_too_large_or_no_json_is_refused() -> None:
    with pytest.raises(StepLimit, match=r"the record of step 'ask' in run .* more than the 300 of limits.event_bytes"):
        send(b"x" * 300)
    with pytest.raises(Malformed, match="the value of step 'ask' cannot be written as JSON"):
        send(object())
