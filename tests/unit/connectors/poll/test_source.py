"""Polls of a server of this machine, from the first request to the position: what is told, stored, and refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from connectors import poll
from connectors.base.contract import Delivery, Moved, NotConnected, Received, Refused, Unreadable
from connectors.poll import progress, times
from tests.unit.connectors.poll.api import Scripted, api, client, config, ids, polled, positions

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def at(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat()


def changed(name: str, seconds: float) -> dict[str, Any]:
    return {"id": name, "at": at(seconds)}


BY_TIME = {"by": "timestamp", "field": "at", "parameter": "since", "overlap": 10}


class Table:
    """Records in the order of their time, from `since` on, in pages of `size`, by page numbers."""

    def __init__(self, size: int = 100) -> None:
        self.records: list[dict[str, Any]] = []
        self.size = size
        self.breaks_at: int | None = None

    def __call__(self, request: web.Request) -> Any:
        since = request.query.get("since")
        found = sorted(self.records, key=lambda one: str(one["at"]))
        if since is not None:
            found = [one for one in found if datetime.fromisoformat(one["at"]) >= datetime.fromisoformat(since)]
        number = int(request.query.get("page", "1"))
        if number == self.breaks_at:
            return web.Response(status=500)
        return found[(number - 1) * self.size : number * self.size]


# ---- what an event is --------------------------------------------------------------------------------------------


async def test_a_record_is_an_event_with_its_id_version_key_and_time() -> None:
    table = Table()
    table.records = [changed("a", 0)]
    async with api(table) as server, client() as http:
        site = Scripted(http=http, now=NOW)
        items, _ = await polled(config(server.place, id="id", cursor=BY_TIME, event_type="order"), site)

    assert items[0] == Received(
        id=f"a@{at(0)}", event_type="order", data={"id": "a", "at": at(0)}, key="a", created_at=NOW
    )
    assert isinstance(items[1], Moved)
    assert 2 == len(items)
    assert 1 == site.connections


async def test_without_an_id_a_record_is_known_by_its_content() -> None:
    answers = [[{"a": 1, "b": 2}], [{"b": 2, "a": 1}], [{"a": 1, "b": 3}]]
    async with api(lambda _: answers[0]) as server, client() as http:
        site = Scripted(lambda: answers.pop(0), lambda: answers.pop(0), http=http)
        items, _ = await polled(config(server.place), site)

    assert [{"a": 1, "b": 2}, {"a": 1, "b": 3}] == [one.data for one in items if isinstance(one, Received)]
    assert all(one.startswith("sha256:") for one in ids(items))


async def test_a_record_that_changes_is_an_event_each_time_and_one_that_does_not_is_none() -> None:
    records = [{"id": 1, "state": "new"}, {"id": 2, "state": "new"}]
    async with api(lambda _: {"data": {"list": records}}) as server, client() as http:
        site = Scripted(lambda: records[0].update(state="paid"), lambda: None, http=http)
        items, _ = await polled(config(server.place, items="data.list", id="id"), site)

    assert ["1", "2", "1"] == [one.key for one in items if isinstance(one, Received)]
    assert 3 == len(set(ids(items)))
    assert 2 == len(positions(items))


async def test_an_answer_that_is_an_object_is_one_record() -> None:
    price = {"price": 1}
    async with api(lambda _: price) as server, client() as http:
        site = Scripted(lambda: None, lambda: price.update(price=2), http=http)
        items, _ = await polled(config(server.place), site)

    assert [{"price": 1}, {"price": 2}] == [one.data for one in items if isinstance(one, Received)]


async def test_a_record_that_cannot_be_ordered_is_unreadable_once() -> None:
    records = [changed("a", 0), {"id": "b"}, {"id": "c", "at": "soon"}, {"at": at(1)}, 7]
    async with api(lambda _: records) as server, client() as http:
        site = Scripted(lambda: None, http=http, now=NOW)
        items, _ = await polled(config(server.place, id="id", cursor=BY_TIME), site)

    letters = [one for one in items if isinstance(one, Unreadable)]
    assert [
        "it has no time at at, written as iso",
        "it has no time at at, written as iso",
        "it has no text or number at id",
        "it has no time at at, written as iso",
    ] == [one.reason for one in letters]
    assert b'{"id": "b"}' == letters[0].raw
    assert [f"a@{at(0)}"] == ids(items)


# ---- the cursor --------------------------------------------------------------------------------------------------


async def test_the_server_is_asked_from_the_cursor_less_the_overlap() -> None:
    table = Table()
    table.records = [changed("a", 0), changed("b", 60)]
    async with api(table) as server, client() as http:
        site = Scripted(lambda: table.records.append(changed("c", 55)), http=http, now=NOW + timedelta(hours=1))
        items, _ = await polled(config(server.place, id="id", cursor=BY_TIME), site)

    assert [None, at(50).replace("+00:00", "Z")] == [one.get("since") for one in server.queries]
    assert [f"a@{at(0)}", f"b@{at(60)}", f"c@{at(55)}"] == ids(items)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
async def test_equal_timestamps_at_a_page_boundary_are_all_told_once(size: int) -> None:
    table = Table(size)
    table.records = [changed(f"{n}", n // 5) for n in range(20)]
    more = [changed(f"late {n}", 3) for n in range(5)]
    async with api(table) as server, client() as http:
        site = Scripted(lambda: table.records.extend(more), lambda: None, http=http, now=NOW + timedelta(hours=1))
        options = config(server.place, id="id", cursor={**BY_TIME, "overlap": 0.001}, paging={"by": "page"})
        items, _ = await polled(options, site)

    assert sorted(f"{one['id']}@{one['at']}" for one in table.records) == sorted(ids(items))
    assert 25 == len(ids(items))


@pytest.mark.parametrize("size", [4, 7])
async def test_equal_timestamps_when_paging_by_the_cursor_itself(size: int) -> None:
    table = Table(size)
    table.records = [changed(f"{n}", n // 3) for n in range(20)]
    async with api(table) as server, client() as http:
        site = Scripted(http=http, now=NOW + timedelta(hours=1))
        options = config(server.place, id="id", cursor=BY_TIME, paging={"by": "cursor"})
        items, _ = await polled(options, site)

    assert sorted(f"{one['id']}@{one['at']}" for one in table.records) == sorted(ids(items))


async def test_ids_that_grow_are_asked_for_from_the_newest() -> None:
    ids_there = [8, 9]

    def answer(request: web.Request) -> Any:
        return [{"n": n} for n in ids_there if n > int(request.query.get("after", "0"))]

    async with api(answer) as server, client() as http:
        site = Scripted(lambda: ids_there.extend([10, 11]), lambda: None, http=http)
        items, _ = await polled(config(server.place, cursor={"by": "id", "field": "n", "parameter": "after"}), site)

    assert ["8", "9", "10", "11"] == ids(items)
    assert [{}, {"after": "9"}, {"after": "11"}] == server.queries


async def test_a_start_is_where_reading_begins() -> None:
    def answer(request: web.Request) -> Any:
        return [{"id": n} for n in range(10)]

    async with api(answer) as server, client() as http:
        site = Scripted(http=http)
        items, _ = await polled(config(server.place, cursor={"by": "id", "parameter": "after", "start": 7}), site)
        assert [{"after": "7"}] == server.queries

        site = Scripted(http=http, now=NOW + timedelta(hours=1))
        table = Table()
        table.records = [changed("a", 0), changed("b", 60), changed("c", 61)]
        server.answer = table
        timed, _ = await polled(config(server.place, id="id", cursor={**BY_TIME, "start": at(60)}), site)

    assert ["8", "9"] == ids(items)
    assert [f"b@{at(60)}", f"c@{at(61)}"] == ids(timed)


async def test_a_start_that_cannot_be_read_is_refused() -> None:
    async with client() as http:
        site = Scripted(http=http)
        _, end = await polled(config("127.0.0.1:1", cursor={**BY_TIME, "start": "yesterday"}), site)

    assert isinstance(end, Refused)
    assert "start of the cursor" in str(end)


async def test_timestamps_of_the_future_are_told_and_do_not_hide_what_comes_before() -> None:
    table = Table()
    table.records = [changed("a", 0), changed("ahead", 86_400 * 365)]
    async with api(table) as server, client() as http:
        site = Scripted(lambda: table.records.append(changed("b", 30)), lambda: None, http=http, now=NOW)
        items, _ = await polled(config(server.place, id="id", cursor=BY_TIME), site)

    assert ["a", "ahead", "b"] == [one.key for one in items if isinstance(one, Received)]
    assert times.micros(NOW) + 30_000_000 == positions(items)[-1]["cursor"]
    assert 1 == site.notes["future"]


async def test_a_token_of_the_server_is_stored_with_each_page_and_sent_back() -> None:
    answers = {
        None: {"items": [{"id": 1}], "next": "t1", "more": True},
        "t1": {"items": [{"id": 2}], "next": "t2"},
        "t2": {"items": [], "next": "t2"},
    }
    cursor = {"by": "token", "field": "next", "parameter": "after"}
    async with api(lambda request: answers[request.query.get("after")]) as server, client() as http:
        site = Scripted(lambda: None, http=http)
        items, _ = await polled(config(server.place, items="items", id="id", cursor=cursor), site)

    assert [{}, {"after": "t1"}, {"after": "t2"}, {"after": "t2"}] == server.queries
    assert ["1", "2"] == [one.key for one in items if isinstance(one, Received)]
    assert ["t1", "t2"] == list(dict.fromkeys(one["token"] for one in positions(items)))


@pytest.mark.parametrize("cursor", [{"by": "content"}, {"by": "id", "parameter": "after"}])
async def test_what_exists_can_be_skipped(cursor: dict[str, Any]) -> None:
    there = [1, 2]
    async with api(lambda _: [{"id": n} for n in there]) as server, client() as http:
        site = Scripted(lambda: there.append(3), http=http)
        items, _ = await polled(config(server.place, id="id", cursor=cursor, existing="skip"), site)

    assert ["3"] == [one.key for one in items if isinstance(one, Received)]


async def test_a_position_of_another_cursor_begins_anew_and_says_so() -> None:
    async with api(lambda _: [{"id": 1, "at": at(0)}]) as server, client() as http:
        site = Scripted(http=http, now=NOW)
        await polled(config(server.place, id="id"), site)
        before = site.position

        items, _ = await polled(config(server.place, id="id", cursor=BY_TIME), site)

    assert ["1"] == [one.key for one in items if isinstance(one, Received)]
    assert before["tag"] != site.position["tag"]
    assert 1 == site.notes["reset"]
    assert ["poll_begins_anew"] == [event for event, _ in site.said]


async def test_a_change_of_anything_but_the_cursor_keeps_the_position() -> None:
    async with api(lambda _: [{"id": 1, "at": at(0)}]) as server, client() as http:
        site = Scripted(http=http, now=NOW)
        await polled(config(server.place, id="id", cursor=BY_TIME), site)
        edited = {**BY_TIME, "overlap": 60, "parameter": "from"}
        items, _ = await polled(config(server.place, path="/v2", id="id", cursor=edited, paging={"by": "link"}), site)

    assert [] == ids(items)


async def test_a_position_that_is_none_is_refused() -> None:
    async with client() as http:
        _, end = await polled(config("127.0.0.1:1"), Scripted(http=http, position={"who": "knows"}))

    assert isinstance(end, Refused)
    assert "position" == end.reason


# ---- pages -------------------------------------------------------------------------------------------------------


async def test_links_lead_through_all_pages_and_positions_have_no_secret() -> None:
    def answer(request: web.Request) -> Any:
        number = int(request.query.get("page", "1"))
        link = f'<{request.url.with_query({**request.query, "page": number + 1})}>; rel="next"' if number < 3 else ""
        return web.json_response([{"id": number}], headers={"Link": link})

    async with api(answer) as server, client() as http:
        site = Scripted(http=http)
        options = config(server.place, path="/x?api_key=s3cret", id="id", paging={"by": "link"})
        items, _ = await polled(options, site)

    assert ["1", "2", "3"] == [one.key for one in items if isinstance(one, Received)]
    assert ["s3cret"] * 3 == [one["api_key"] for one in server.queries]
    assert 3 == len(positions(items))
    assert "s3cret" not in str(positions(items))


@pytest.mark.parametrize("broken", [2, 3])
async def test_a_poll_that_breaks_off_goes_on_after_its_last_complete_page(broken: int) -> None:
    table = Table(2)
    table.records = [changed(f"{n}", n) for n in range(6)]
    options: dict[str, Any] = {"id": "id", "cursor": BY_TIME, "paging": {"by": "page"}}
    async with api(table) as server, client() as http:
        site = Scripted(http=http, now=NOW + timedelta(hours=1))
        source = config(server.place, **options)
        table.breaks_at = broken
        before, end = await polled(source, site)
        assert isinstance(end, NotConnected)
        assert "http_500" == end.reason
        asked = len(server.asked)

        table.breaks_at = None
        after, _ = await polled(source, site)

    assert [f"{n}@{at(n)}" for n in range((broken - 1) * 2)] == ids(before)
    assert [f"{n}@{at(n)}" for n in range((broken - 1) * 2, 6)] == ids(after)
    assert str(broken) == server.queries[asked]["page"]


async def test_pages_that_are_newest_first_lose_nothing_when_they_break_off() -> None:
    """The first page has the largest time; a cursor that moved with it would hide the other pages for ever."""
    table = Table(2)

    def newest_first(request: web.Request) -> Any:
        number = int(request.query.get("page", "1"))
        found = sorted(table.records, key=lambda one: str(one["at"]), reverse=True)
        return web.Response(status=500) if number == table.breaks_at else found[(number - 1) * 2 : number * 2]

    table.records = [changed(f"{n}", n) for n in range(6)]
    table.breaks_at = 2
    cursor = {"by": "timestamp", "field": "at", "overlap": 1}
    async with api(newest_first) as server, client() as http:
        site = Scripted(http=http, now=NOW + timedelta(hours=1))
        options = config(server.place, id="id", cursor=cursor, paging={"by": "page"}, newest_first=True)
        before, _ = await polled(options, site)
        table.breaks_at = None
        site.happens = [lambda: table.records.append(changed("new", 60))]
        after, _ = await polled(options, site)

    assert ["5", "4"] == [one.key for one in before if isinstance(one, Received)]
    assert ["3", "2", "1", "0", "new"] == [one.key for one in after if isinstance(one, Received)]
    assert ["1", "2", "3"] == [one["page"] for one in server.queries[-3:]], "of four pages: the third had nothing new"


async def test_a_page_that_has_expired_lets_the_poll_begin_anew() -> None:
    def answer(request: web.Request) -> Any:
        if request.query.get("page_token") == "old":
            return web.Response(status=410)
        if request.query.get("page_token") == "p2":
            return {"list": [{"id": 2}]}
        return {"list": [{"id": 1}], "next": "p2"}

    paging = {"by": "token", "field": "next", "parameter": "page_token"}
    async with api(answer) as server, client() as http:
        site = Scripted(http=http)
        options = config(server.place, items="list", id="id", paging=paging)
        await polled(options, site)
        site.position = {**site.position, "next": {"token": "old"}}
        items, _ = await polled(options, site)

    assert [{"page_token": "old"}, {}, {"page_token": "p2"}] == server.queries[-3:]
    assert [] == ids(items)
    assert 1 == site.notes["restarted"]


async def test_a_poll_has_at_most_so_many_pages_and_the_next_one_goes_on() -> None:
    table = Table(1)
    table.records = [changed(f"{n}", n) for n in range(5)]
    options: dict[str, Any] = {"id": "id", "cursor": BY_TIME, "paging": {"by": "page"}, "max_pages": 2}
    async with api(table) as server, client() as http:
        site = Scripted(lambda: None, lambda: None, http=http, now=NOW + timedelta(hours=1))
        items, _ = await polled(config(server.place, **options), site)

    assert ["1", "2", "3", "4", "5", "6"] == [one["page"] for one in server.queries]
    assert [f"{n}@{at(n)}" for n in range(5)] == ids(items)
    assert 2 == site.notes["capped"]


async def test_a_server_that_knows_no_pages_is_not_asked_for_them_for_ever() -> None:
    async with api(lambda _: [{"id": 1}]) as server, client() as http:
        site = Scripted(http=http)
        items, _ = await polled(config(server.place, id="id", paging={"by": "page"}), site)

    assert 2 == len(server.asked)
    assert 1 == len(ids(items))
    assert 1 == site.notes["repeated_page"]


async def test_a_number_behind_the_last_page_may_be_none() -> None:
    def answer(request: web.Request) -> Any:
        return [{"id": 1}] if request.query["page"] == "1" else web.Response(status=404)

    async with api(answer) as server, client() as http:
        items, end = await polled(config(server.place, id="id", paging={"by": "page"}), Scripted(http=http))

    assert 1 == len(ids(items))
    assert isinstance(end, NotConnected)
    assert "over" == end.reason


async def test_a_link_to_another_host_is_refused() -> None:
    headers = {"Link": "<http://evil.example/>; rel=next"}
    async with api(lambda _: web.json_response([], headers=headers)) as server, client() as http:
        _, end = await polled(config(server.place, paging={"by": "link"}), Scripted(http=http))

    assert isinstance(end, Refused)
    assert "paging" == end.reason


async def test_too_many_records_to_compare_are_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MOST_KNOWN", 2)
    async with api(lambda _: [1, 2, 3]) as server, client() as http:
        _, end = await polled(config(server.place), Scripted(http=http))

    assert isinstance(end, Refused)
    assert "give it a cursor" in str(end)


# ---- time --------------------------------------------------------------------------------------------------------


async def test_polls_begin_an_interval_apart_and_never_overlap() -> None:
    """A poll takes 20 s by the clock, and one of them 100 s: the next begins at once then, not twice."""
    takes = [20.0, 20.0, 100.0, 20.0]
    begun: list[float] = []
    async with client() as http:
        site = Scripted(lambda: None, lambda: None, lambda: None, http=http)

        def answer(request: web.Request) -> Any:
            begun.append(site.monotonic())
            site.advance(takes[len(begun) - 1])
            return []

        async with api(answer) as server:
            await polled(config(server.place), site)

    assert [0.0, 60.0, 120.0, 220.0] == begun[:4]


async def test_a_restart_repeats_nothing_and_misses_nothing() -> None:
    table = Table(2)
    table.records = [changed(f"{n}", n) for n in range(3)]
    options: dict[str, Any] = {"id": "id", "cursor": BY_TIME, "paging": {"by": "page"}}
    async with api(table) as server, client() as http:
        site = Scripted(http=http, now=NOW + timedelta(hours=1))
        first, _ = await polled(config(server.place, **options), site)
        table.records += [changed("3", 3), changed("late", 1)]
        second, _ = await polled(config(server.place, **options), site)

    assert [f"{n}@{at(n)}" for n in range(3)] == ids(first)
    assert {f"3@{at(3)}", f"late@{at(1)}"} == set(ids(second))


async def test_events_whose_position_was_lost_come_again_under_their_ids() -> None:
    table = Table()
    table.records = [changed(f"{n}", n) for n in range(3)]
    async with api(table) as server, client() as http:
        first, _ = await polled(config(server.place, id="id", cursor=BY_TIME), Scripted(http=http, now=NOW))
        second, _ = await polled(config(server.place, id="id", cursor=BY_TIME), Scripted(http=http, now=NOW))

    assert ids(first) == ids(second)


def test_the_kind_has_what_a_kind_has() -> None:
    assert 60.0 == poll.Config.model_validate(poll.EXAMPLE).interval
    assert poll.DELIVERY is Delivery.EXACTLY_ONCE
