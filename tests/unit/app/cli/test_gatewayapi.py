import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from app.cli.gatewayapi import Gateway, GatewayRefused, NoGateway
from app.settings import Settings

Serve = Callable[[int, bytes], Settings]


class Server(HTTPServer):
    answer: tuple[int, bytes] = (200, b"{}")
    asked: list[tuple[str, str | None]]
    posted: list[tuple[str, str | None, str | None]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Authorization"]))
        status, body = self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        given = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.posted.append((given, self.headers["Content-Type"], self.headers["Idempotency-Key"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as made:
        made.asked, made.posted = [], []
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def gateway(server: Server, **overrides: object) -> Gateway:
    url = f"http://127.0.0.1:{server.server_port}"
    return Gateway(Settings.load({"gateway.url": url} | overrides, environ={}))


def test_it_asks_with_the_token_and_only_what_is_given(server: Server) -> None:
    server.answer = (200, b'{"runs":[]}')
    token = {"gateway.token": "a-long-token"}
    assert gateway(server, **token).get("/api/v1/runs", {"key": "a b", "status": None}) == {"runs": []}
    assert server.asked == [("/api/v1/runs?key=a+b", "Bearer a-long-token")]


def test_what_is_posted_is_json_and_its_answer_comes_with_its_status(server: Server) -> None:
    server.answer = (202, b'{"run_id":"w:1"}')
    headers = {"Idempotency-Key": "k"}
    assert gateway(server).post("/call?wait=0", {"a": 1}, headers=headers) == (202, {"run_id": "w:1"})
    assert server.asked == [("/call?wait=0", "Bearer test-token")]
    assert server.posted == [('{"a":1}', "application/json", "k")]


def test_on_this_machine_the_token_of_development_is_tried(server: Server) -> None:
    gateway(server).get("/readyz")
    assert server.asked == [("/readyz", "Bearer test-token")]


def test_another_machine_is_never_shown_that_token() -> None:
    settings = Settings.load({"gateway.url": "http://gateway.example:8080"}, environ={})
    assert Gateway(settings)._token is None


def test_a_proxy_for_the_internet_is_not_asked_for_this_machine(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert gateway(server).get("/readyz") == {}


def test_where_nobody_listens_there_is_no_gateway(server: Server) -> None:
    missing = gateway(server, **{"gateway.url": "http://127.0.0.1:1"})
    with pytest.raises(NoGateway, match=r"No gateway answers at http://127\.0\.0\.1:1 \(Connection refused\)"):
        missing.get("/readyz")


@pytest.mark.parametrize("answer", [(200, b"<html>"), (404, b"not found"), (200, b"[]"), (404, b'{"detail":"x"}')])
def test_something_else_on_the_port_is_no_gateway(server: Server, answer: tuple[int, bytes]) -> None:
    server.answer = answer
    with pytest.raises(NoGateway, match="something else answers there"):
        gateway(server).get("/api/v1/runs")


def test_a_refusal_is_told_in_the_gateways_words(server: Server) -> None:
    server.answer = (404, b'{"error":{"code":"not_found","message":"There is no run x.","remedy":"List them."}}')
    with pytest.raises(GatewayRefused, match=r"^There is no run x\. List them\.$") as raised:
        gateway(server).get("/api/v1/runs/x")
    assert (raised.value.status, raised.value.exit_code) == (404, 1)


def test_a_refused_token_says_which_setting_it_is(server: Server) -> None:
    server.answer = (401, b'{"error":{"code":"unauthorized","message":"No.","remedy":""}}')
    with pytest.raises(GatewayRefused, match=r"refuses the token\. Set HEADGATE_GATEWAY_TOKEN"):
        gateway(server).get("/api/v1/runs")
