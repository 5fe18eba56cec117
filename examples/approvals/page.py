"""A page of what waits for a decision, on http://127.0.0.1:8090. It asks the gateway, and keeps nothing itself.

python examples/approvals/page.py [--port 8090] [--gateway http://127.0.0.1:8080] [--token test-token]

For this machine alone: whoever may open it may decide.
"""

import argparse
import json
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote
from urllib.request import Request, urlopen

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Expenses to decide</title>
<style>
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; color: #222 }}
  h1 {{ font-size: 1.5rem }}
  article {{ border: 1px solid #ddd; border-radius: 8px; padding: 1rem 1.25rem; margin: 1rem 0 }}
  h2 {{ font-size: 1.1rem; margin: 0 }}
  p {{ margin: .25rem 0 .75rem; color: #666; font-size: .9rem }}
  form {{ display: flex; flex-wrap: wrap; gap: .5rem }}
  input {{ flex: 1 1 10rem; min-width: 0; font: inherit; padding: .3rem .6rem }}
  input {{ border: 1px solid #bbb; border-radius: 6px }}
  button {{ font: inherit; padding: .3rem 1rem; border-radius: 6px; border: 1px solid #bbb; background: #fff }}
  button[value=yes] {{ background: #1a7f45; border-color: #1a7f45; color: #fff }}
</style>
<h1>Expenses to decide</h1>
{waiting}
</html>
"""
WAITS = """<article>
  <h2>{by}: {what}, {amount:.2f}</h2>
  <p>waits since {since} until {until}</p>
  <form method="post">
    <input type="hidden" name="run" value="{run}">
    <input name="why" placeholder="a word, if you refuse" aria-label="why, if you refuse">
    <button name="approved" value="no">Refuse</button>
    <button name="approved" value="yes">Approve</button>
  </form>
</article>
"""
NOTHING = "<p>Nothing waits for you.</p>"
STEP = "decision"


class Gateway:
    """What the page asks of Headgate's gateway (docs/reference/http.md)."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/") + "/api/v1"
        self._token = token

    def waiting(self) -> list[dict[str, Any]]:
        """Return what waits for a decision, newest first: the fact `step_waiting` of each run."""
        found = []
        for run in self._ask("/runs?workflow=expenses&limit=100")["runs"]:
            if run["finished_at"] is None:
                facts = self._ask(f"/runs/{quote(run['run_id'], safe='')}")["facts"]
                mine = [one for one in facts if one.get("step") == STEP]
                if mine and mine[-1]["fact"] == "step_waiting":
                    found.append(mine[-1])
        return found

    def decide(self, run_id: str, decision: dict[str, Any]) -> None:
        """Resume the run. The first decision counts; a second click is none."""
        self._ask(f"/runs/{quote(run_id, safe='')}/resume/{STEP}", json.dumps(decision).encode())

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        with urlopen(Request(self._url + path, body, headers), timeout=30) as answer:
            return json.load(answer)


def rendered(waiting: list[dict[str, Any]]) -> str:
    """Return the page."""
    cards = [
        WAITS.format(
            by=escape(one["data"]["by"]),
            what=escape(one["data"]["what"]),
            amount=one["data"]["amount"],
            since=one["since"][:16].replace("T", " "),
            until=one["until"][:16].replace("T", " "),
            run=escape(one["run_id"], quote=True),
        )
        for one in waiting
    ]
    return PAGE.format(waiting="".join(cards) or NOTHING)


def handler(gateway: Gateway) -> type[BaseHTTPRequestHandler]:
    """Return the handler of requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = rendered(gateway.waiting()).encode()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            if self.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
                self.send_error(HTTPStatus.FORBIDDEN, "Decide on the page itself.")  # a form on somebody else's page
                return
            given = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            approved = given["approved"] == ["yes"]
            why = given.get("why", ["no reason given"])[0]
            gateway.decide(given["run"][0], {"approved": approved} | ({} if approved else {"why": why}))
            self.send_response(HTTPStatus.SEE_OTHER)
            self.send_header("Location", "/")
            self.end_headers()

    return Handler


def main() -> None:
    """Serve the page until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A page of expenses that wait for a decision.")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--gateway", default="http://127.0.0.1:8080")
    parser.add_argument("--token", default="test-token", help="that of `headgate dev` unless given")
    given = parser.parse_args()
    with ThreadingHTTPServer(("127.0.0.1", given.port), handler(Gateway(given.gateway, given.token))) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
