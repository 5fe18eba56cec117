"""Messages that runs ask sources to send, on a real broker: in order, again after a break, told in the end."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import errors

from app.kafka.embedded import EmbeddedKafka
from connectors.base.contract import Item, Moved, NotConnected, Refused, Site
from connectors.base.fleet import actions, turns
from connectors.base.kinds import registry
from tests.integration.connecting import Installation, running, until
from tests.unit.connectors.base.framed import kind_of
from topics.sources import Message, Spec, asked_to_send, partition_of, sent_topic


class Mouth:
    """A source that sends; `breaks` times the link breaks first."""

    sent: list[tuple[str, Mapping[str, Any], str]] = []  # noqa: RUF012 what all instances of a test have sent
    breaks = 0

    def __init__(self, config: Any, site: Site) -> None:
        self._site = site

    async def read(self) -> AsyncIterator[Item]:
        self._site.connected()
        yield Moved(position=1)
        await asyncio.get_running_loop().create_future()

    async def send(self, message: Mapping[str, Any], *, key: str) -> Mapping[str, Any] | None:
        if message.get("refuse"):
            raise Refused("secret-of-the-mouth does not let you")
        if message.get("odd"):
            raise ZeroDivisionError("secret-of-the-mouth")
        if type(self).breaks > 0:
            type(self).breaks -= 1
            raise NotConnected("it broke")
        self.sent.append((self._site.instance_id, message, key))
        if message.get("much"):
            return {"much": "x" * 3_000_000}
        return {"n": len(self.sent)}


@pytest.fixture
def mouth(monkeypatch: pytest.MonkeyPatch) -> type[Mouth]:
    """The kind `mouth`."""

    async def nothing(_site: Site, _n: int) -> AsyncIterator[Item]:
        yield Moved(position=None)

    kind = replace(kind_of(nothing, "mouth"), make=Mouth)
    known = registry.load
    monkeypatch.setattr(registry, "load", lambda name: kind if name == "mouth" else known(name))
    monkeypatch.setattr(Mouth, "sent", [])
    monkeypatch.setattr(Mouth, "breaks", 0)
    return Mouth


async def ask(place: Installation, connectors: Any, source: str, name: str, seconds: float = 60, **body: Any) -> None:
    message = Message(id=name, source=source, body=body, expires_ms=int((time.time() + seconds) * 1000))
    await connectors.publisher.write("actions", source.encode(), asked_to_send(message).value)


async def answers(place: Installation) -> dict[str, Any]:
    return {event["topic"]: event["data"] for event in await place.events()}


async def test_messages_of_a_source_are_sent_in_order_and_each_is_told(
    kafka: EmbeddedKafka, kafka_prefix: str, mouth: type[Mouth]
) -> None:
    place = Installation(kafka, kafka_prefix)
    connectors = place.process()
    mouth.breaks = 2
    async with running(connectors):
        await place.set_up(connectors, Spec(id="a", kind="mouth"))
        for number in range(10):
            await ask(place, connectors, "a", f"m{number}", n=number)
        await until(lambda: len(mouth.sent) == 10, what="all are sent")

        async def told() -> bool:
            found = await answers(place)
            return all(found.get(sent_topic(f"m{number}"), {}).get("status") == "sent" for number in range(10))

        await until(told, what="all are told")
        assert [("a", {"n": number}, f"m{number}") for number in range(10)] == mouth.sent
        assert {"n": 3} == (await answers(place))[sent_topic("m2")]["reply"]
        await until(lambda: _position(place), what="the position is written")

    again = place.process("p2")
    async with running(again):
        await until(lambda: again.runner("a"), what="another process runs it")
        await ask(place, again, "a", "later", n=99)
        await until(lambda: len(mouth.sent) > 10, what="the next one is sent")

    assert ("a", {"n": 99}, "later") == mouth.sent[10]  # and none of those before again


async def test_what_is_refused_expires_or_has_no_source_is_told_without_secrets(
    kafka: EmbeddedKafka, kafka_prefix: str, mouth: type[Mouth], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOUTH", "secret-of-the-mouth")
    place = Installation(kafka, kafka_prefix)
    connectors = place.process()
    async with running(connectors):
        await place.set_up(connectors, Spec(id="a", kind="mouth", options={"token": "{{ env.MOUTH }}"}))
        await until(lambda: connectors.runner("a"), what="it runs")
        await ask(place, connectors, "a", "refused", refuse=True)
        await connectors.publisher.write("actions", b"a", b"nonsense")
        mouth.breaks = 1_000
        await ask(place, connectors, "a", "late", seconds=3, n=1)

        async def told() -> bool:
            found = await answers(place)
            return {sent_topic("refused"), sent_topic("late")} <= found.keys()

        await until(told, what="both are told")

    found = await answers(place)
    assert "failed" == found[sent_topic("refused")]["status"]
    assert "*** does not let you" in found[sent_topic("refused")]["error"]
    assert "in time it was not sent" in found[sent_topic("late")]["error"]
    assert mouth.sent == []


async def test_a_message_for_a_source_that_is_nowhere_is_told_so(
    kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "UNSET_SECONDS", 0.2)
    place = Installation(kafka, kafka_prefix)
    connectors = place.process()
    await ask(place, connectors, "nowhere", "before", n=1)
    async with running(connectors):
        await until(lambda: connectors.lease.held, what="it is a member")
        await ask(place, connectors, "nobody", "after", n=1)

        async def told() -> bool:
            return {sent_topic("before"), sent_topic("after")} <= (await answers(place)).keys()

        await until(told, what="both are told")

    assert "there is no source 'nobody'" in (await answers(place))[sent_topic("after")]["error"]


async def _position(place: Installation) -> bool:
    cursor = (await place.last("cursors")).get("/actions")
    return cursor is not None and cursor["position"] == 10


async def test_no_message_ends_the_process_or_is_sent_when_its_time_is_over(
    kafka: EmbeddedKafka, kafka_prefix: str, mouth: type[Mouth], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOUTH", "secret-of-the-mouth")
    place = Installation(kafka, kafka_prefix)
    connectors = place.process()
    names = ["odd", "x" * 600, "", "over", "good"]
    async with running(connectors):
        await place.set_up(connectors, Spec(id="a", kind="mouth", options={"token": "{{ env.MOUTH }}"}))
        await until(lambda: connectors.runner("a"), what="it runs")
        await ask(place, connectors, "a", names[0], odd=1)
        await ask(place, connectors, "a", names[1], n=1)
        await ask(place, connectors, "a", names[2], n=2)
        await ask(place, connectors, "a", names[3], seconds=-3_600, n=3)
        await ask(place, connectors, "a", names[4], n=4, much=True)

        async def told() -> bool:
            return {sent_topic(name) for name in names} <= (await answers(place)).keys()

        await until(told, what="all are told")

    found = await answers(place)
    assert "fails on this message with ZeroDivisionError" in found[sent_topic("odd")]["error"]
    assert "its time was over" in found[sent_topic("over")]["error"]
    assert [1, 2, 4] == [message["n"] for _, message, _ in mouth.sent]
    assert "the reply cannot be told: it has 3000" in found[sent_topic("good")]["error"]


async def test_what_waits_for_a_source_that_is_away_holds_up_no_other_and_is_sent_once_when_it_is_back(
    kafka: EmbeddedKafka, kafka_prefix: str, mouth: type[Mouth], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "MOST_OF_SOURCE", 4)
    place = Installation(kafka, kafka_prefix)
    home = partition_of("away", 16)
    near = next(name for number in range(1_000) if partition_of(name := f"near{number}", 16) == home)
    connectors = place.process()
    async with running(connectors):
        await place.set_up(connectors, Spec(id="away", kind="mouth", paused=True), Spec(id=near, kind="mouth"))
        for number in range(20):
            await ask(place, connectors, "away", f"away{number}", n=number)
        await ask(place, connectors, near, "near", n=0)
        await until(lambda: mouth.sent, what="the other one's is sent")

        async def is_noted() -> bool:
            cursor = (await place.last("cursors")).get("/actions")
            return cursor is not None and cursor["position"] == {"at": 21, "waiting": {"away": 0}}

        await until(is_noted, what="the position is written")

    again = place.process("p2")
    async with running(again):
        await place.set_up(again, Spec(id="away", kind="mouth"))
        await until(lambda: len(mouth.sent) == 21, what="all are sent")

    assert [(near, {"n": 0}, "near")] == mouth.sent[:1]
    assert [("away", {"n": number}, f"away{number}") for number in range(20)] == mouth.sent[1:]


async def test_an_answer_that_cannot_be_published_ends_the_process_and_is_not_tried_for_ever(
    kafka: EmbeddedKafka, kafka_prefix: str, mouth: type[Mouth], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Installation(kafka, kafka_prefix)
    connectors = place.process()
    await place.set_up(connectors, Spec(id="a", kind="mouth"))
    await ask(place, connectors, "a", "m", n=1)

    async def refused(_partition: int, _events: Any) -> None:
        raise errors.MessageSizeTooLargeError("events")

    monkeypatch.setattr(connectors, "_publish_held", refused)
    with pytest.raises(errors.MessageSizeTooLargeError):
        await asyncio.wait_for(connectors.run(asyncio.Event()), 60)
