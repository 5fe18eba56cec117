"""Slack as a source: what is acknowledged when, what comes again, what ends it, and what is kept secret."""

import asyncio
import json
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from connectors import slack as module
from connectors.base.contract import NotConnected, Received, Refused, Sends, Unreadable
from connectors.slack import Config, Source
from connectors.slack.frames import Delivery, Event
from connectors.slack.links import Arrived
from tests.fakes.slack import APP_TOKEN, BOT_TOKEN, FakeSlack
from tests.unit.connectors.base.framed import Framed, running
from tests.unit.connectors.slack.conftest import CountingHttp
from tests.unit.connectors.standing import StandIn, reading, until
from topics.sources import Spec


def source(slack: FakeSlack, site: StandIn, **options: Any) -> Source:
    given = {"app_token": APP_TOKEN, "bot_token": BOT_TOKEN, "api_url": slack.api_url, "ping_seconds": 0.05}
    return Source(Config(**{**given, **options}), site)


async def test_an_event_is_acknowledged_once_the_broker_has_it_and_not_before(slack: FakeSlack, site: StandIn) -> None:
    async with reading(source(slack, site), site) as read:
        slack.message("hello", event_id="Ev1", channel="C7")
        item = await read.next(settle=False)

        assert isinstance(item, Received)
        assert (item.id, item.event_type, item.key) == ("Ev1", "message", "C7")
        assert item.data["event"]["text"] == "hello"
        assert item.ack_within_seconds is not None
        assert 0 < item.ack_within_seconds <= 2.5
        await until(lambda: slack.links[0].pings >= 2)
        assert slack.acknowledged == []

        await read.settle(item)
        await until(lambda: slack.acknowledged == ["Ev1"])
        assert slack.links[0].frames == [{"envelope_id": slack.delivered[0][1]}]


async def test_what_was_not_acknowledged_comes_again_with_the_same_id_in_another_envelope(
    slack: FakeSlack, site: StandIn
) -> None:
    slack.redelivers = True
    async with reading(source(slack, site), site) as read:
        slack.message("hello", event_id="Ev1")
        first = await read.next(settle=False)
        again = await read.next()

        assert isinstance(first, Received)
        assert isinstance(again, Received)
        assert (first.id, first.data) == (again.id, again.data)
        assert [attempt for *_, attempt, _ in slack.delivered] == [0, 1]
        assert slack.delivered[0][1] != slack.delivered[1][1]
        assert site.notes == {"redelivered": 1}
        await until(lambda: slack.acknowledged == ["Ev1"])
        assert slack.given_up == []


async def test_time_that_an_event_waited_here_is_gone_for_its_acknowledgement(slack: FakeSlack) -> None:
    site = StandIn()
    made = source(slack, site)
    content = Event(id="Ev1", event_type="message", data={})
    arrived = Arrived(
        delivery=Delivery(envelope_id="e1", content=content),
        connection=None,  # type: ignore[arg-type]
        at=site.monotonic(),
    )

    site.advance(2.0)
    in_time = made._item(arrived)
    site.advance(7.0)
    late = made._item(arrived)

    assert isinstance(in_time, Received)
    assert isinstance(late, Received)
    assert in_time.ack_within_seconds == pytest.approx(0.5)
    assert late.ack_within_seconds == 0


async def test_a_broker_that_is_slower_than_slack_gets_the_event_again_and_loses_nothing(
    slack: FakeSlack, site: StandIn
) -> None:
    """As the frame does: what is late is published and not acknowledged, until it was quick enough."""
    slack.redelivers = True
    names = {f"Ev{number}" for number in range(5)}
    async with reading(source(slack, site), site) as read:
        for name in names:
            slack.message("hello", event_id=name)
        late = [await read.next(settle=False) for _ in names]
        await until(lambda: site.heard_bytes > 0 and len(slack.delivered) >= 2 * len(names))
        assert slack.acknowledged == []

        quick = asyncio.create_task(read.to_its_end())
        await until(lambda: set(slack.acknowledged) == names)
        await slack.close(slack.links[0])
        await quick

    assert {one.id for one in late if isinstance(one, Received)} == names
    assert slack.given_up == []


async def test_in_the_frame_nothing_is_acknowledged_while_the_broker_is_away(slack: FakeSlack) -> None:
    slack.redelivers = True
    options = {"app_token": APP_TOKEN, "api_url": slack.api_url}
    framed = Framed(Spec(id="team", kind="slack", options=options))
    framed.broker.back.clear()
    async with running(framed):
        slack.message("late", event_id="Ev1")
        await until(lambda: len(slack.delivered) >= 2)
        assert slack.acknowledged == []

        framed.broker.back.set()
        await until(lambda: slack.acknowledged == ["Ev1"])

    assert {orjson.loads(event.value)["id"] for event in framed.broker.events} == {"Ev1"}
    assert (framed.broker.letters, slack.given_up) == ([], [])


async def test_nothing_is_lost_and_nothing_doubled_while_sockets_are_replaced_under_load(
    slack: FakeSlack, site: StandIn
) -> None:
    names = [f"Ev{number}" for number in range(200)]
    taken = []
    async with reading(source(slack, site), site) as read:
        for number, name in enumerate(names):
            slack.message("load", event_id=name)
            if number in (50, 120):
                slack.disconnect(slack.links[-1], "refresh_requested", seconds=2)
            taken.append((await read.event()).id)
        await until(lambda: len(slack.links) == 1 and len(slack.acknowledged) == len(names))

    assert sorted(taken) == sorted(names)
    assert {number for *_, number in slack.delivered} == {1, 2, 3}
    assert (site.connections, site.notes, slack.given_up) == (1, {"refreshed": 2}, [])


async def test_two_processes_share_the_events_of_an_app(slack: FakeSlack) -> None:
    sites = [StandIn(real_time=True) for _ in range(2)]
    clients = [CountingHttp(site.heard) for site in sites]
    for site, client in zip(sites, clients, strict=True):
        site._http = client
    async with reading(source(slack, sites[0]), sites[0]) as one, reading(source(slack, sites[1]), sites[1]) as two:
        firsts = [asyncio.create_task(read.next()) for read in (one, two)]
        await until(lambda: all(site.connections for site in sites))
        for number in range(20):
            slack.message("hello", event_id=f"Ev{number}")
        await asyncio.gather(*firsts)
        for read in (one, two):
            for _ in range(9):
                await read.next()
        await until(lambda: len(slack.acknowledged) == 20)

        ids = [item.id for read in (one, two) for item in read.taken if isinstance(item, Received)]
        assert sorted(ids) == sorted(f"Ev{number}" for number in range(20))
        assert [len(link.frames) for link in slack.links] == [10, 10]
    for client in clients:
        await client.close()


async def test_a_socket_mode_that_is_switched_off_stops_the_source(slack: FakeSlack, site: StandIn) -> None:
    async with reading(source(slack, site), site) as read:
        ending = asyncio.create_task(read.to_its_end())
        await site.is_connected.wait()
        slack.disconnect(slack.links[0], "link_disabled")
        end = await ending

    assert isinstance(end, Refused)
    assert end.reason == "link_disabled"
    await until(lambda: not slack.links)


async def test_credentials_that_were_taken_away_are_refused_and_those_given_back_read_on(
    slack: FakeSlack, site: StandIn
) -> None:
    made = source(slack, site)
    slack.app_token = "xapp-another"
    async with reading(made, site) as read:
        end = await read.to_its_end()
    assert isinstance(end, Refused)
    assert end.reason == "invalid_auth"

    slack.app_token = APP_TOKEN
    slack.message("hello", event_id="Ev1")
    async with reading(made, site) as read:
        assert (await read.event()).id == "Ev1"


async def test_a_limit_on_connections_is_kept(slack: FakeSlack, site: StandIn) -> None:
    slack.limit("apps.connections.open", retry_after_seconds=12)
    async with reading(source(slack, site), site) as read:
        end = await read.to_its_end()

    assert isinstance(end, NotConnected)
    assert (end.reason, end.retry_after_seconds) == ("rate_limited", 12)


async def test_what_went_into_a_dead_socket_comes_over_the_next_one(slack: FakeSlack, site: StandIn) -> None:
    slack.redelivers = True
    made = source(slack, site)
    async with reading(made, site) as read:
        ending = asyncio.create_task(read.to_its_end())
        await site.is_connected.wait()
        slack.freeze(slack.links[0])
        slack.message("into the void", event_id="Ev1")
        end = await ending
        assert isinstance(end, NotConnected)
        assert end.reason == "silent"
    slack.cut(slack.links[0])

    async with reading(made, site) as read:
        assert (await read.event()).id == "Ev1"
        await until(lambda: slack.acknowledged == ["Ev1"])


async def test_an_acknowledgement_that_does_not_arrive_is_counted_and_the_event_comes_again(
    slack: FakeSlack, site: StandIn
) -> None:
    slack.redelivers = True
    made = source(slack, site)
    async with reading(made, site) as read:
        slack.message("hello", event_id="Ev1")
        item = await read.next(settle=False)
        slack.cut(slack.links[0])
        assert isinstance(await read.to_its_end(), NotConnected)
        await read.settle(item)
        assert site.notes["unacknowledged"] == 1

    async with reading(made, site) as read:
        assert (await read.event()).id == "Ev1"


async def test_an_acknowledgement_that_cannot_be_written_holds_nothing_up(
    slack: FakeSlack, site: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        async def send(self, message: str) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(module, "ACKNOWLEDGE_SECONDS", 0.01)
    connection: Any = Full()
    content = Event(id="Ev1", event_type="message", data={})
    item = source(slack, site)._item(
        Arrived(delivery=Delivery(envelope_id="e1", content=content), connection=connection, at=site.monotonic())
    )

    assert isinstance(item, Received)
    assert item.ack is not None
    await item.ack()
    assert site.notes == {"unacknowledged": 1}


async def test_types_that_nobody_wants_are_acknowledged_and_dropped(slack: FakeSlack, site: StandIn) -> None:
    async with reading(source(slack, site, events=["app_mention", "slash_command"]), site) as read:
        slack.message("to everybody", event_id="Ev1")
        slack.click("yes", trigger_id="1.1")
        slack.command("/deploy", "now", trigger_id="2.2")
        slack.tell({"type": "app_mention", "channel": "C1"}, event_id="Ev2")

        taken = {(await read.event()).id for _ in range(2)}
        await until(lambda: len(slack.acknowledged) == 4)

    assert taken == {"2.2", "Ev2"}


async def test_commands_and_buttons_are_events_with_what_is_needed_to_answer(slack: FakeSlack, site: StandIn) -> None:
    made = source(slack, site)
    async with reading(made, site) as read:
        slack.command("/deploy", "now", trigger_id="2.2")
        command = await read.event()
        slack.click("yes", trigger_id="1.1")
        click = await read.event()

    assert (command.event_type, command.data["text"], command.key) == ("slash_command", "now", "C1")
    assert (click.event_type, click.data["actions"][0]["action_id"], click.key) == ("interactive", "yes", "C1")
    assert isinstance(made, Sends)
    await made.send({"response_url": command.data["response_url"], "text": "done"}, key="k1")
    await made.send({"method": "views.open", "trigger_id": "1.1", "view": {"type": "modal"}}, key="k2")
    await made.send({"channel": "C1", "text": "all is well"}, key="k3")
    assert (slack.answers, slack.views) == ([("2.2", {"text": "done"})], [{"type": "modal"}])
    assert [one["text"] for one in slack.messages] == ["all is well"]


async def test_events_that_slack_keeps_back_are_noted_and_told(slack: FakeSlack, site: StandIn) -> None:
    payload = {"type": "app_rate_limited", "token": "t", "team_id": "T1", "minute_rate_limited": 1_780_000_020}
    async with reading(source(slack, site), site) as read:
        slack.deliver("events_api", payload)
        event = await read.event()

    assert event.event_type == "app_rate_limited"
    assert (site.notes, [name for name, _ in site.said]) == ({"rate_limited": 1}, ["slack_rate_limited"])


async def test_what_is_not_understood_is_kept_for_people_and_acknowledged(slack: FakeSlack, site: StandIn) -> None:
    async with reading(source(slack, site), site) as read:
        slack.deliver("news_api", {"token": "verification", "what": "new"})
        item = await read.next()
        await until(lambda: len(slack.acknowledged) == 1)
        slack.raw(slack.links[0], "no JSON")
        unnamed = await read.next()

    assert isinstance(item, Unreadable)
    assert json.loads(item.raw)["payload"] == {"what": "new"}
    assert isinstance(unnamed, Unreadable)
    assert (unnamed.raw, unnamed.ack) == (b"no JSON", None)


async def test_the_end_of_reading_closes_what_it_opened(slack: FakeSlack, site: StandIn) -> None:
    async with reading(source(slack, site), site) as read:
        slack.message("hello", event_id="Ev1")
        await read.next()
        assert len(slack.links) == 1

    await until(lambda: not slack.links)


async def test_no_secret_is_shown_in_options_errors_or_logs(slack: FakeSlack, site: StandIn) -> None:
    config = Config.model_validate({"app_token": "xapp-canary", "bot_token": "xoxb-canary", "api_url": slack.api_url})
    made = Source(config, site)
    async with reading(made, site) as read:
        end = await read.to_its_end()
    with pytest.raises(Refused) as sending:
        await made.send({"channel": "C1", "text": "hello"}, key="k1")

    assert "canary" not in f"{config!r} {config.shown()} {end} {sending.value} {site.said} {made!r}"


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({}, "app_token"),
        ({"app_token": "x", "events": "message"}, "events"),
        ({"app_token": "x", "api_url": "slack.com"}, "api_url"),
        ({"app_token": "x", "ping_seconds": 0}, "ping_seconds"),
        ({"app_token": "x", "token": "y"}, "token"),
    ],
)
def test_options_that_mean_nothing_are_refused_by_their_name(options: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Config(**options)

    assert [one["loc"][0] for one in caught.value.errors()] == [place]


def test_the_example_is_valid_and_every_option_described() -> None:
    assert Config.model_validate(module.EXAMPLE).events == ("app_mention", "slash_command")
    assert all(one.description for one in Config.model_fields.values())
