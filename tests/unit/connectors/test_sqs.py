"""The kind `sqs`: what its events are."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.base.contract import Received, Unreadable
from connectors.sqs import EXAMPLE, Config, Source
from tests.unit.connectors import queues
from tests.unit.connectors.base.services.test_envelopes import ENVELOPE
from tests.unit.connectors.queues import Sqs
from tests.unit.connectors.standing import reading, until
from tests.unit.connectors.timing import Clock


@pytest.fixture
async def sqs() -> AsyncIterator[Sqs]:
    async with queues.queue() as one:
        yield one


def source(sqs: Sqs, site: Clock, **options: Any) -> Source:
    return Source(Config.model_validate({**sqs.config, **options}), site)


def test_the_example_is_valid() -> None:
    assert Config.model_validate(EXAMPLE).queue_url == EXAMPLE["queue_url"]


async def test_a_message_is_an_event_and_is_deleted_once_the_broker_has_it(sqs: Sqs) -> None:
    await sqs.send('{"total": 3}', color="red")
    async with reading(source(sqs, site := Clock()), site) as one:
        event = await one.event()
        await until(lambda: not sqs.messages)

    assert (event.id, event.event_type, event.key) == ("m1", "message", None)
    assert event.data == {
        "body": {"total": 3},
        "attributes": {"color": "red"},
        "message_id": "m1",
        "received_count": 1,
    }
    assert event.created_at == datetime.fromtimestamp(1_780_000_000, UTC)


async def test_a_message_that_was_not_acknowledged_comes_again_under_its_id(sqs: Sqs) -> None:
    await sqs.send("a")
    kind = source(sqs, site := Clock())
    async with reading(kind, site) as one:
        first = await one.next(settle=False)
    async with reading(kind, site) as one:
        second = await one.event()

    assert isinstance(first, Received)
    assert (first.id, first.data["received_count"]) == (second.id, 1)
    assert second.data["received_count"] == 2
    assert site.notes["redelivered"] == 1


async def test_a_fifo_message_has_its_group_as_key_and_a_poisonous_one_does_not_stop_it(sqs: Sqs) -> None:
    for text in ("1", "{poison", "3"):
        await sqs.send(text, system={"MessageGroupId": "g", "MessageDeduplicationId": f"d{text}"})
    async with reading(source(sqs, site := Clock(), body="json"), site) as one:
        items = [await one.next() for _ in range(3)]
        await until(lambda: not sqs.messages)

    assert [item.id for item in items if isinstance(item, Received | Unreadable)] == ["g/d1", "g/d{poison", "g/d3"]
    letter = items[1]
    assert isinstance(letter, Unreadable)
    assert letter.raw == b"{poison"
    assert "no JSON" in letter.reason
    assert [(item.key, item.data["group_id"]) for item in items if isinstance(item, Received)] == [("g", "g")] * 2


@pytest.mark.parametrize("unwrap", ["auto", "sns"])
async def test_an_envelope_of_sns_is_taken_off(sqs: Sqs, unwrap: str) -> None:
    await sqs.send(json.dumps(ENVELOPE))
    async with reading(source(sqs, site := Clock(), unwrap=unwrap), site) as one:
        event = await one.event()

    assert event.id == "sns-1"
    assert event.data == {
        "body": {"total": 3},
        "attributes": {"color": "red"},
        "message_id": "m1",
        "received_count": 1,
        "subject": "a subject",
        "topic_arn": "arn:aws:sns:eu-west-1:1:orders",
    }


async def test_a_message_without_the_expected_envelope_is_a_dead_letter_and_deleted(sqs: Sqs) -> None:
    await sqs.send("raw")
    async with reading(source(sqs, site := Clock(), unwrap="sns"), site) as one:
        letter = await one.next()
        await until(lambda: not sqs.messages)

    assert isinstance(letter, Unreadable)
    assert letter.raw == b"raw"


@pytest.mark.parametrize(("attributes", "expected"), [({"kind": "order"}, "order"), ({}, "message")])
async def test_the_type_can_be_an_attribute(sqs: Sqs, attributes: dict[str, str], expected: str) -> None:
    await sqs.send("a", system=None, **attributes)
    async with reading(source(sqs, site := Clock(), type_attribute="kind"), site) as one:
        assert (await one.event()).event_type == expected
