"""Event streams from servers of this machine: ends, statuses, ids that are sent back, and what does not fit."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr, ValidationError

from connectors import http_stream
from connectors.base.contract import Ended, Moved, NotConnected, Received, Refused, Unreadable
from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp
from connectors.http_stream import source as module
from tests.unit.connectors.http_stream import reference, test_parser
from tests.unit.connectors.serving import serving
from tests.unit.connectors.standing import Reading, StandIn, reading, until

HERE = Policy(allowed=("127.0.0.0/8",))
SSE = {"Content-Type": "text/event-stream"}


class Server:
    """Streams what it is told to, one answer for each request; remembers the requests."""

    def __init__(self) -> None:
        self.answers: list[bytes | web.Response | Callable[[web.Request], Awaitable[web.StreamResponse]]] = []
        self.requests: list[web.Request] = []
        self.gone = 0
        self.place = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        answer = self.answers.pop(0)
        try:
            if isinstance(answer, bytes):
                return await streamed(request, answer)
            return answer if isinstance(answer, web.Response) else await answer(request)
        finally:
            self.gone += 1

    @property
    def last_ids(self) -> list[str | None]:
        return [request.headers.get("Last-Event-ID") for request in self.requests]


async def streamed(request: web.Request, *parts: bytes, headers: dict[str, str] = SSE) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    for part in parts:
        await response.write(part)
    return response


async def for_ever(request: web.Request) -> web.StreamResponse:
    await streamed(request, b"data: 1\n\n")
    await asyncio.sleep(3600)
    raise AssertionError


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    async with serving(made.handle) as made.place:
        yield made


@pytest.fixture
async def site() -> AsyncIterator[StandIn]:
    made = StandIn()
    async with ClientHttp(HERE, heard=made.heard, now=made.now) as made._http:
        yield made


@asynccontextmanager
async def streaming(server: Server, site: StandIn, **options: Any) -> AsyncIterator[Reading]:
    async with reading(made(server, site, **options), site) as one:
        yield one


def made(server: Server, site: StandIn, **options: Any) -> http_stream.Source:
    options = {"url": f"http://{server.place}/stream", **options}
    return http_stream.Source(http_stream.Config(**options), site)


async def end_of(server: Server, site: StandIn, **options: Any) -> Exception:
    async with streaming(server, site, **options) as read:
        return await read.to_its_end()


# ---- events ----------------------------------------------------------------------------------------------------------


async def test_events_have_id_type_and_data(server: Server, site: StandIn) -> None:
    server.answers = [b'id: 7\nevent: price\ndata: {"of": "tin",\ndata: "is": 5}\n\ndata: no JSON\n\nid: 8\n\n']
    async with streaming(server, site) as read:
        first, second, third = await read.next(), await read.next(), await read.next()
        end = await read.to_its_end()

    stream = first.position["stream"]
    assert first == Received(
        id="7",
        event_type="price",
        data={"of": "tin", "is": 5},
        position={"id": "7", "retry": None, "stream": stream},
    )
    assert second == Received(
        id="e1/2", event_type="message", data="no JSON", position={"id": "7", "retry": None, "stream": stream}
    )
    assert third == Moved(position={"id": "8", "retry": None, "stream": stream})
    assert isinstance(end, NotConnected)
    assert (end.reason, end.retry_after_seconds, str(end)) == ("ended", None, f"{server.place} ended the stream")
    assert site.connections == 1
    assert site.heard_bytes > 60


async def test_the_request_is_that_of_the_standard(server: Server, site: StandIn) -> None:
    server.answers = [b""]
    await end_of(server, site, headers={"Authorization": "Bearer canary", "accept": "text/event-stream, */*"})
    (request,) = server.requests

    assert request.method == "GET"
    assert request.headers.getall("Accept") == ["text/event-stream, */*"]
    assert request.headers["Cache-Control"] == "no-store"
    assert request.headers["Authorization"] == "Bearer canary"
    assert "Last-Event-ID" not in request.headers


async def test_post_sends_its_body_as_json(server: Server, site: StandIn) -> None:
    bodies = []

    async def ask(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.json())
        return await streamed(request)

    server.answers = [ask]
    await end_of(server, site, method="POST", body={"topics": ["a"]})

    assert (server.requests[0].method, bodies) == ("POST", [{"topics": ["a"]}])
    assert server.requests[0].headers["Accept"] == "text/event-stream"


@pytest.mark.parametrize("name", test_parser.CASES)
async def test_a_stream_from_a_socket_is_what_the_standard_says(server: Server, site: StandIn, name: str) -> None:
    stream, expected = test_parser.CASES[name]

    async def byte_by_byte(request: web.Request) -> web.StreamResponse:
        return await streamed(request, *(bytes([byte]) for byte in stream))

    server.answers = [byte_by_byte]
    async with streaming(server, site, data="text") as read:
        await read.to_its_end()

    events = [(one.event_type, one.data, one.position["id"]) for one in read.taken if isinstance(one, Received)]
    assert events == [(kind, data, last) for what, kind, data, last in expected if what == "event"]


@pytest.mark.parametrize(
    ("how", "data", "expected"),
    [
        ("auto", "5", 5),
        ("auto", '["a"]', ["a"]),
        ("auto", "", ""),
        ("auto", "NaN", "NaN"),
        ("auto", "{'a': 1}", "{'a': 1}"),
        ("json", "null", None),
        ("text", "5", "5"),
    ],
)
async def test_data_is_read_as_asked(server: Server, site: StandIn, how: str, data: str, expected: Any) -> None:
    server.answers = [f"data: {data}\n\n".encode()]
    async with streaming(server, site, data=how) as read:
        assert (await read.event()).data == expected


async def test_what_is_no_json_becomes_a_dead_letter_where_json_is_asked_for(server: Server, site: StandIn) -> None:
    server.answers = [b"id: 1\ndata: oops\n\nid: 2\ndata: 2\n\n"]
    async with streaming(server, site, data="json") as read:
        first, second = await read.next(), await read.event()

    assert isinstance(first, Unreadable)
    assert (first.id, first.raw, first.position["id"]) == ("1", b"oops", "1")
    assert first.reason.startswith("its data is not JSON: ")
    assert (second.id, second.data) == ("2", 2)


async def test_only_the_types_that_were_asked_for_are_events_and_the_position_moves_on(
    server: Server, site: StandIn
) -> None:
    server.answers = [
        b"id: 1\nevent: ping\ndata: 1\n\nevent: ping\ndata: 2\n\nid: 3\ndata: 3\n\nid: 4\nevent: x\ndata: 4\n\n"
    ]
    async with streaming(server, site, events=["message", "x"]) as read:
        await read.to_its_end()

    assert [(type(one).__name__, one.position["id"]) for one in read.taken] == [
        ("Moved", "1"),
        ("Received", "3"),
        ("Received", "4"),
    ]
    assert site.notes == {"not_taken": 2}


async def test_a_server_that_gives_one_id_to_all_events_loses_none(server: Server, site: StandIn) -> None:
    server.answers = [b"id: 0\ndata: a\n\nid: 0\ndata: b\n\nid: 0\ndata: c\n\nid: 1\ndata: d\n\n"]
    async with streaming(server, site) as read:
        events = [await read.event() for _ in range(4)]

    assert [one.id for one in events] == ["0", "e1/2", "e1/3", "1"]


async def test_an_event_that_is_too_large_is_refused_and_the_stream_goes_on(server: Server, site: StandIn) -> None:
    async def large(request: web.Request) -> web.StreamResponse:
        chunk = b"x" * 1024 * 1024
        return await streamed(request, b"id: 1\ndata: ", *[chunk] * 100, b"\n\nid: 2\ndata: b\n\n")

    server.answers = [large]
    async with streaming(server, site, max_event_bytes=1000) as read:
        first, second = await read.next(), await read.event()

    assert isinstance(first, Unreadable)
    assert (first.id, first.position["id"], first.raw) == ("1", "1", b"x" * 16 * 1024)
    assert first.reason == "its data has 104857600 bytes, 1000 are allowed (option max_event_bytes)"
    assert (second.id, second.data) == ("2", "b")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_stream_is_read_as_it_comes(server: Server, site: StandIn, encoding: str) -> None:
    going_on = asyncio.Event()

    async def compressed(request: web.Request) -> web.StreamResponse:
        packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16 if encoding == "gzip" else zlib.MAX_WBITS)
        response = web.StreamResponse(headers={**SSE, "Content-Encoding": encoding})
        await response.prepare(request)
        await response.write(packer.compress(b"data: a\n\n") + packer.flush(zlib.Z_SYNC_FLUSH))
        await going_on.wait()
        await response.write(packer.compress(b"data: b\n\n") + packer.flush())
        return response

    server.answers = [compressed]
    async with streaming(server, site) as read:
        first = await read.event()
        going_on.set()
        second = await read.event()
        end = await read.to_its_end()

    assert (first.data, second.data) == ("a", "b")
    assert isinstance(end, NotConnected)
    assert "gzip" in server.requests[0].headers["Accept-Encoding"]


async def test_what_is_compressed_to_break_the_reader_is_bounded(server: Server, site: StandIn) -> None:
    bomb = gzip.compress(b"data: " + b"x" * 64 * 1024 * 1024 + b"\n\ndata: after\n\n")

    async def answer(request: web.Request) -> web.StreamResponse:
        return await streamed(request, bomb, headers={**SSE, "Content-Encoding": "gzip"})

    server.answers = [answer]
    async with streaming(server, site) as read:
        assert isinstance(await read.next(), Unreadable)
        assert (await read.event()).data == "after"


# ---- going on --------------------------------------------------------------------------------------------------------


async def test_the_last_durable_id_is_sent_back(server: Server, site: StandIn) -> None:
    server.answers = [b"", b"id: 1\ndata: a\n\nid: 2\ndata: b\n\n", b"data: c\n\n", b"id:\ndata: d\n\n", b""]
    one = made(server, site)
    for _ in range(5):
        async with reading(one, site) as read:
            await read.to_its_end()

    assert server.last_ids == [None, None, "2", "2", None]


async def test_an_id_that_is_not_durable_is_not_sent_back(server: Server, site: StandIn) -> None:
    server.answers = [b"id: 1\ndata: a\n\nid: 2\ndata: b\n\n", b"id: 2\ndata: b\n\n"]
    one = made(server, site)
    async with reading(one, site) as read:
        await read.next()
        lost = await read.next(settle=False)
    async with reading(one, site) as read:
        again = await read.event()

    assert isinstance(lost, Received)
    assert again.id == lost.id == "2"
    assert server.last_ids == [None, "1"]


async def test_ids_in_other_alphabets_are_sent_back_as_they_came(server: Server, site: StandIn) -> None:
    server.answers = ["id: ж€\ndata: a\n\n".encode(), b""]
    one = made(server, site)
    for _ in range(2):
        async with reading(one, site) as read:
            await read.to_its_end()

    assert server.last_ids == [None, "ж€"]


@pytest.mark.parametrize("identity", [b"a\x01b", b"a\x7fb", b"x" * (module.MOST_ID_BYTES + 1)])
async def test_an_id_that_no_header_can_hold_is_told_and_does_not_stop_the_source(
    server: Server, site: StandIn, identity: bytes
) -> None:
    server.answers = [b"id: " + identity + b"\ndata: a\n\n", b"data: b\n\n"]
    one = made(server, site)
    async with reading(one, site) as read:
        assert (await read.event()).id == identity.decode()
        await read.to_its_end()
    assert not site.said
    async with reading(one, site) as read:
        assert (await read.event()).data == "b"

    assert server.last_ids == [None, None]
    assert [event for event, _ in site.said] == ["stream_goes_on_from_now"]
    assert site.notes["missed"] == 1


async def test_where_to_begin_may_be_an_option(server: Server, site: StandIn) -> None:
    server.answers = [b"id: 11\ndata: a\n\n", b""]
    one = made(server, site, last_event_id="10")
    for _ in range(2):
        async with reading(one, site) as read:
            await read.to_its_end()

    assert server.last_ids == ["10", "11"]


@pytest.mark.parametrize(("path", "expected"), [("/stream?token=2", "1"), ("/other", None)])
async def test_another_stream_does_not_get_the_id_of_this_one(
    server: Server, site: StandIn, path: str, expected: str | None
) -> None:
    server.answers = [b"id: 1\ndata: a\n\n", b""]
    await end_of(server, site)
    await end_of(server, site, url=f"http://{server.place}{path}")

    assert server.last_ids == [None, expected]


@pytest.mark.parametrize("position", [7, "1", {"id": 1}, {"id": "1", "retry": "x", "stream": ""}, {"id": "1"}])
async def test_a_position_of_another_kind_is_none(server: Server, site: StandIn, position: Any) -> None:
    server.answers = [b""]
    site.position = position
    await end_of(server, site)

    assert server.last_ids == [None]


async def test_a_server_that_ignores_the_last_event_id_repeats_events_under_their_ids(
    server: Server, site: StandIn
) -> None:
    server.answers = [b"id: 1\ndata: a\n\nid: 2\ndata: b\n\n"] * 2
    one, ids = made(server, site), []
    for _ in range(2):
        async with reading(one, site) as read:
            await read.to_its_end()
        ids += [item.id for item in read.taken if isinstance(item, Received)]

    assert ids == ["1", "2", "1", "2"]


async def test_events_without_ids_are_told_apart_over_connections(server: Server, site: StandIn) -> None:
    server.answers = [b"data: a\n\ndata: b\n\n"] * 2
    one, ids = made(server, site), []
    for epoch in ("e1", "e2"):
        site.epoch = epoch
        async with reading(one, site) as read:
            await read.to_its_end()
        ids += [item.id for item in read.taken if isinstance(item, Received)]

    assert ids == ["e1/1", "e1/2", "e2/1", "e2/2"]


async def test_the_pause_is_the_one_that_the_server_asked_for_also_after_a_restart(
    server: Server, site: StandIn
) -> None:
    server.answers = [b"retry: 2500\nid: 1\ndata: a\n\n", b"data: a\n\n", b"retry: 99999999999999999999\n\ndata: a\n\n"]
    ends = [await end_of(server, site) for _ in range(3)]

    pauses = [end.retry_after_seconds for end in ends if isinstance(end, NotConnected)]
    assert pauses == [2.5, 2.5, module.MOST_RETRY_SECONDS]


async def test_the_pause_grows_while_nothing_comes_of_it(server: Server, site: StandIn) -> None:
    server.answers = [b"retry: 1000\ndata: a\n\n", *(web.Response(status=502) for _ in range(9)), b"data: a\n\n", b""]
    one, pauses = made(server, site), []
    for _ in range(12):
        async with reading(one, site) as read:
            end = await read.to_its_end()
        assert isinstance(end, NotConnected)
        pauses.append(end.retry_after_seconds)

    # The half of twice as much each time, at most of a minute.
    assert pauses == [1.0, 2.0, 3.0, 5.0, 9.0, 17.0, 31.0, 31.0, 31.0, 31.0, 1.0, 2.0]


async def test_a_stream_that_was_silent_but_lived_was_good(server: Server, site: StandIn) -> None:
    async def quiet(request: web.Request) -> web.StreamResponse:
        response = await streamed(request, b":\n\n")
        await until(lambda: site.connections == 2)
        site.advance(module.STEADY_SECONDS)
        return response

    server.answers = [b"retry: 1000\n\n", quiet]
    one = made(server, site)
    async with reading(one, site) as read:
        await read.to_its_end()
    site.position = {"id": "", "retry": 1000, "stream": one._stream}
    async with reading(one, site) as read:
        end = await read.to_its_end()

    assert isinstance(end, NotConnected)
    assert end.retry_after_seconds == 1.0


async def test_a_stream_on_which_nothing_comes_is_connected_anew(server: Server, site: StandIn) -> None:
    server.answers = [for_ever]
    async with streaming(server, site, idle_timeout="50ms") as read:
        event = await read.event()
        end = await read.to_its_end()

    assert event.data == 1
    assert isinstance(end, NotConnected)
    assert end.reason == "timeout"


async def test_comments_keep_a_stream_alive(server: Server, site: StandIn) -> None:
    async def kept_alive(request: web.Request) -> web.StreamResponse:
        response = await streamed(request)
        for _ in range(14):
            await response.write(b":\n")
            await asyncio.sleep(0.05)
        await response.write(b"data: a\n\n")
        return response

    server.answers = [kept_alive]
    async with streaming(server, site, idle_timeout="600ms") as read:
        assert (await read.event()).data == "a"


async def test_a_stream_that_breaks_off_is_connected_anew(server: Server, site: StandIn) -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        response = await streamed(request, b"data: a\n\ndata: b")
        assert request.transport is not None
        request.transport.abort()
        return response

    server.answers = [broken]
    async with streaming(server, site) as read:
        assert (await read.event()).data == "a"
        end = await read.to_its_end()

    assert isinstance(end, NotConnected)
    assert len(read.taken) == 1


async def test_who_stops_closes_the_connection(server: Server, site: StandIn) -> None:
    server.answers = [for_ever]
    async with streaming(server, site) as read:
        await read.event()
        assert server.gone == 0

    await until(lambda: server.gone == 1)


# ---- statuses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "expected", "reason", "retry_after"),
    [
        (204, {}, Ended, None, None),
        (408, {}, NotConnected, "http_408", None),
        (425, {}, NotConnected, "http_425", None),
        (429, {"Retry-After": "7"}, NotConnected, "http_429", 7.0),
        (500, {}, NotConnected, "http_500", None),
        (503, {"Retry-After": "Mon, 01 Jun 2026 00:02:00 GMT"}, NotConnected, "http_503", 120.0),
        (599, {}, NotConnected, "http_599", None),
        (401, {}, Refused, "unauthorized", None),
        (403, SSE, Refused, "unauthorized", None),
        (400, {}, Refused, "http_400", None),
        (404, SSE, Refused, "http_404", None),
        (410, {}, Refused, "http_410", None),
        (206, SSE, Refused, "http_206", None),
        (304, {}, Refused, "http_304", None),
        (200, {"Content-Type": "text/html"}, Refused, "no_stream", None),
        (200, {"Content-Type": "text/event-streams"}, Refused, "no_stream", None),
        (200, {"Content-Type": "application/json; a=text/event-stream"}, Refused, "no_stream", None),
    ],
)
async def test_a_status_says_whether_to_try_again(
    server: Server,
    site: StandIn,
    status: int,
    headers: dict[str, str],
    expected: type[Exception],
    reason: str | None,
    retry_after: float | None,
) -> None:
    server.answers = [web.Response(status=status, headers=headers)]
    end = await end_of(server, site, url=f"http://user:canary@{server.place}/stream/canary?token=canary")

    assert type(end) is expected
    assert getattr(end, "reason", None) == reason
    assert getattr(end, "retry_after_seconds", None) == retry_after
    assert server.place in str(end)
    assert "canary" not in str(end)
    assert site.connections == 0


@pytest.mark.parametrize("kind", ["text/event-stream", "Text/Event-Stream ; charset=latin-1", "text/event-stream;x"])
async def test_the_type_may_have_parameters_that_mean_nothing(server: Server, site: StandIn, kind: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return await streamed(request, "data: é\n\n".encode(), headers={"Content-Type": kind})

    server.answers = [answer]
    async with streaming(server, site) as read:
        assert (await read.event()).data == "é"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(server: Server, site: StandIn, status: int) -> None:
    server.answers = [web.Response(status=status, headers={"Location": "/there"}), b"id: 1\ndata: a\n\n"]
    async with streaming(server, site, last_event_id="0") as read:
        assert (await read.event()).data == "a"

    assert [request.path for request in server.requests] == ["/stream", "/there"]
    assert server.last_ids == ["0", "0"]


async def test_nobody_there_is_tried_again(site: StandIn) -> None:
    one = http_stream.Source(http_stream.Config(url="http://127.0.0.1:9/"), site)
    async with reading(one, site) as read:
        end = await read.to_its_end()

    assert isinstance(end, NotConnected)
    assert end.reason == "refused"


# ---- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "ftp://a/"}, "a URL here begins with http"),
        ({"body": {}}, "a body is sent with `method: POST` only"),
        ({"headers": {"last-event-id": "5"}}, "Last-Event-ID is sent by the source itself"),
        ({"events": []}, "at least 1 item"),
        ({"method": "PUT"}, "Input should be 'GET' or 'POST'"),
        ({"idle_timeout": "0s"}, "greater than 0"),
    ],
)
def test_options_that_mean_nothing_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        http_stream.Config(**{"url": "https://a.example/", **options})

    assert message in str(raised.value)


def test_headers_are_secret() -> None:
    config = http_stream.Config(**http_stream.EXAMPLE)

    assert config.shown()["headers"] == {"Authorization": "**********"}
    assert config.headers["Authorization"] == SecretStr("Bearer {{ env.STREAM_TOKEN }}")
    assert (config.idle_timeout, config.max_event_bytes, config.data) == (60.0, 1024 * 1024, "auto")
    assert reference.MOST == config.max_event_bytes
