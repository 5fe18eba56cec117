"""One request and what its answer means: statuses, limits, validators, what is a record."""

import asyncio
import heapq
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors import poll
from connectors.base.contract import NotConnected, Received, Refused
from connectors.base.reach.http import ClientAnswer, retry_after
from connectors.poll import paging, progress, rest
from tests.unit.connectors.poll.api import Scripted, api, client, config, ids, polled
from tests.unit.connectors.serving import serving
from tests.unit.connectors.standing import Reading, StandIn

NOW = datetime(2026, 6, 1, tzinfo=UTC)


async def ended(answer: Any, **options: Any) -> tuple[Exception, Scripted]:
    async with api(answer) as server, client() as http:
        site = Scripted(http=http, now=NOW)
        _, end = await polled(config(server.place, **options), site)
    return end, site


# ---- what is asked -----------------------------------------------------------------------------------------------


async def test_headers_and_a_body_are_sent() -> None:
    bodies: list[Any] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        bodies.append((request.method, request.headers["Authorization"], await request.json()))
        return web.json_response([])

    async with serving(answer) as place, client() as http:
        options = config(place, method="POST", headers={"Authorization": "Bearer s3cret"}, body={"query": "x"})
        await polled(options, Scripted(http=http))

    assert [("POST", "Bearer s3cret", {"query": "x"})] == bodies


async def test_validators_go_back_byte_for_byte_and_nothing_changed_is_a_success() -> None:
    etag, changed_at = 'W/"a,\\"b\'"', "Mon, 1 Jun 2026 00:00:00 +0000"

    def answer(request: web.Request) -> Any:
        if request.headers.get("If-None-Match") == etag and request.headers.get("If-Modified-Since") == changed_at:
            return web.Response(status=304)
        return web.json_response([{"id": 1}], headers={"ETag": etag, "Last-Modified": changed_at})

    async with api(answer) as server, client() as http:
        site = Scripted(lambda: None, lambda: None, http=http)
        items, end = await polled(config(server.place, id="id"), site)
        again, _ = await polled(config(server.place, id="id"), site)

    assert "the script is over" == str(end)
    assert 1 == len(ids(items))
    assert [] == again
    assert [None, etag, etag, etag] == [one.headers.get("If-None-Match") for one in server.asked]


async def test_validators_are_for_the_url_that_they_came_from() -> None:
    def answer(request: web.Request) -> Any:
        return web.json_response([{"id": len(server.asked)}], headers={"ETag": '"x"'})

    async with api(answer) as server, client() as http:
        site = Scripted(lambda: None, http=http)
        await polled(config(server.place, cursor={"by": "id", "parameter": "after"}), site)

    assert ["If-None-Match" in one.headers for one in server.asked] == [False, False]


# ---- what a status means -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (401, Refused, "unauthorized"),
        (403, Refused, "unauthorized"),
        (400, Refused, "http_400"),
        (404, Refused, "http_404"),
        (410, Refused, "http_410"),
        (304, NotConnected, "http_304"),
        (408, NotConnected, "http_408"),
        (429, NotConnected, "http_429"),
        (500, NotConnected, "http_500"),
        (503, NotConnected, "http_503"),
    ],
)
async def test_a_status_that_is_no_success_ends_the_poll(status: int, error: type[Exception], reason: str) -> None:
    end, _ = await ended(lambda _: web.Response(status=status))

    assert type(end) is error
    assert reason == getattr(end, "reason", None)
    assert "127.0.0.1" in str(end)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("said", ["90", "Mon, 01 Jun 2026 00:01:30 GMT"])
async def test_retry_after_is_kept_in_both_forms(status: int, said: str) -> None:
    async with api(lambda _: web.Response(status=status, headers={"Retry-After": said})) as server, client() as http:
        http._now = lambda: NOW
        site = Scripted(lambda: None, http=http, now=NOW)
        source = poll.Source(config(server.place), site)
        end = await Reading(source, site).to_its_end()
        assert isinstance(end, NotConnected)
        assert 90.0 == end.retry_after_seconds

        site.advance(30.0)
        asked: list[float] = []
        server.answer = lambda _: asked.append(site.monotonic())
        await Reading(source, site).to_its_end()

    assert 90.0 == asked[0], "whoever shares the budget waits as well"


async def test_too_many_requests_may_be_said_with_403() -> None:
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW.timestamp()) + 600)}
    end, _ = await ended(lambda _: web.Response(status=403, headers=headers))

    assert isinstance(end, NotConnected)
    assert 600.0 == end.retry_after_seconds


async def test_a_server_that_has_no_requests_left_is_left_alone_until_its_reset() -> None:
    headers = {"RateLimit": '"default";r=0;t=300'}
    async with client() as http:
        site = Scripted(lambda: None, lambda: None, http=http, interval=1000.0)
        asked: list[float] = []

        def answer(request: web.Request) -> Any:
            asked.append(site.monotonic())
            return web.json_response([], headers=headers)

        async with api(answer) as server:
            await polled(config(server.place), site)

    assert [0.0, 300.0] == asked[:2]


# ---- what an answer is -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"<html>sorry</html>", b"{", b'{"a": NaN}', b"\xff\xfe\xff", b"[" * 100_000, b"9" * 5_000, b'"\\ud800" x'],
)
async def test_what_is_no_json_is_asked_for_again_later(body: bytes) -> None:
    end, site = await ended(lambda _: web.Response(body=body))

    assert isinstance(end, NotConnected)
    assert "not_json" == end.reason
    assert 0 == site.connections


async def test_what_is_nested_too_deep_is_no_error_of_ours() -> None:
    for depth in range(700, 1100, 20):
        end, _ = await ended(lambda _, depth=depth: web.Response(body=b"[" * depth + b"]" * depth))
        assert isinstance(end, NotConnected)
        assert end.reason in ("not_json", "over")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=4) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "at", "x", "next"]), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"id": "id"},
        {"cursor": {"by": "id"}},
        {"id": "x.id", "cursor": {"by": "timestamp", "field": "at"}},
        {"cursor": {"by": "timestamp", "field": "at", "format": "seconds"}},
        {"items": "x", "cursor": {"by": "token", "field": "next", "parameter": "after"}},
        {"items": "x", "paging": {"by": "url", "field": "next"}},
        {"items": "x", "paging": {"by": "token", "field": "next", "parameter": "p"}},
    ],
)
@settings(max_examples=100, deadline=None)
@given(answer=JSON)
def test_no_answer_escapes_as_an_unexpected_error(options: dict[str, Any], answer: Any) -> None:
    machine = Machine(lambda _: web.Response())
    body = json.dumps(answer).replace("NaN", "1").replace("Infinity", "1e999").encode()
    site = OnMachine(machine)
    machine.body = body
    made = config("a.example", **options)
    assert made.rest is not None
    pages = rest.RestPages(made, made.rest, site)
    try:
        page = asyncio.run(pages.page(pages.begin()))
        taken = progress.take(pages.begin(), page, pages.policy, now=pages.now())
    except (NotConnected, Refused):
        return
    position = orjson.loads(orjson.dumps(taken.progress.position()))
    assert taken.progress == progress.read(position, pages.policy)
    paging.url_of(made.rest, taken.progress, pages.policy.overlap)


async def test_an_answer_without_its_records_says_where_they_should_be() -> None:
    end, _ = await ended(lambda _: {"error": "s3cret"}, items="data.orders")

    assert isinstance(end, NotConnected)
    assert "no_items" == end.reason
    assert "data.orders" in str(end)
    assert "s3cret" not in str(end)


@pytest.mark.parametrize("answer", [{"data": None}, {"data": []}])
async def test_no_records_are_no_error(answer: Any) -> None:
    end, site = await ended(lambda _: answer, items="data")

    assert "the script is over" == str(end)
    assert 1 == site.connections


@pytest.mark.parametrize("status", [200, 204])
async def test_an_empty_answer_has_no_records(status: int) -> None:
    end, _ = await ended(lambda _: web.Response(status=status), items="data")

    assert "the script is over" == str(end)


async def test_a_byte_order_mark_is_no_part_of_json() -> None:
    async with api(lambda _: web.Response(body=b'\xef\xbb\xbf[{"id": 1}]')) as server, client() as http:
        items, _ = await polled(config(server.place, id="id"), Scripted(http=http))

    assert 1 == len(ids(items))


async def test_a_large_answer_is_parsed_in_a_thread() -> None:
    records = [{"id": n, "text": "x" * 100} for n in range(5_000)]
    async with api(lambda _: records) as server, client() as http:
        items, _ = await polled(config(server.place, cursor={"by": "id"}), Scripted(http=http))

    assert 5_000 == len(ids(items))


async def test_an_answer_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "MAX_BODY_BYTES", 1_000)
    end, _ = await ended(lambda _: ["x" * 2_000])

    assert isinstance(end, Refused)
    assert "too_large" == end.reason


async def test_too_many_records_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "_MOST_ITEMS", 2)
    end, _ = await ended(lambda _: [1, 2, 3])

    assert isinstance(end, Refused)
    assert "too_many" == end.reason


@pytest.mark.parametrize(
    ("item", "options", "event_id", "key"),
    [
        ({"id": 7, "v": 2}, {"id": "id", "version": "v"}, "7@2", "7"),
        ({"a": {"id": "x"}, "v": 2}, {"id": "a.id", "version": "v"}, "x@2", "x"),
        ({"id": 7}, {"cursor": {"by": "id"}}, "7", "7"),
        ({"id": "0012"}, {"cursor": {"by": "id"}}, "0012", "0012"),
        ({"id": 7, "name": "n"}, {"id": "name", "cursor": {"by": "id"}}, "n", "n"),
        ({"id": 7, "v": 3}, {"version": "v", "cursor": {"by": "id"}}, "7@3", "7"),
    ],
)
async def test_an_id_is_that_of_the_record_and_its_version(
    item: dict[str, Any], options: dict[str, Any], event_id: str, key: str
) -> None:
    async with api(lambda _: [item]) as server, client() as http:
        items, _ = await polled(config(server.place, **options), Scripted(http=http))

    assert [(event_id, key)] == [(one.id, one.key) for one in items if isinstance(one, Received)]


# ---- a shared budget ---------------------------------------------------------------------------------------------


class Machine:
    """Many sources on one clock, which goes on when all of them sleep; a server that is asked without any network."""

    def __init__(self, answer: Callable[[float], web.Response]) -> None:
        self.now, self._answer, self.body = 0.0, answer, b"[]"
        self.asked: list[tuple[float, int]] = []
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, len(self.asked) + id(waiting), waiting))
        await waiting

    @asynccontextmanager
    async def request(self, method: str, url: str, **options: Any) -> AsyncIterator[ClientAnswer]:
        response = self._answer(self.now)
        self.asked.append((self.now, response.status))
        yield ToldAnswer(response, self.body)  # type: ignore[misc]

    async def run(self, sources: Sequence[poll.Source], *, until: float) -> None:
        tasks = [asyncio.create_task(self._keep(source)) for source in sources]
        while self.now < until:
            for _ in range(300):  # everybody comes to where they sleep, or wait for somebody who does
                await asyncio.sleep(0)
            when, _, waiting = heapq.heappop(self._sleepers)
            self.now = max(self.now, when)
            if not waiting.done():
                waiting.set_result(None)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, source: poll.Source) -> None:
        """Read as the frame does."""
        while True:
            try:
                async with aclosing(source.read()) as items:  # type: ignore[type-var]
                    async for _ in items:
                        pass
            except NotConnected as error:
                await self.sleep(error.retry_after_seconds or 1.0)


class ToldAnswer:
    """An answer that came without a network."""

    def __init__(self, response: web.Response, body: bytes) -> None:
        self._body = body
        self.status, self.headers, self.url, self.moved_to = (
            response.status,
            response.headers,
            "http://a.example/",
            None,
        )

    async def body(self, max_bytes: int) -> bytes:
        return self._body

    def retry_after(self) -> float | None:
        return retry_after(self.headers, NOW)


class OnMachine(StandIn):
    """A site on a machine that others are on as well."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(http=machine)  # type: ignore[arg-type]
        self._machine = machine

    def monotonic(self) -> float:
        return self._machine.now

    async def sleep(self, seconds: float) -> None:
        await self._machine.sleep(seconds)


def fifty(machine: Machine, **options: Any) -> list[poll.Source]:
    return [
        poll.Source(
            config("a.example", path=f"/{n}?status=open", headers={"Authorization": "Bearer one"}, **options),
            OnMachine(machine),
        )
        for n in range(50)
    ]


async def test_fifty_sources_of_one_host_and_credential_share_a_budget() -> None:
    machine = Machine(lambda _: web.Response())
    await machine.run(fifty(machine, rate={"requests": 20, "per": 60}), until=900.0)

    begun = [when for when, _ in machine.asked]
    assert len(begun) >= 15 * 20
    assert all(later - earlier >= 60.0 for earlier, later in zip(begun, begun[20:], strict=False))


async def test_when_one_of_fifty_is_told_to_wait_all_of_them_wait() -> None:
    times: list[float] = []

    def answer(now: float) -> web.Response:
        times.append(now)
        recent = [one for one in times if one > now - 60.0]
        return web.Response(status=429, headers={"Retry-After": "45"}) if len(recent) > 20 else web.Response()

    machine = Machine(answer)
    await machine.run(fifty(machine), until=900.0)

    told = sorted({when for when, status in machine.asked if status == 429})
    assert told
    assert [] == [(at, when) for at in told for when, _ in machine.asked if at < when < at + 45.0]


async def test_other_credentials_and_other_hosts_have_budgets_of_their_own() -> None:
    def pages(place: str, **options: Any) -> rest.RestPages:
        made = config(place, **options)
        assert made.rest is not None
        return rest.RestPages(made, made.rest, StandIn())

    one = pages("a.example", headers={"Authorization": "Bearer one"})
    same = pages("a.example", path="/other?status=open", headers={"Authorization": "Bearer one"})
    others = [
        pages("b.example", headers={"Authorization": "Bearer one"}),
        pages("a.example", headers={"Authorization": "Bearer two"}),
        pages("a.example"),
        pages("me:pw@a.example"),
        pages("a.example", path="/?api_key=1"),
        pages("a.example", path="/?api_key=2"),
    ]

    assert one._budget is same._budget
    assert 7 == len({id(each._budget) for each in [one, *others]})
