"""A Slack to connect to: Socket Mode and a little of the Web API, on this machine.

It does what Slack is known to do: single-use addresses, `hello`, one envelope to one of up to ten sockets, what is not
acknowledged on its socket comes again under another envelope id, `disconnect` frames after which the old socket still
delivers. And what official clients cannot be made to meet: frozen sockets, refused tokens, limits. It is proved by
those clients in tests/peers/test_slack_clients.py. Time runs by `scale`: 0.1 makes 3 s of Slack's 0.3 s.
"""

import asyncio
import itertools
import json
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from aiohttp import WSCloseCode, WSMsgType, web

ACKNOWLEDGE_SECONDS: Final = 3.0
WARNING_SECONDS: Final = 10.0
"""From a `disconnect` frame to the end of the socket."""
PING_SECONDS: Final = 5.0
RETRIES: Final = 3
MOST_SOCKETS: Final = 10
APP_TOKEN: Final = "xapp-1-A1-token"
BOT_TOKEN: Final = "xoxb-1-token"


@dataclass(eq=False)
class Told:
    """Something that Slack has to tell, and how far it is."""

    kind: str
    payload: dict[str, Any]
    attempt: int = 0
    envelope_id: str = ""
    timer: asyncio.TimerHandle | None = None


@dataclass(eq=False)
class Link:
    """One socket of a client."""

    number: int
    socket: web.WebSocketResponse
    open: dict[str, Told] = field(default_factory=dict)
    thawed: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared: it neither reads nor writes, as a link whose other end has gone."""
    pings: int = 0
    frames: list[Any] = field(default_factory=list)
    """What the client has sent, read as JSON."""


class FakeSlack:
    """One app in one workspace: `async with FakeSlack() as slack`, then connect to `slack.api_url`."""

    def __init__(self, *, scale: float = 1.0) -> None:
        self._scale = scale
        self._runner: web.AppRunner | None = None
        self._numbers = itertools.count(1)
        self._turn = itertools.count()
        self._tickets: set[str] = set()
        self._waiting: deque[Told] = deque()
        self._timers: set[asyncio.TimerHandle] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: dict[str, deque[tuple[int, Mapping[str, Any], Mapping[str, str]]]] = {}
        self.base_url = ""
        self.app_token, self.bot_token = APP_TOKEN, BOT_TOKEN
        self.redelivers = True
        """Whether it repeats what is not acknowledged in time; without it a slow machine repeats nothing by chance."""
        self.retries = RETRIES
        self.says_hello = True
        self.links: list[Link] = []
        """The sockets that are open, in the order in which they came."""
        self.sockets_opened = 0
        self.asked: Counter[str] = Counter()
        self.requests: list[tuple[str, Mapping[str, str], Any]] = []
        """Method, headers and body of everything that was asked of the Web API."""
        self.delivered: list[tuple[str, str, int, int]] = []
        """Event id, envelope id, attempt and number of the socket, for each envelope that was sent."""
        self.acknowledged: list[str] = []
        """Event ids, in the order of their acknowledgements."""
        self.given_up: list[str] = []
        self.messages: list[dict[str, Any]] = []
        self.views: list[dict[str, Any]] = []
        self.answers: list[tuple[str, dict[str, Any]]] = []
        self.triggers: set[str] = set()

    @property
    def api_url(self) -> str:
        return f"{self.base_url}/api/"

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post("/api/{method}", self._method)
        application.router.add_get("/link/", self._link)
        application.router.add_post("/hooks/{name}", self._hook)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.base_url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for timer in self._timers:
            timer.cancel()
        for link in list(self.links):
            link.thawed.set()
            _cut(link)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert self._runner is not None
        await self._runner.cleanup()

    # ---- what a test makes Slack do ----------------------------------------------------------------------------------

    def tell(self, event: Mapping[str, Any], *, event_id: str) -> None:
        """An event of the Events API."""
        payload = {
            "token": "verification-token",
            "team_id": "T1",
            "api_app_id": "A1",
            "event": dict(event),
            "type": "event_callback",
            "event_id": event_id,
            "event_time": 1_780_000_000,
            "authorizations": [{"team_id": "T1", "user_id": "U0", "is_bot": True}],
        }
        self.deliver("events_api", payload)

    def message(self, text: str, *, event_id: str, channel: str = "C1") -> None:
        """A message in a channel."""
        self.tell({"type": "message", "channel": channel, "user": "U1", "text": text, "ts": "1.2"}, event_id=event_id)

    def command(self, command: str, text: str, *, trigger_id: str) -> None:
        """A slash command."""
        self.triggers.add(trigger_id)
        payload = {
            "token": "verification-token",
            "team_id": "T1",
            "channel_id": "C1",
            "user_id": "U1",
            "command": command,
            "text": text,
            "response_url": f"{self.base_url}/hooks/{trigger_id}",
            "trigger_id": trigger_id,
        }
        self.deliver("slash_commands", payload)

    def click(self, action_id: str, *, trigger_id: str) -> None:
        """A button in a message."""
        self.triggers.add(trigger_id)
        payload = {
            "type": "block_actions",
            "token": "verification-token",
            "team": {"id": "T1"},
            "user": {"id": "U1"},
            "channel": {"id": "C1", "name": "general"},
            "container": {"type": "message", "channel_id": "C1"},
            "actions": [{"action_id": action_id, "type": "button", "action_ts": "1780000000.000100"}],
            "response_url": f"{self.base_url}/hooks/{trigger_id}",
            "trigger_id": trigger_id,
        }
        self.deliver("interactive", payload)

    def deliver(self, kind: str, payload: dict[str, Any], *, to: Link | None = None) -> None:
        """Send an envelope to one socket, in turn or the one that is named; without any, to the next one there is."""
        self._send(Told(kind=kind, payload=payload), to)

    def disconnect(self, link: Link, reason: str, *, seconds: float = WARNING_SECONDS) -> None:
        """Send a `disconnect` frame, and close the socket some (scaled) seconds later."""
        self._frame(link, {"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-1"}})
        self._later(seconds, lambda: self._spawn(self.close(link)))

    async def close(self, link: Link, code: int = WSCloseCode.OK) -> None:
        """Close a socket as Slack does at its end, after what is on its way."""
        await asyncio.gather(*(self._tasks - {asyncio.current_task()}))
        await link.socket.close(code=code)

    def freeze(self, link: Link) -> None:
        """Let a socket be open and dead: nothing is read from it, nothing is written."""
        link.thawed.clear()

    def cut(self, link: Link) -> None:
        """Break a socket's connection without a word."""
        _cut(link)

    def raw(self, link: Link, text: str) -> None:
        """Send any text as a frame."""
        self._spawn(link.socket.send_str(text))

    def answer_next(
        self, method: str, *, status: int = 200, body: Mapping[str, Any] | None = None, **headers: str
    ) -> None:
        """Let the next call of a method be answered like that; `Retry_After="2"` is a header."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._answers.setdefault(method, deque()).append((status, body or {}, named))

    def limit(self, method: str, *, retry_after_seconds: float) -> None:
        """Let the next call of a method be one too many."""
        body = {"ok": False, "error": "ratelimited"}
        self.answer_next(method, status=429, body=body, Retry_After=f"{retry_after_seconds:g}")

    # ---- sockets -----------------------------------------------------------------------------------------------------

    async def _link(self, request: web.Request) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            raise web.HTTPNotFound(text="this address was used before")
        self._tickets.remove(ticket)
        socket = web.WebSocketResponse(autoping=False, timeout=1.0)
        await socket.prepare(request)
        self.sockets_opened += 1
        link = Link(number=self.sockets_opened, socket=socket)
        link.thawed.set()
        if len(self.links) >= MOST_SOCKETS:
            await socket.send_json({"type": "disconnect", "reason": "too_many_websockets"})
            await socket.close()
            return socket
        self.links.append(link)
        try:
            if self.says_hello:
                await socket.send_json(
                    {
                        "type": "hello",
                        "num_connections": len(self.links),
                        "connection_info": {"app_id": "A1"},
                        "debug_info": {"host": "applink-1", "approximate_connection_time": 18_060},
                    }
                )
            self._later(PING_SECONDS, lambda: self._ping(link))
            while self._waiting and self._next() is not None:
                self._send(self._waiting.popleft(), None)
            async for message in socket:
                await link.thawed.wait()
                if message.type is WSMsgType.PING:
                    link.pings += 1
                    await socket.pong(message.data)
                elif message.type is WSMsgType.TEXT:
                    self._received(link, message.data)
        finally:
            self.links.remove(link)
            for told in link.open.values():
                self._again(told)
        return socket

    def _received(self, link: Link, text: str) -> None:
        frame = json.loads(text)
        link.frames.append(frame)
        told = link.open.pop(frame.get("envelope_id"), None)
        if told is not None:
            self._stop(told.timer)
            self.acknowledged.append(_name(told.payload, told.envelope_id))

    def _send(self, told: Told, to: Link | None) -> None:
        link = to or self._next()
        if link is None:
            self._waiting.append(told)
            return
        told.envelope_id = f"envelope-{next(self._numbers)}"
        link.open[told.envelope_id] = told
        envelope: dict[str, Any] = {
            "envelope_id": told.envelope_id,
            "type": told.kind,
            "payload": told.payload,
            "accepts_response_payload": told.kind != "events_api",
        }
        if told.kind == "events_api":
            envelope |= {"retry_attempt": told.attempt, "retry_reason": "timeout" if told.attempt else ""}
        name = _name(told.payload, told.envelope_id)
        self.delivered.append((name, told.envelope_id, told.attempt, link.number))
        if self.redelivers:
            told.timer = self._later(ACKNOWLEDGE_SECONDS, lambda: self._overdue(link, told))
        self._frame(link, envelope)

    def _overdue(self, link: Link, told: Told) -> None:
        if link.open.pop(told.envelope_id, None) is not None:
            self._again(told)

    def _again(self, told: Told) -> None:
        self._stop(told.timer)
        if not self.redelivers or told.attempt >= self.retries:
            self.given_up.append(_name(told.payload, told.envelope_id))
            return
        told.attempt += 1
        self._send(told, None)

    def _next(self) -> Link | None:
        """Those that will be closed still get their turn, and those that are dead without its knowledge."""
        ready = [link for link in self.links if not link.socket.closed]
        return ready[next(self._turn) % len(ready)] if ready else None

    def _ping(self, link: Link) -> None:
        if link.socket.closed:
            return
        if link.thawed.is_set():
            self._spawn(link.socket.ping(b"Ping from applink-1"))
        self._later(PING_SECONDS, lambda: self._ping(link))

    def _frame(self, link: Link, frame: Mapping[str, Any]) -> None:
        if link.thawed.is_set():
            self._spawn(link.socket.send_json(frame))

    # ---- the Web API -------------------------------------------------------------------------------------------------

    async def _method(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        raw = await request.text()
        body: Any = raw
        if request.content_type == "application/json":
            body = json.loads(raw or "{}")
        elif raw:
            body = dict(await request.post())
        self.asked[method] += 1
        self.requests.append((method, dict(request.headers), body))
        prepared = self._answers.get(method)
        if prepared:
            status, said, headers = prepared.popleft()
            return web.json_response(said, status=status, headers=headers)
        asked = body if isinstance(body, dict) else {}
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return web.json_response(self._answer(method, token, asked))

    def _answer(self, method: str, token: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        if not token or "token" in asked:
            return {"ok": False, "error": "not_authed" if not token else "invalid_arguments"}
        if method == "apps.connections.open":
            if token != self.app_token:
                wrong_kind = token.startswith("xoxb-")
                return {"ok": False, "error": "not_allowed_token_type" if wrong_kind else "invalid_auth"}
            ticket = f"ticket-{next(self._numbers)}"
            self._tickets.add(ticket)
            base = self.base_url.replace("http://", "ws://")
            return {"ok": True, "url": f"{base}/link/?ticket={ticket}&app_id=A1"}
        if token != self.bot_token:
            return {"ok": False, "error": "not_allowed_token_type" if token.startswith("xapp-") else "invalid_auth"}
        if method == "chat.postMessage":
            return self._post_message(asked)
        if method == "chat.update":
            found = next((one for one in self.messages if one["ts"] == asked.get("ts")), None)
            if found is None:
                return {"ok": False, "error": "message_not_found"}
            found["text"] = asked.get("text", "")
            return {"ok": True, "channel": asked.get("channel"), "ts": found["ts"], "text": found["text"]}
        if method == "views.open":
            trigger = asked.get("trigger_id")
            if trigger not in self.triggers:
                return {"ok": False, "error": "exchanged_trigger_id"}
            self.triggers.remove(trigger)
            self.views.append(dict(asked["view"]))
            return {"ok": True, "view": {"id": f"V{len(self.views)}"}}
        return {"ok": False, "error": "unknown_method"}

    def _post_message(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        if not asked.get("channel"):
            return {"ok": False, "error": "channel_not_found"}
        name = asked.get("client_msg_id")
        known = next((one for one in self.messages if name and one.get("client_msg_id") == name), None)
        if known is None:
            known = {**asked, "ts": f"1780000000.{len(self.messages) + 1:06}"}
            self.messages.append(known)
        return {"ok": True, "channel": asked["channel"], "ts": known["ts"], "message": {"text": asked.get("text")}}

    async def _hook(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        self.asked["response_url"] += 1
        prepared = self._answers.get("response_url")
        if prepared:
            status, said, headers = prepared.popleft()
            return web.json_response(said, status=status, headers=headers)
        self.answers.append((name, await request.json()))
        return web.Response(text="ok")

    # ---- time --------------------------------------------------------------------------------------------------------

    def _later(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        def run() -> None:
            self._timers.discard(timer)
            call()

        timer = asyncio.get_running_loop().call_later(seconds * self._scale, run)
        self._timers.add(timer)
        return timer

    def _stop(self, timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()
            self._timers.discard(timer)

    def _spawn(self, coroutine: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(_quietly(coroutine))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _quietly(coroutine: Awaitable[Any]) -> None:
    """Send to whoever may be gone by now."""
    try:
        await coroutine
    except (ConnectionError, RuntimeError):
        pass


def _cut(link: Link) -> None:
    writer = link.socket._req
    transport = None if writer is None else writer.transport
    if transport is not None:
        transport.abort()


def _name(payload: Mapping[str, Any], envelope_id: str) -> str:
    return str(payload.get("event_id") or payload.get("trigger_id") or envelope_id)
