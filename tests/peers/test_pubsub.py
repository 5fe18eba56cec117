"""Google's in-memory Pub/Sub server: nothing is lost, leases hold, keys keep their order.

It speaks gRPC alone; a small main of ours gives its methods their REST form (tests/peers/pstest).
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import ClientSession

from connectors import pubsub
from connectors.base.contract import Received, Refused
from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp
from tests.peers.programs import needs, pubsub_server
from tests.unit.connectors.standing import Reading, StandIn, reading

pytestmark = needs("pstest")


@pytest.fixture(scope="module")
def pstest() -> Iterator[str]:
    with pubsub_server() as at:
        yield at


class Place:
    """A topic with one subscription, as one test has it."""

    def __init__(self, at: str, http: ClientSession, site: StandIn, name: str) -> None:
        self.at, self.http, self.site = at, http, site
        self.topic, self.subscription = f"projects/p/topics/{name}", f"projects/p/subscriptions/{name}"

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        async with self.http.request(method, f"{self.at}/v1/{path}", json=body or {}) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def make(self, **subscription: Any) -> None:
        await self.ask("PUT", self.topic)
        await self.ask("PUT", self.subscription, {"topic": self.topic, "ackDeadlineSeconds": 10, **subscription})

    async def publish(self, *texts: str, **more: Any) -> list[str]:
        messages = [{"data": base64.b64encode(text.encode()).decode(), **more} for text in texts]
        return list((await self.ask("POST", f"{self.topic}:publish", {"messages": messages}))["messageIds"])

    async def pull(self) -> list[Any]:
        """What another reader gets now."""
        asked = {"maxMessages": 100, "returnImmediately": True}
        return list((await self.ask("POST", f"{self.subscription}:pull", asked)).get("receivedMessages", []))

    def source(self, **options: Any) -> pubsub.Source:
        given = {"subscription": self.subscription, "endpoint_url": self.at, "anonymous": True}
        return pubsub.Source(pubsub.Config.model_validate({**given, **options}), self.site)


@pytest.fixture
async def place(pstest: str, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with ClientHttp(Policy(allowed=("127.0.0.0/8",))) as http, ClientSession() as client:
        yield Place(pstest, client, StandIn(http=http, real_time=True), request.node.name.replace("_", "-"))


async def events(one: Reading, count: int) -> list[Received]:
    return [await one.event() for _ in range(count)]


async def test_all_messages_are_read_and_acknowledged(place: Place) -> None:
    await place.make()
    ids = await place.publish(*(f'{{"n": {number}}}' for number in range(300)), attributes={"color": "red"})
    async with reading(place.source(), place.site) as one:
        found = await events(one, 300)

    assert {event.id for event in found} == set(ids)
    assert sorted(event.data["body"]["n"] for event in found) == list(range(300))
    assert found[0].data["attributes"] == {"color": "red"}
    assert found[0].created_at is not None
    assert await place.pull() == []
    assert place.site.notes == {}


async def test_what_a_stopped_reader_had_comes_again_at_once_under_its_id(place: Place) -> None:
    await place.make()
    ids = await place.publish("a", "b", "c")
    async with reading(place.source(), place.site) as one:
        first = await one.event()
    async with reading(place.source(), place.site) as one:
        rest = await events(one, 2)

    assert {first.id, *(event.id for event in rest)} == set(ids)
    assert await place.pull() == []


async def test_a_lease_holds_longer_than_the_subscriptions_own_deadline(place: Place) -> None:
    """The subscription lends for 10 s, the source for 10 s more each time; another reader tries all the while."""
    await place.make()
    await place.publish("a")
    async with reading(place.source(lease=10), place.site) as one:
        held = await one.next(settle=False)
        for _ in range(26):
            assert await place.pull() == []
            await asyncio.sleep(0.5)
        await one.settle(held)

    assert place.site.notes == {}


async def test_messages_of_a_key_come_in_their_order(place: Place) -> None:
    await place.make(enableMessageOrdering=True)
    for number in range(12):
        await place.publish(str(number), orderingKey=f"k{number % 2}")
    async with reading(place.source(), place.site) as one:
        found = await events(one, 12)

    orders: dict[str | None, list[int]] = {}
    for event in found:
        orders.setdefault(event.key, []).append(int(event.data["body"]))
    assert orders == {"k0": [0, 2, 4, 6, 8, 10], "k1": [1, 3, 5, 7, 9, 11]}


async def test_the_attempts_of_a_subscription_with_dead_letters_are_told(place: Place) -> None:
    dead = place.topic + "-dead"
    await place.ask("PUT", dead)
    await place.make(deadLetterPolicy={"deadLetterTopic": dead, "maxDeliveryAttempts": 10})
    await place.publish("a")
    async with reading(place.source(), place.site) as one:
        first = await one.next(settle=False)
    async with reading(place.source(), place.site) as one:
        second = await one.event()

    assert isinstance(first, Received)
    assert (first.data["delivery_attempt"], second.data["delivery_attempt"], first.id) == (1, 2, second.id)
    assert place.site.notes["redelivered"] == 1


async def test_a_subscription_that_is_not_there_is_refused_and_read_once_it_is(place: Place) -> None:
    source = place.source()
    async with reading(source, place.site) as one:
        end = await one.to_its_end()
    assert isinstance(end, Refused)
    assert "check the name and the project" in str(end)

    await place.make()
    await place.publish("a")
    async with reading(source, place.site) as one:
        assert (await one.event()).data["body"] == "a"
