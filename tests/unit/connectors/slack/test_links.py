"""Sockets: one that is replaced without a gap, and what ends them all."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from pydantic import SecretStr

from connectors.base.contract import Closed, NotConnected, Refused
from connectors.slack import links as module
from connectors.slack.frames import Event
from connectors.slack.links import Arrived, Links
from connectors.slack.web import Web
from tests.fakes.slack import APP_TOKEN, FakeSlack
from tests.unit.connectors.standing import StandIn, until

PING_SECONDS = 0.03
FOR_EVER = 1e6


@pytest.fixture
def url(slack: FakeSlack, site: StandIn) -> Callable[[], Awaitable[str]]:
    return partial(Web(site, slack.api_url).socket_url, SecretStr(APP_TOKEN))


@pytest.fixture
async def links(site: StandIn, url: Callable[[], Awaitable[str]]) -> AsyncIterator[Links]:
    async with opened(site, url) as made:
        yield made


@asynccontextmanager
async def opened(
    site: StandIn, url: Callable[[], Awaitable[str]], *, ping_seconds: float = PING_SECONDS
) -> AsyncIterator[Links]:
    made = Links(site, url, ping_seconds=ping_seconds)
    made.open()
    try:
        yield made
    finally:
        await made.close()


async def taken(links: Links, count: int = 1) -> list[str]:
    """The ids of the next deliveries, which are acknowledged."""
    ids = []
    async with asyncio.timeout(20):
        for _ in range(count):
            arrived = await links.next()
            assert isinstance(arrived.delivery.content, Event)
            await arrived.connection.send(json.dumps({"envelope_id": arrived.delivery.envelope_id}))
            ids.append(arrived.delivery.content.id)
    return ids


async def why(links: Links) -> NotConnected | Refused:
    async with asyncio.timeout(20):
        while True:
            try:
                await links.next()
            except (NotConnected, Refused) as error:
                return error


async def test_the_link_stands_when_slack_has_said_hello(slack: FakeSlack, site: StandIn, links: Links) -> None:
    slack.message("first", event_id="Ev1")

    assert await taken(links) == ["Ev1"]
    assert (site.connections, site.notes) == (1, {})
    await until(lambda: slack.acknowledged == ["Ev1"])


@pytest.mark.parametrize("reason", ["warning", "refresh_requested", "something_new"])
async def test_nothing_is_lost_while_slack_replaces_a_socket(
    slack: FakeSlack, site: StandIn, links: Links, reason: str
) -> None:
    await site.is_connected.wait()
    [old] = slack.links

    slack.disconnect(old, reason, seconds=FOR_EVER)
    await until(lambda: site.notes["refreshed"] == 1)
    for number in range(20):
        slack.message("over either of them", event_id=f"Ev{number}")
    assert {number for *_, number in slack.delivered} == {1, 2}
    assert sorted(await taken(links, 20)) == sorted(f"Ev{number}" for number in range(20))
    await until(lambda: len(slack.acknowledged) == 20)

    await slack.close(old)
    slack.message("over the new one", event_id="Ev20")
    assert await taken(links) == ["Ev20"]
    await until(lambda: len(slack.acknowledged) == 21)
    assert {attempt for *_, attempt, _ in slack.delivered} == {0}
    assert (slack.sockets_opened, site.connections) == (2, 1)


async def test_the_old_socket_is_left_only_when_the_new_one_has_said_hello(
    slack: FakeSlack, site: StandIn, links: Links
) -> None:
    await site.is_connected.wait()
    [old] = slack.links
    slack.says_hello = False

    slack.disconnect(old, "refresh_requested", seconds=FOR_EVER)
    await until(lambda: len(slack.links) == 2)
    slack.deliver("slash_commands", {"trigger_id": "1.2"}, to=old)

    assert await taken(links) == ["1.2"]
    assert site.notes["refreshed"] == 0


async def test_a_second_word_of_leaving_asks_for_no_further_socket(
    slack: FakeSlack, site: StandIn, links: Links
) -> None:
    await site.is_connected.wait()
    [old] = slack.links

    slack.disconnect(old, "warning", seconds=FOR_EVER)
    slack.disconnect(old, "refresh_requested", seconds=FOR_EVER)
    slack.message("after both", event_id="Ev1")

    assert await taken(links) == ["Ev1"]
    await until(lambda: site.notes["refreshed"] == 1)
    assert slack.sockets_opened == 2


async def test_a_socket_that_slack_never_closes_is_left_in_the_end(
    slack: FakeSlack, site: StandIn, links: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OVERLAP_SECONDS", 0.05)
    await site.is_connected.wait()
    [old] = slack.links

    slack.disconnect(old, "warning", seconds=FOR_EVER)

    await until(lambda: old not in slack.links)
    slack.message("and on", event_id="Ev1")
    assert await taken(links) == ["Ev1"]


async def test_an_old_socket_without_a_successor_is_read_as_long_as_it_lives(
    slack: FakeSlack, site: StandIn, links: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OVERLAP_SECONDS", 0.01)
    await site.is_connected.wait()
    slack.limit("apps.connections.open", retry_after_seconds=60)

    slack.disconnect(slack.links[0], "warning", seconds=FOR_EVER)
    pings = slack.links[0].pings
    await until(lambda: slack.links[0].pings >= pings + 4)
    slack.message("still", event_id="Ev1")

    assert await taken(links) == ["Ev1"]


async def test_a_limit_that_is_over_delays_no_later_replacement(slack: FakeSlack, site: StandIn, links: Links) -> None:
    site.chance = 0.0
    await site.is_connected.wait()
    slack.limit("apps.connections.open", retry_after_seconds=0.05)
    slack.disconnect(slack.links[0], "warning", seconds=FOR_EVER)
    await until(lambda: site.notes["refreshed"] == 1)
    assert [one for one in site.slept if one != PING_SECONDS] == [0.05]

    slack.disconnect(slack.links[1], "warning", seconds=FOR_EVER)
    await until(lambda: site.notes["refreshed"] == 2)
    assert [one for one in site.slept if one != PING_SECONDS] == [0.05]


async def test_a_failed_replacement_is_tried_again_while_the_old_socket_is_read(
    slack: FakeSlack, site: StandIn, links: Links
) -> None:
    site.chance = 0.05
    await site.is_connected.wait()
    [old] = slack.links
    slack.answer_next("apps.connections.open", status=503)
    slack.answer_next("apps.connections.open", body={"ok": False, "error": "internal_error"})

    slack.disconnect(old, "warning", seconds=FOR_EVER)
    slack.message("meanwhile", event_id="Ev1")
    assert await taken(links) == ["Ev1"]

    await until(lambda: site.notes["refreshed"] == 1)
    assert slack.asked["apps.connections.open"] == 4
    assert [one for one in site.slept if one != PING_SECONDS] == [pytest.approx(0.1), pytest.approx(0.2)]


async def test_sockets_that_are_replaced_at_once_are_replaced_ever_more_slowly(
    slack: FakeSlack, site: StandIn, links: Links
) -> None:
    site.chance = 0.01
    await site.is_connected.wait()
    for number in range(1, 4):
        slack.disconnect(slack.links[-1], "refresh_requested", seconds=FOR_EVER)
        await until(lambda number=number: site.notes["refreshed"] == number)  # type: ignore[misc]

    assert [one for one in site.slept if one != PING_SECONDS] == [pytest.approx(0.02), pytest.approx(0.04)]


async def test_the_end_of_an_old_socket_is_no_failed_attempt(slack: FakeSlack, site: StandIn, links: Links) -> None:
    site.chance = 0.01
    await site.is_connected.wait()
    for number in range(1, 3):
        old = slack.links[-1]
        slack.disconnect(old, "refresh_requested", seconds=FOR_EVER)
        await until(lambda number=number: site.notes["refreshed"] == number)  # type: ignore[misc]
        await slack.close(old)
        await until(lambda: len(links._links) == 1)

    assert [one for one in site.slept if one != PING_SECONDS] == [pytest.approx(0.02)]


async def test_a_socket_that_delivered_is_replaced_without_a_pause(
    slack: FakeSlack, site: StandIn, links: Links
) -> None:
    await site.is_connected.wait()
    for number in range(1, 4):
        slack.deliver("slash_commands", {"trigger_id": str(number)}, to=slack.links[-1])
        assert await taken(links) == [str(number)]
        slack.disconnect(slack.links[-1], "refresh_requested", seconds=FOR_EVER)
        await until(lambda number=number: site.notes["refreshed"] == number)  # type: ignore[misc]

    assert {one for one in site.slept if one != PING_SECONDS} == set()


async def test_the_old_socket_is_read_to_its_end_when_no_new_one_is_allowed(
    slack: FakeSlack, site: StandIn, links: Links
) -> None:
    site.chance = 0.0
    await site.is_connected.wait()
    [old] = slack.links
    slack.app_token = "xapp-2"

    slack.disconnect(old, "warning", seconds=FOR_EVER)
    await until(lambda: slack.asked["apps.connections.open"] == 2)
    slack.message("still", event_id="Ev1")
    assert await taken(links) == ["Ev1"]
    await slack.close(old)

    error = await why(links)
    assert (type(error), error.reason) == (Refused, "invalid_auth")
    assert slack.asked["apps.connections.open"] == 2


async def test_when_the_old_socket_ends_before_slack_allows_a_new_one_the_frame_waits_as_long(
    slack: FakeSlack, site: StandIn, links: Links
) -> None:
    await site.is_connected.wait()
    [old] = slack.links
    slack.limit("apps.connections.open", retry_after_seconds=60)

    slack.disconnect(old, "warning", seconds=FOR_EVER)
    await until(lambda: any(one >= 60 for one in site.slept))
    await slack.close(old)

    error = await why(links)
    assert isinstance(error, NotConnected)
    assert (error.reason, error.retry_after_seconds) == ("rate_limited", 60)


async def test_when_the_new_socket_dies_beside_the_old_one_there_is_a_third(
    slack: FakeSlack, site: StandIn, links: Links
) -> None:
    site.chance = 0.01
    await site.is_connected.wait()
    [old] = slack.links
    slack.disconnect(old, "warning", seconds=FOR_EVER)
    await until(lambda: site.notes["refreshed"] == 1)

    slack.cut(slack.links[1])

    await until(lambda: site.notes["refreshed"] == 2)
    assert [link.number for link in slack.links] == [1, 3]


async def test_a_socket_mode_that_is_switched_off_is_refused_after_what_came_before(
    slack: FakeSlack, site: StandIn, links: Links
) -> None:
    await site.is_connected.wait()
    slack.message("before", event_id="Ev1")
    slack.disconnect(slack.links[0], "link_disabled")

    assert await taken(links) == ["Ev1"]
    error = await why(links)
    assert isinstance(error, Refused)
    assert (error.reason, slack.asked["apps.connections.open"]) == ("link_disabled", 1)
    assert "switch it on in the app's settings" in str(error)


async def test_a_socket_mode_that_is_switched_off_is_refused_whatever_else_is_open(
    slack: FakeSlack, site: StandIn, links: Links
) -> None:
    await site.is_connected.wait()
    slack.disconnect(slack.links[0], "warning", seconds=FOR_EVER)
    await until(lambda: site.notes["refreshed"] == 1)

    slack.disconnect(slack.links[1], "link_disabled", seconds=FOR_EVER)

    assert (await why(links)).reason == "link_disabled"
    assert slack.asked["apps.connections.open"] == 2


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("too_many_websockets", ("too_many_websockets", False)),
        ("warning", ("warning", True)),
        ("<script>", ("unknown", True)),
    ],
)
async def test_a_socket_that_is_turned_away_instead_of_greeted_is_none(
    slack: FakeSlack, site: StandIn, links: Links, reason: str, expected: tuple[str, bool]
) -> None:
    slack.says_hello = False
    await until(lambda: len(slack.links) == 1)
    slack.disconnect(slack.links[0], reason)

    error = await why(links)

    assert isinstance(error, NotConnected)
    assert (error.reason, error.at_once) == expected
    assert site.connections == 0


async def test_a_socket_that_ends_without_a_word_ends_reading_after_what_came(
    slack: FakeSlack, site: StandIn, links: Links
) -> None:
    await site.is_connected.wait()
    for number in range(3):
        slack.message("before", event_id=f"Ev{number}")
    await until(lambda: len(slack.delivered) == 3)
    await slack.close(slack.links[0], 1011)
    await until(lambda: not slack.links)

    assert [(await links.next()).delivery.envelope_id for _ in range(3)] == [one[1] for one in slack.delivered[:3]]
    error = await why(links)
    assert isinstance(error, Closed)
    assert error.code == 1011


async def test_a_link_that_was_cut_is_not_connected(slack: FakeSlack, site: StandIn, links: Links) -> None:
    await site.is_connected.wait()
    slack.cut(slack.links[0])

    assert (await why(links)).reason in ("closed", "close_1006")


async def test_a_dead_socket_is_noticed_within_three_pings(slack: FakeSlack, site: StandIn, links: Links) -> None:
    await site.is_connected.wait()
    await until(lambda: slack.links[0].pings >= 2)
    slack.freeze(slack.links[0])
    before = len(site.slept)

    assert (await why(links)).reason == "silent"
    assert len(site.slept) - before <= 3


async def test_a_quiet_socket_that_answers_pings_is_alive(slack: FakeSlack, site: StandIn, links: Links) -> None:
    await site.is_connected.wait()
    await until(lambda: slack.links[0].pings >= 12)
    slack.message("at last", event_id="Ev1")

    assert await taken(links) == ["Ev1"]
    assert slack.sockets_opened == 1


async def test_a_dead_new_socket_is_replaced_while_the_old_one_still_speaks(
    slack: FakeSlack, site: StandIn, links: Links
) -> None:
    """Each socket is watched for itself: what comes over one says nothing about the other."""
    site.chance = 0.01
    await site.is_connected.wait()
    slack.disconnect(slack.links[0], "warning", seconds=FOR_EVER)
    await until(lambda: site.notes["refreshed"] == 1)
    slack.freeze(slack.links[1])

    await until(lambda: site.notes["refreshed"] == 2)
    assert slack.links[0].number == 1


async def test_sockets_that_nobody_reads_make_slack_wait_and_are_not_dead(
    slack: FakeSlack, site: StandIn, links: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    await site.is_connected.wait()
    for number in range(10):
        slack.message("all at once", event_id=f"Ev{number}")
    slack.freeze(slack.links[0])
    slept = len(site.slept)
    await until(lambda: len(site.slept) - slept >= 6)

    assert [(await links.next()).delivery.content.id for _ in range(10)] == [f"Ev{number}" for number in range(10)]
    assert slack.sockets_opened == 1


async def test_a_socket_without_a_greeting_is_given_up(
    slack: FakeSlack, site: StandIn, links: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HELLO_SECONDS", 0.05)
    slack.says_hello = False

    assert (await why(links)).reason == "no_hello"


async def test_an_address_that_was_used_before_asks_for_another_one(slack: FakeSlack, site: StandIn) -> None:
    async def used() -> str:
        return slack.base_url.replace("http", "ws") + "/link/?ticket=secret"

    async with opened(site, used) as links:
        error = await why(links)

    assert (type(error), error.reason) == (NotConnected, "http_404")
    assert "secret" not in str(error)


async def test_an_address_that_is_not_allowed_is_refused(slack: FakeSlack, site: StandIn) -> None:
    async def inside() -> str:
        return "ws://10.1.2.3/link/?ticket=secret"

    async with opened(site, inside) as links:
        error = await why(links)

    assert isinstance(error, Refused)
    assert "secret" not in str(error)


async def test_what_nobody_foresaw_is_raised(slack: FakeSlack, site: StandIn) -> None:
    async def broken() -> str:
        raise KeyError("a mistake of ours")

    async with opened(site, broken) as links:
        with pytest.raises(KeyError, match="a mistake of ours"):
            await links.next()


async def test_frames_that_mean_nothing_here_are_counted(slack: FakeSlack, site: StandIn, links: Links) -> None:
    await site.is_connected.wait()
    slack.raw(slack.links[0], '{"type":"news"}')
    slack.raw(slack.links[0], '{"type":"hello"}')
    slack.message("after them", event_id="Ev1")

    assert await taken(links) == ["Ev1"]
    assert (site.notes, site.connections) == ({"unknown_frames": 1}, 1)


async def test_the_end_closes_every_socket(slack: FakeSlack, site: StandIn, url: Callable[[], Awaitable[str]]) -> None:
    async with opened(site, url):
        await site.is_connected.wait()
        slack.disconnect(slack.links[0], "warning", seconds=FOR_EVER)
        await until(lambda: site.notes["refreshed"] == 1)

    await until(lambda: not slack.links)
    assert slack.asked["apps.connections.open"] == 2


class Stuck:
    """A socket to nowhere: what is written to it stays in this machine."""

    received_bytes = 0
    entered = 0

    async def __aenter__(self) -> "Stuck":
        self.entered += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self.entered -= 1

    def websocket(self, url: str) -> "Stuck":
        return self

    async def receive(self) -> str:
        await asyncio.Event().wait()
        raise AssertionError

    async def ping(self) -> None:
        await asyncio.Event().wait()


async def test_a_ping_that_cannot_be_written_holds_nothing_up() -> None:
    stuck: Any = Stuck()
    site = StandIn(http=stuck, real_time=True)

    async def anywhere() -> str:
        return "ws://127.0.0.1/"

    async with opened(site, anywhere, ping_seconds=0.01) as links:
        assert (await why(links)).reason == "silent"

    assert stuck.entered == 0


async def test_deliveries_tell_when_they_came(slack: FakeSlack, site: StandIn, links: Links) -> None:
    await site.is_connected.wait()
    before = site.monotonic()
    slack.message("now", event_id="Ev1")
    async with asyncio.timeout(20):
        arrived = await links.next()

    assert isinstance(arrived, Arrived)
    assert before <= arrived.at <= site.monotonic()
