"""A real nginx between a feed's source and its files: validators, compression, redirects of all kinds, limits, ends."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors.base.contract import Ended, NotConnected, Received, Refused
from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp
from connectors.rss import Config, Source
from tests.peers import test_nginx
from tests.peers.test_nginx import Server
from tests.unit.connectors.poll.api import HERE, Scripted
from tests.unit.connectors.standing import reading

pytestmark = test_nginx.pytestmark
CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
    log_format said '$remote_addr [$time_local] "$request" $status "$http_if_none_match" $sent_http_content_encoding';
    access_log {folder}/access.log said; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
    fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    types {{ application/rss+xml xml; application/feed+json json; text/html html; }}
    gzip on; gzip_types application/rss+xml application/feed+json; gzip_min_length 1; gzip_http_version 1.0;
    limit_req_zone $binary_remote_addr zone=all:1m rate=1r/m;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/files;
        location /moved/ {{ return 301 /feed.xml; }}
        location /moved-308/ {{ return 308 /moved/; }}
        location /for-now/ {{ return 302 /feed.xml; }}
        location /inside/ {{ return 301 http://127.0.0.1:1/; }}
        location /loop/ {{ return 301 /loop/; }}
        location /gone/ {{ return 410; }}
        location /limited/ {{ limit_req zone=all; limit_req_status 429; alias {folder}/files/; }}
        location /page/ {{ default_type text/html; return 200 "<html><body>maintenance</body></html>"; }}
        location /plain/ {{ gzip off; etag off; add_header Last-Modified ""; alias {folder}/files/; }}
    }}
}}
"""


def rss(*ids: str) -> str:
    items = "".join(f"<item><guid isPermaLink='false'>{one}</guid><title>{one}</title></item>" for one in ids)
    return f"<rss version='2.0'><channel><title>News</title>{items}</channel></rss>"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path, CONFIGURATION)
    made.write(rss("a"), "feed.xml")
    yield made
    made.stop()


@asynccontextmanager
async def site_of(*happens: Any, policy: Policy = HERE, position: Any = None) -> AsyncIterator[Scripted]:
    async with ClientHttp(policy) as http:
        yield Scripted(*happens, interval=10**6, http=http, position=position)


async def polled(server: Server, path: str, site: Scripted) -> tuple[list[str], Exception]:
    """Poll until the script is over; return the ids of new entries, and why it ended."""
    config = Config.model_validate({"url": f"http://{server.place}{path}", "interval": "1m"})
    async with reading(Source(config, site), site) as read:
        end = await read.to_its_end()
        return [item.id for item in read.taken if isinstance(item, Received)], end


def said(server: Server) -> list[tuple[str, int, bool, str]]:
    """What nginx says of each request: path, status, whether it was conditional, how the answer was encoded.

    It ends for that: the line of a request may be written after its answer.
    """
    server.stop()
    found = []
    for line in (server.folder / "access.log").read_text().splitlines():
        _, request, rest = line.split('"', 2)
        status, condition, encoding = rest.split(" ", 1)[1].split('"')[0].strip(), rest.split('"')[1], rest.split()[-1]
        found.append((request.split(" ")[1], int(status), condition != "-", encoding))
    return found


@pytest.mark.parametrize("name", ["feed.xml", "feed.json"])
async def test_a_feed_is_read_compressed_and_again_when_it_has_changed_alone(server: Server, name: str) -> None:
    def write(*ids: str) -> None:
        items = ", ".join(f'{{"id": "{one}"}}' for one in ids)
        feed = f'{{"version": "https://jsonfeed.org/version/1.1", "title": "t", "items": [{items}]}}'
        server.write(rss(*ids) if name == "feed.xml" else feed, name)

    write("a")
    async with site_of(lambda: None, lambda: write("b", "a"), lambda: None) as site:
        found, _ = await polled(server, f"/{name}", site)

    assert found == ["b"]
    log = said(server)[-4:]
    assert [(status, conditional) for _, status, conditional, _ in log] == [
        (200, False),
        (304, True),
        (200, True),
        (304, True),
    ]
    assert [encoding for _, status, _, encoding in log if status == 200] == ["gzip", "gzip"]


async def test_validators_survive_a_restart(server: Server) -> None:
    async with site_of() as site:
        await polled(server, "/feed.xml", site)
    async with site_of(lambda: server.write(rss("c", "a"), "feed.xml"), position=site.position) as again:
        found, _ = await polled(server, "/feed.xml", again)

    assert found == ["c"]
    assert [(status, conditional) for _, status, conditional, _ in said(server)[-2:]] == [(304, True), (200, True)]


async def test_without_validators_equal_bodies_are_read_once_and_entries_are_known(server: Server) -> None:
    async with site_of(lambda: None, lambda: server.write(rss("b", "a"), "feed.xml")) as site:
        found, _ = await polled(server, "/plain/feed.xml", site)

    assert found == ["b"]
    assert [(status, encoding) for _, status, _, encoding in said(server)[-3:]] == [(200, "-")] * 3


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/moved/", ["/moved/", "/feed.xml", "/feed.xml"]),
        ("/moved-308/", ["/moved-308/", "/moved/", "/feed.xml", "/feed.xml"]),
        ("/for-now/", ["/for-now/", "/feed.xml", "/for-now/", "/feed.xml"]),
    ],
)
async def test_a_permanent_redirect_is_remembered_and_another_one_is_not(
    server: Server, path: str, asked: list[str]
) -> None:
    async with site_of(lambda: server.write(rss("b", "a"), "feed.xml")) as site:
        found, _ = await polled(server, path, site)

    assert found == ["b"]
    assert [one for one, *_ in said(server)][-len(asked) :] == asked


async def test_a_permanent_redirect_is_remembered_over_a_restart(server: Server) -> None:
    async with site_of() as site:
        await polled(server, "/moved/", site)
    async with site_of(position=site.position) as again:
        await polled(server, "/moved/", again)

    assert said(server)[-1][:3] == ("/feed.xml", 304, True)


@pytest.mark.parametrize(
    ("path", "error", "reason"),
    [
        ("/gone/", Ended, None),
        ("/nothing.xml", Refused, "http_404"),
        ("/loop/", NotConnected, "redirects"),
        ("/page/", NotConnected, "not_a_feed"),
    ],
)
async def test_other_answers_are_what_they_are(
    server: Server, path: str, error: type[Exception], reason: str | None
) -> None:
    async with site_of() as site:
        found, end = await polled(server, path, site)

    assert found == []
    assert type(end) is error
    assert getattr(end, "reason", None) == reason


async def test_a_redirect_to_another_service_of_this_machine_is_refused(server: Server) -> None:
    async with site_of(policy=Policy(allowed=(server.place,))) as site:
        _, end = await polled(server, "/inside/", site)

    assert isinstance(end, Refused)
    assert end.reason == "forbidden_address"


async def test_a_limit_is_not_connected_and_loses_nothing(server: Server) -> None:
    async with site_of(lambda: server.write(rss("b", "a"), "feed.xml")) as site:
        found, end = await polled(server, "/limited/feed.xml", site)
        assert (found, getattr(end, "reason", None)) == ([], "http_429")
    async with site_of(position=site.position) as again:
        assert (await polled(server, "/feed.xml", again))[0] == ["b"]
