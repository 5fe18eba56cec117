"""A real nginx between a poll and its files: validators, compression, redirects, limits."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.base.contract import NotConnected, Received, Refused
from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp
from tests.unit.connectors.poll.api import HERE, Scripted, config, polled

PROGRAM = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="nginx is not installed: apt-get install nginx-light")
CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{}}
http {{
    access_log {folder}/access.log; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
    fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    types {{ application/json json; }}
    gzip on; gzip_types application/json; gzip_min_length 1;
    limit_req_zone $binary_remote_addr zone=all:1m rate=1r/m;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/files;
        location /moved/ {{ return 301 /list.json; }}
        location /inside/ {{ return 302 http://127.0.0.1:1/; }}
        location /limited/ {{ limit_req zone=all; limit_req_status 429; alias {folder}/files/; }}
        location /secret/ {{ return 401; }}
    }}
}}
"""


class Server:
    """An nginx of a test."""

    def __init__(self, folder: Path, configuration: str = CONFIGURATION) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.place = f"127.0.0.1:{self.port}"
        (folder / "files").mkdir()
        self.write('[{"id": 1}]')
        (folder / "nginx.conf").write_text(configuration.format(folder=folder, port=self.port))
        assert PROGRAM is not None
        words = [PROGRAM, "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", str(folder / "error.log")]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < until, "nginx does not answer"
                time.sleep(0.02)

    def write(self, text: str, name: str = "list.json") -> None:
        path = self.folder / "files" / name
        path.write_text(text)
        os.utime(path, (1_780_000_000 + len(text), 1_780_000_000 + len(text)))

    def statuses(self) -> list[int]:
        """The status of each request. nginx ends for that: a line may be written after its answer."""
        self.stop()
        return [int(line.split('" ')[1].split()[0]) for line in (self.folder / "access.log").read_text().splitlines()]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.stop()


def keys(items: list[Any]) -> list[str]:
    return [str(one.key) for one in items if isinstance(one, Received)]


async def test_a_file_is_read_again_when_it_has_changed_alone(server: Server) -> None:
    async with ClientHttp(HERE) as http:
        site = Scripted(lambda: None, lambda: server.write('[{"id": 1}, {"id": 2}]'), lambda: None, http=http)
        items, _ = await polled(config(server.place, path="/list.json", id="id"), site)

    assert ["1", "2"] == keys(items)
    assert [200, 304, 200, 304] == server.statuses()[-4:]


async def test_a_permanent_redirect_is_followed(server: Server) -> None:
    async with ClientHttp(HERE) as http:
        items, _ = await polled(config(server.place, path="/moved/", id="id"), Scripted(http=http))

    assert ["1"] == keys(items)


async def test_a_redirect_to_another_service_of_this_machine_is_refused(server: Server) -> None:
    async with ClientHttp(Policy(allowed=(server.place,))) as http:
        _, end = await polled(config(server.place, path="/inside/"), Scripted(http=http))

    assert isinstance(end, Refused)
    assert "forbidden_address" == end.reason


@pytest.mark.parametrize(
    ("path", "error", "reason"), [("/nothing", Refused, "http_404"), ("/secret/", Refused, "unauthorized")]
)
async def test_errors_are_what_they_are(server: Server, path: str, error: type[Exception], reason: str) -> None:
    async with ClientHttp(HERE) as http:
        _, end = await polled(config(server.place, path=path), Scripted(http=http))

    assert type(end) is error
    assert reason == getattr(end, "reason", None)


async def test_a_limit_is_not_connected_and_loses_nothing(server: Server) -> None:
    async with ClientHttp(HERE) as http:
        site = Scripted(lambda: server.write('[{"id": 1}, {"id": 2}]'), http=http)
        options = config(server.place, path="/limited/list.json", id="id")
        items, end = await polled(options, site)

    assert ["1"] == keys(items)
    assert isinstance(end, NotConnected)
    assert "http_429" == end.reason
