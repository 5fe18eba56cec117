"""Polls against a server of this machine: what becomes an event, what is remembered, and when it is asked again."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from connectors.base.contract import Ended, Moved, NotConnected, Received, Refused
from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp
from connectors.rss import EXAMPLE, Config, Source, markup, source
from connectors.rss.source import PAUSE_SECONDS
from tests.unit.connectors.serving import serving
from tests.unit.connectors.standing import Reading, StandIn, reading

ITEM = "<item><guid isPermaLink='false'>{0}</guid><title>Title {0}</title></item>"
HOUR = 3600.0


def rss(*ids: Any, channel: str = "", item: str = ITEM) -> bytes:
    items = "".join(item.format(one) for one in ids)
    return f'<rss version="2.0"><channel><title>News</title>{channel}{items}</channel></rss>'.encode()


class Publisher:
    """A server with a feed. Tests set `body`, `status` and `headers`; `asked` has the requests."""

    def __init__(self) -> None:
        self.body: bytes = rss()
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked: list[web.Request] = []
        self.places: dict[str, tuple[int, str]] = {}
        """Redirects: path to status and location."""
        self.host = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if request.path_qs in self.places:
            status, location = self.places[request.path_qs]
            return web.Response(status=status, headers={"Location": location} if location else {})
        etag = self.headers.get("ETag")
        if self.status == 200 and etag is not None and request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers=self.headers)
        return web.Response(status=self.status, body=self.body, headers=self.headers)

    def url(self, path: str = "/feed") -> str:
        return f"http://{self.host}{path}"


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    one = Publisher()
    async with serving(one.answer) as one.host:
        yield one


class Rested(Exception):
    """The poll is over: the source would wait for the next one."""


class OnePoll(StandIn):
    """A site whose sleep ends the reading, unless it is let go on."""

    goes_on = False

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        if not self.goes_on:
            raise Rested


@asynccontextmanager
async def standing(position: Any = None) -> AsyncIterator[OnePoll]:
    async with ClientHttp(Policy(allowed=("127.0.0.0/8",))) as http:
        yield OnePoll(http=http, position=position)


async def poll(publisher: Publisher, site: StandIn, **options: Any) -> list[str]:
    """Poll once with a new source, as after a restart. Returns the ids of its events."""
    return [one.id for one in await polled(publisher, site, **options) if isinstance(one, Received)]


async def polled(publisher: Publisher, site: StandIn, *, path: str = "/feed", **options: Any) -> list[Any]:
    config = Config.model_validate({"url": publisher.url(path), "interval": HOUR, **options})
    async with reading(Source(config, site), site) as one:
        try:
            while True:
                await one.next()
        except Rested:
            return one.taken


# ---- what becomes an event -----------------------------------------------------------------------------------------


async def test_the_first_poll_notes_what_is_there_and_later_ones_emit_what_is_new(publisher: Publisher) -> None:
    publisher.body = rss("b", "a")
    async with standing() as site:
        assert await poll(publisher, site) == []
        assert site.position["initialised"] is True
        assert site.connections == 1

        publisher.body = rss("d", "c", "b", "a")
        assert await poll(publisher, site) == ["c", "d"]
        assert await poll(publisher, site) == []


async def test_a_feed_that_is_empty_at_first_loses_nothing(publisher: Publisher) -> None:
    async with standing() as site:
        assert await poll(publisher, site) == []
        publisher.body = rss("a")
        assert await poll(publisher, site) == ["a"]


async def test_existing_entries_are_emitted_where_that_is_asked_for(publisher: Publisher) -> None:
    publisher.body = rss("b", "a")
    async with standing() as site:
        assert await poll(publisher, site, emit_existing=True) == ["a", "b"]
        assert await poll(publisher, site, emit_existing=True) == []


async def test_an_event_has_the_entry_as_data(publisher: Publisher) -> None:
    async with standing() as site:
        await poll(publisher, site)
        publisher.body = rss(
            "a", item=ITEM.replace("</item>", "<pubDate>Mon, 01 Jun 2026 12:00:00 GMT</pubDate></item>")
        )
        event, moved = await polled(publisher, site)

    assert (event.id, event.event_type, event.key) == ("a", "new_item", None)
    assert event.data["title"] == "Title a"
    assert event.data["published"] == "2026-06-01T12:00:00Z"
    assert event.created_at is not None
    assert event.created_at.isoformat() == "2026-06-01T12:00:00+00:00"
    assert isinstance(moved, Moved)


async def test_reordered_dated_anew_and_doubled_entries_are_not_new(publisher: Publisher) -> None:
    dated = ITEM.replace("</item>", "<pubDate>Mon, 01 Jun 2026 12:00:0{0} GMT</pubDate></item>")
    publisher.body = rss(1, 2, 3, item=dated)
    async with standing() as site:
        await poll(publisher, site)
        publisher.body = rss(3, 1, 2, 1, item=dated.replace("2026", "2027"))
        assert await poll(publisher, site) == []


async def test_an_entry_that_comes_back_is_not_new(publisher: Publisher) -> None:
    publisher.body = rss("b", "a")
    async with standing() as site:
        await poll(publisher, site)
        for body in (rss("b"), rss(), rss("b", "a")):
            publisher.body = body
            assert await poll(publisher, site) == []


async def test_json_feed_is_read_whatever_its_content_type_is(publisher: Publisher) -> None:
    publisher.headers["Content-Type"] = "text/plain"
    feed = {"version": "https://jsonfeed.org/version/1.1", "items": [{"id": "a"}]}
    publisher.body = json.dumps(feed).encode()
    async with standing() as site:
        assert await poll(publisher, site, emit_existing=True) == ["a"]


async def test_a_compressed_feed_is_read(publisher: Publisher) -> None:
    publisher.headers["Content-Encoding"] = "gzip"
    publisher.body = gzip.compress(rss("a"))
    async with standing() as site:
        assert await poll(publisher, site, emit_existing=True) == ["a"]


@pytest.mark.parametrize("name", ["maxItems", "max_items"])
async def test_beyond_max_items_the_others_come_with_the_next_polls(publisher: Publisher, name: str) -> None:
    publisher.headers["ETag"] = '"1"'
    async with standing() as site:
        await poll(publisher, site)
        publisher.headers["ETag"] = '"2"'
        publisher.body = rss(5, 4, 3, 2, 1)
        got = [await poll(publisher, site, **{name: 2}) for _ in range(4)]

    assert got == [["1", "2"], ["3", "4"], ["5"], []]
    assert [one.headers.get("If-None-Match") for one in publisher.asked] == [None, '"1"', None, None, '"2"']


async def test_max_items_within_one_reading_needs_no_change_of_the_feed(publisher: Publisher) -> None:
    publisher.body = rss(3, 2, 1)
    async with standing() as site:
        site.goes_on = True
        config = Config.model_validate({"url": publisher.url(), "emit_existing": True, "maxItems": 2})
        async with reading(Source(config, site), site) as one:
            assert [(await one.event()).id for _ in range(3)] == ["1", "2", "3"]


# ---- crashes and restarts ------------------------------------------------------------------------------------------


async def test_a_crash_between_events_and_position_repeats_them_under_their_ids(publisher: Publisher) -> None:
    async with standing() as site:
        await poll(publisher, site)
        stored = site.position
        publisher.body = rss("b", "a")
        assert await poll(publisher, site) == ["a", "b"]

    async with standing(json.loads(json.dumps(stored))) as site:
        assert await poll(publisher, site) == ["a", "b"]


async def test_what_was_published_is_not_repeated_while_its_position_is_not_stored_yet(publisher: Publisher) -> None:
    publisher.body = rss("a")
    async with standing() as site:
        site.goes_on = True
        config = Config.model_validate({"url": publisher.url(), "emit_existing": True})
        async with reading(Source(config, site), site) as one:
            assert isinstance(await one.next(settle=False), Received)
            assert isinstance(await one.next(settle=False), Moved)
            publisher.body = rss("b", "a")
            event = await one.next(settle=False)
            assert isinstance(event, Received)
            assert event.id == "b"


async def test_what_was_not_published_is_read_again_though_the_answer_is_the_same(publisher: Publisher) -> None:
    publisher.body = rss("a")
    async with standing() as site:
        site.goes_on = True
        source_of = Source(Config.model_validate({"url": publisher.url(), "emit_existing": True}), site)
        for _ in range(2):
            async with reading(source_of, site) as one:
                assert isinstance(await one.next(settle=False), Received)
                assert isinstance(await one.next(settle=False), Moved)


async def test_a_position_that_cannot_be_read_is_refused(publisher: Publisher) -> None:
    async with standing({"format": 99}) as site:
        with pytest.raises(Refused, match="'src' cannot be read"):
            await poll(publisher, site)


async def test_the_same_answer_again_moves_no_position_and_is_not_parsed(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.body = rss("a")
    parsed: list[bytes] = []
    read = markup.read

    async def counted(body: bytes, **more: Any) -> Any:
        parsed.append(body)
        return await read(body, **more)

    monkeypatch.setattr(markup, "read", counted)
    async with standing() as site:
        site.goes_on = True
        config = Config.model_validate({"url": publisher.url()})
        async with reading(Source(config, site), site) as one:
            assert isinstance(await one.next(), Moved)
            following = asyncio.ensure_future(one.event())
            while len(publisher.asked) < 4:  # noqa: ASYNC110 the server tells nobody
                await asyncio.sleep(0.001)
            publisher.body = rss("b", "a")
            assert (await following).id == "b"
            assert len(one.taken) == 2

    assert len(parsed) == 2


# ---- a feed that moves, and one that is edited ---------------------------------------------------------------------


async def test_a_feed_that_moved_for_good_is_asked_at_its_new_address_also_after_a_restart(
    publisher: Publisher,
) -> None:
    publisher.body = rss("a")
    publisher.places["/feed"] = (301, "/new")
    async with standing() as site:
        await poll(publisher, site)
        publisher.body = rss("b", "a")
        assert await poll(publisher, site) == ["b"]

    assert [one.path for one in publisher.asked] == ["/feed", "/new", "/new"]


async def test_headers_of_the_options_are_sent_with_every_poll(publisher: Publisher) -> None:
    publisher.headers["ETag"] = '"1"'
    async with standing() as site:
        for _ in range(2):
            await poll(publisher, site, headers={"Authorization": "Bearer canary", "accept": "text/xml"})

    asked = [one.headers for one in publisher.asked]
    assert [("Bearer canary", ["text/xml"], None), ("Bearer canary", ["text/xml"], '"1"')] == [
        (one["Authorization"], one.getall("Accept"), one.get("If-None-Match")) for one in asked
    ]
    assert "canary" not in json.dumps(site.position)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_headers_of_the_options_do_not_follow_a_feed_to_another_server(publisher: Publisher, status: int) -> None:
    other = Publisher()
    headers = {"Authorization": "Bearer canary", "X-Reader": "canary"}
    async with serving(other.answer) as other.host, standing() as site:
        publisher.places["/feed"] = (status, other.url("/new"))
        for _ in range(3):
            await poll(publisher, site, headers=headers)

    assert all(one.headers["X-Reader"] == "canary" for one in publisher.asked)
    assert 3 == len(other.asked)
    assert not any("canary" in str(one.headers) for one in other.asked)


async def test_headers_of_the_options_follow_a_feed_within_its_server(publisher: Publisher) -> None:
    publisher.places["/feed"] = (301, "/new")
    async with standing() as site:
        for _ in range(2):
            await poll(publisher, site, headers={"Authorization": "Bearer canary"})

    assert ["/feed", "/new", "/new"] == [one.path for one in publisher.asked]
    assert {"Bearer canary"} == {one.headers["Authorization"] for one in publisher.asked}


def test_conditions_are_set_by_the_source_alone() -> None:
    with pytest.raises(ValidationError, match="If-None-Match is set by the source itself"):
        Config.model_validate({"url": "https://a.example/", "headers": {"If-None-Match": "x"}})


@pytest.mark.parametrize("status", [302, 303, 307])
async def test_a_feed_that_is_elsewhere_for_now_is_asked_at_its_address(publisher: Publisher, status: int) -> None:
    publisher.places["/feed"] = (status, "/new")
    async with standing() as site:
        for _ in range(2):
            await poll(publisher, site)

    assert [one.path for one in publisher.asked] == ["/feed", "/new", "/feed", "/new"]


async def test_the_position_of_a_feed_that_moved_has_no_secret_of_its_address(publisher: Publisher) -> None:
    publisher.places["/canary-path?key=canary-key"] = (308, "/new/canary-path.xml?key=canary-key")
    async with standing() as site:
        await poll(publisher, site, path="/canary-path?key=canary-key")
        await poll(publisher, site, path="/canary-path?key=canary-key")

    assert publisher.asked[-1].path_qs == "/new/canary-path.xml?key=canary-key"
    assert not any(part in json.dumps(site.position) for part in ("canary", "path", "key="))


async def test_a_feed_that_moved_back_is_at_its_configured_address(publisher: Publisher) -> None:
    publisher.places["/feed"] = (301, "/new")
    async with standing() as site:
        await poll(publisher, site)
        publisher.places = {"/new": (301, "/feed")}
        await poll(publisher, site)
        assert site.position["moved"] is None


async def test_user_and_password_are_sent_to_the_new_address_of_the_same_host(publisher: Publisher) -> None:
    publisher.places["/feed"] = (301, "/new")
    publisher.host = f"me:canary@{publisher.host}"
    async with standing() as site:
        for _ in range(2):
            await poll(publisher, site)

    assert len({one.headers["Authorization"] for one in publisher.asked}) == 1
    assert "canary" not in json.dumps(site.position)


async def test_a_move_to_what_is_no_feed_is_none(publisher: Publisher) -> None:
    publisher.places["/feed"] = (301, "/suspended")
    publisher.body = b"<html>suspended</html>"
    async with standing() as site:
        with pytest.raises(NotConnected):
            await poll(publisher, site)
        publisher.places.clear()
        publisher.body = rss("a")
        await poll(publisher, site)

    assert [one.path for one in publisher.asked] == ["/feed", "/suspended", "/feed"]


@pytest.mark.parametrize("status", [404, 410])
async def test_a_new_address_that_fails_leads_back_to_the_configured_one(publisher: Publisher, status: int) -> None:
    publisher.places["/feed"] = (301, "/new")
    async with standing() as site:
        await poll(publisher, site)
        publisher.places = {"/new": (status, "")}
        publisher.body = rss("a")
        assert await poll(publisher, site) == ["a"]
        assert site.position["moved"] is None
        assert [name for name, _ in site.said] == ["feed_asked_at_its_old_address"]


async def test_a_new_address_that_is_busy_is_not_left(publisher: Publisher) -> None:
    publisher.places["/feed"] = (301, "/new")
    async with standing() as site:
        await poll(publisher, site)
        publisher.places["/new"] = (503, "")
        with pytest.raises(NotConnected):
            await poll(publisher, site)

    assert [one.path for one in publisher.asked] == ["/feed", "/new", "/new"]


async def test_an_edit_to_another_feed_begins_anew(publisher: Publisher) -> None:
    publisher.body, publisher.headers["ETag"] = rss("b", "a"), '"1"'
    async with standing() as site:
        await poll(publisher, site)
        publisher.body = rss("y", "x")
        assert await poll(publisher, site, path="/other") == []
        publisher.body = rss("z", "y", "x")
        publisher.headers["ETag"] = '"2"'
        assert await poll(publisher, site, path="/other") == ["z"]

    assert [one.headers.get("If-None-Match") for one in publisher.asked] == [None, None, '"1"']


async def test_an_edit_to_another_address_of_the_same_feed_loses_and_repeats_nothing(publisher: Publisher) -> None:
    publisher.body = rss("b", "a")
    async with standing() as site:
        await poll(publisher, site)
        publisher.body = rss()
        assert await poll(publisher, site, path="/other") == []
        publisher.body = rss("c", "b", "a")
        assert await poll(publisher, site, path="/other") == ["c"]


# ---- HTTP ----------------------------------------------------------------------------------------------------------


async def test_validators_go_back_byte_for_byte_and_304_is_success(publisher: Publisher) -> None:
    publisher.headers |= {"ETag": 'W/"a b\\"', "Last-Modified": "monday,  01 JUN 2026"}
    async with standing() as site:
        for _ in range(2):
            assert await poll(publisher, site) == []
        assert site.connections == 2

    sent = publisher.asked[1].headers
    assert (sent["If-None-Match"], sent["If-Modified-Since"]) == ('W/"a b\\"', "monday,  01 JUN 2026")


@pytest.mark.parametrize("body", [b"<!DOCTYPE html><html><p>Oops</p></html>", b"", b"<?xml version='1.0'?><a/>"])
async def test_a_page_instead_of_a_feed_is_an_error_that_forgets_nothing(publisher: Publisher, body: bytes) -> None:
    publisher.body = rss("b", "a")
    async with standing() as site:
        await poll(publisher, site)
        stored, publisher.body = site.position, body
        with pytest.raises(NotConnected, match=r"source 'src': 127\.0\.0\.1 answered with what is no feed") as error:
            await poll(publisher, site)
        assert (error.value.reason, error.value.retry_after_seconds) == ("not_a_feed", PAUSE_SECONDS)
        assert site.position == stored

        publisher.body = rss("c", "b", "a")
        assert await poll(publisher, site) == ["c"]


async def test_broken_markup_emits_and_is_counted(publisher: Publisher) -> None:
    async with standing() as site:
        await poll(publisher, site)
        publisher.body = rss("a", channel="<description>fish & chips</description>")
        assert await poll(publisher, site) == ["a"]
        assert site.notes == {"broken_feed": 1}


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_what_somebody_has_to_mend_is_refused(publisher: Publisher, status: int) -> None:
    publisher.status = status
    async with standing() as site:
        with pytest.raises(Refused, match=f"HTTP {status}") as error:
            await poll(publisher, site, path="/s3cret?key=s3cret")
        assert "s3cret" not in str(error.value)


async def test_a_feed_that_is_gone_has_ended(publisher: Publisher) -> None:
    publisher.status = 410
    async with standing() as site:
        with pytest.raises(Ended, match="gone for good"):
            await poll(publisher, site)
        assert site.connections == 0


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [(429, {"Retry-After": "120"}, 120.0), (503, {"Retry-After": "1"}, 60.0), (500, {}, 60.0), (304, {}, 60.0)],
)
async def test_what_passes_is_asked_again_when_the_server_wants(
    publisher: Publisher, status: int, headers: Mapping[str, str], seconds: float
) -> None:
    publisher.status = status
    publisher.headers |= headers
    async with standing() as site:
        with pytest.raises(NotConnected) as error:
            await poll(publisher, site)
        assert (error.value.reason, error.value.retry_after_seconds) == (f"http_{status}", seconds)


async def test_a_feed_that_is_too_large_is_refused(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_BODY_BYTES", 1000)
    publisher.body = rss(*range(100))
    async with standing() as site:
        with pytest.raises(Refused) as error:
            await poll(publisher, site)
        assert error.value.reason == "too_large"


async def test_a_feed_that_takes_too_long_to_read_is_refused(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markup, "READ_SECONDS", 0.0)
    async with standing() as site:
        with pytest.raises(Refused, match="longer than 0 s") as error:
            await poll(publisher, site)
        assert error.value.reason == "slow_feed"


# ---- when it polls -------------------------------------------------------------------------------------------------


async def test_without_immediate_the_first_poll_comes_after_an_interval(publisher: Publisher) -> None:
    publisher.body = rss("a")
    async with standing() as site:
        site.goes_on = True
        config = Config.model_validate({"url": publisher.url(), "interval": "1h", "immediate": False})
        async with reading(Source(config, site), site) as one:
            assert isinstance(await one.next(), Moved)
            assert site.slept == [HOUR]


@pytest.mark.parametrize(
    ("headers", "channel", "seconds"),
    [
        ({}, "", HOUR),
        ({"Cache-Control": "public, Max-Age=7200"}, "", 7200.0),
        ({"Cache-Control": 's-maxage=9, max-age="60"'}, "", HOUR),
        ({"Cache-Control": "max-age=31536000"}, "", 86_400.0),
        ({}, "<ttl>90</ttl>", 5400.0),
        ({}, "<ttl>-1</ttl>", HOUR),
        ({"Retry-After": "4000"}, "<ttl>65</ttl>", 4000.0),
    ],
)
async def test_the_pause_is_the_longest_that_anybody_wants(
    publisher: Publisher, headers: Mapping[str, str], channel: str, seconds: float
) -> None:
    publisher.headers |= headers
    publisher.body = rss(channel=channel)
    async with standing() as site:
        site.chance = 0.0
        await poll(publisher, site)
        assert site.slept == [seconds]


async def test_a_little_chance_is_added_to_the_pause(publisher: Publisher) -> None:
    async with standing() as site:
        for options in ({"interval": "100s"}, {"interval": "1h"}):
            await poll(publisher, site, **options)

    assert site.slept == [105.0, HOUR + 30.0]


async def test_reading_again_does_not_poll_before_it_is_due(publisher: Publisher) -> None:
    async with standing() as site:
        site.goes_on = True
        site.chance = 0.0
        one = Source(Config.model_validate({"url": publisher.url(), "interval": "1h"}), site)
        async with reading(one, site) as first:
            await first.next()
        publisher.body = rss("a")
        async with reading(one, site) as second:
            assert (await second.event()).id == "a"

    assert site.slept == [HOUR]
    assert len(publisher.asked) == 2


def test_the_example_is_valid_and_options_have_defaults() -> None:
    config = Config.model_validate(EXAMPLE)

    assert (config.interval, config.immediate, config.max_items, config.emit_existing) == (900.0, True, None, False)


async def test_nothing_is_left_open(publisher: Publisher) -> None:
    async with standing() as site:
        one = Reading(Source(Config.model_validate({"url": publisher.url()}), site), site)
        await one.next()
        await one.close()
