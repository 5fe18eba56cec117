"""A Discord to connect to: the gateway, version 10, and what a bot needs of the HTTP API, on this machine.

It does what Discord is known to do: sessions with numbered dispatches that are replayed to whoever resumes, one link a
session, the budget of identifies, close codes for all that a client does wrong, histories by pages, nonces, rate limits
in headers. And what official clients cannot be made to meet: swallowed acknowledgements, op 7 and 9 at any moment, any
close code, sessions that cannot be resumed. It is proved by those clients in tests/peers/test_discord_clients.py.

Time runs `speed` times as fast as the clock: at 100, an interval of 2 s is one of 20 ms.
"""

import asyncio
import itertools
import json
import time
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from aiohttp import WSCloseCode, WSMsgType, web

TOKEN: Final = "NDIxMDAw.fake.token-of-a-bot"
BOT_ID: Final = "421000000000000000"
GUILD: Final = "700000000000000000"
CHANNEL: Final = "710000000000000000"
HEARTBEAT_SECONDS: Final = 41.25
MOST_SENT: Final = 120
MOST_BYTES: Final = 4096
_EPOCH_MS: Final = 1_420_070_400_000
_KNOWN_INTENTS: Final = sum(1 << bit for bit in (*range(17), 20, 21, 24, 25))


@dataclass(eq=False)
class Kept:
    """A session: what was dispatched in it, by numbers from 1 on."""

    id: str
    shard: tuple[int, int]
    intents: int
    dispatches: list[dict[str, Any]] = field(default_factory=list)
    link: "Link | None" = None

    @property
    def seq(self) -> int:
        return len(self.dispatches)


@dataclass(eq=False)
class Link:
    """One connection of a client."""

    number: int
    resuming: bool
    """It came to the address that is for resuming."""
    query: Mapping[str, str]
    socket: web.WebSocketResponse
    transport: asyncio.Transport
    hello_at: float = 0.0
    frames: list[dict[str, Any]] = field(default_factory=list)
    """What the client has sent."""
    beats: list[float] = field(default_factory=list)
    """Seconds from hello to each heartbeat, in the fake's time."""
    session: Kept | None = None
    closed_with: int | None = None
    """The code of the client's close frame."""
    is_over: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    deflater: Any = None

    def sent(self, op: int) -> list[Any]:
        return [frame["d"] for frame in self.frames if frame.get("op") == op]


class FakeDiscord:
    """One bot in one guild: `async with FakeDiscord() as discord`, then connect to `discord.api_url`."""

    def __init__(self, *, speed: float = 1.0, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> None:
        self.speed, self.heartbeat_seconds = speed, heartbeat_seconds
        self.token = TOKEN
        self.total, self.remaining, self.reset_after_ms, self.max_concurrency = 1000, 1000, 86_400_000, 1
        self.between_seconds = 5.0
        """Two shards of the same key that identify within this time are too fast."""
        self.identifies: list[tuple[float, tuple[int, int]]] = []
        """When, and which shard."""
        self.links: list[Link] = []
        self.sessions: dict[str, Kept] = {}
        self.acks = True
        self.says_hello = True
        self.allowed_intents = _KNOWN_INTENTS
        self.at_resume: deque[str | int] = deque()
        """What becomes of the next Resumes, instead of a replay: op9, op9_resumable, op7, abort, or a close code."""
        self.at_identify: deque[str | int] = deque()
        """The same for Identify."""
        self.refusals: deque[tuple[int, dict[str, str], Any]] = deque()
        """Answers to the next HTTP requests, whatever they ask for: status, headers and body."""
        self.buckets: dict[str, tuple[str, int, float]] = {}
        """Limits by forms such as `POST /channels/messages`: the bucket, its limit and its seconds."""
        self.channels: dict[str, list[dict[str, Any]]] = {CHANNEL: []}
        self.reactions: list[tuple[str, str, str]] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.edits: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, Mapping[str, str]]] = []
        self.problems: list[str] = []
        """What clients have done wrong."""
        self._nonces: dict[str, dict[str, Any]] = {}
        self._used: dict[tuple[str, str], tuple[int, float]] = {}
        self._numbers = itertools.count(1)
        self._last_ms = 0
        self._runner: web.AppRunner | None = None
        self._port = 0

    # ---- for tests ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=1 << 20)
        api = "/api/v10"
        routes: list[tuple[str, str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]] = [
            ("GET", "/gateway", "GET /gateway", self._gateway),
            ("GET", "/gateway/bot", "GET /gateway/bot", self._gateway),
            ("GET", "/users/@me", "GET /users/@me", self._me),
            ("GET", "/oauth2/applications/@me", "GET /oauth2/applications/@me", self._application),
            ("GET", "/applications/@me", "GET /applications/@me", self._application),
            ("GET", "/channels/{channel}", "GET /channels", self._channel),
            ("GET", "/channels/{channel}/messages", "GET /channels/messages", self._history),
            ("POST", "/channels/{channel}/messages", "POST /channels/messages", self._post),
            (
                "PUT",
                "/channels/{channel}/messages/{message}/reactions/{emoji}/@me",
                "PUT /channels/messages/reactions",
                self._react,
            ),
            ("POST", "/interactions/{interaction}/{secret}/callback", "POST /interactions/callback", self._answer),
            ("PATCH", "/webhooks/{application}/{secret}/messages/@original", "PATCH /webhooks/messages", self._edit),
        ]
        for method, path, form, handler in routes:
            application.router.add_route(method, f"{api}{path}", self._limited(form, handler))
        application.router.add_get("/gateway", self._connected)
        application.router.add_get("/resume", self._connected)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        for link in self.links:
            if not link.is_over:
                link.transport.abort()
        await self._runner.cleanup()

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/api/v10"

    @property
    def gateway_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/gateway"

    @property
    def resume_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/resume"

    @property
    def open_links(self) -> list[Link]:
        return [link for link in self.links if not link.is_over]

    def now(self) -> float:
        return time.monotonic() * self.speed

    def snowflake(self) -> str:
        """Return a new id, greater than all before it."""
        self._last_ms = max(self._last_ms + 1, int(time.time() * 1000) - _EPOCH_MS)
        return str(self._last_ms << 22)

    async def say(self, content: str, *, channel: str = CHANNEL, author: str = "900", nonce: str | None = None) -> str:
        """Put a message into a channel, dispatch it, and return its id."""
        message = self._message(content, channel=channel, author=author, nonce=nonce)
        member: dict[str, Any] = {"roles": [], "joined_at": "2020-01-01T00:00:00+00:00", "deaf": False, "mute": False}
        await self.dispatch("MESSAGE_CREATE", {**message, "guild_id": GUILD, "member": {**member, "flags": 0}})
        return str(message["id"])

    async def dispatch(self, name: str, data: Any) -> None:
        """Tell all sessions, connected or not."""
        for session in list(self.sessions.values()):
            payload = {"op": 0, "t": name, "s": session.seq + 1, "d": data}
            session.dispatches.append(payload)
            if session.link is not None:
                await self._send(session.link, payload)

    async def send(self, payload: Mapping[str, Any]) -> None:
        """Send a payload over all links, such as op 1, 7 or 9."""
        for link in self.open_links:
            await self._send(link, payload)

    async def send_raw(self, text: str) -> None:
        for link in self.open_links:
            await link.socket.send_str(text)

    async def close(self, code: int) -> None:
        """Close all links with a code."""
        for link in self.open_links:
            await self._close(link, code)

    async def closed(self, link: Link) -> int | None:
        """Return the code with which the client has closed a link, once it is over."""
        async with asyncio.timeout(10):
            await link.ended.wait()
        return link.closed_with

    def abort(self) -> None:
        """Break all links without a close frame."""
        for link in self.open_links:
            self._let_go(link)
            link.transport.abort()

    def forget(self) -> None:
        """End all sessions: they have timed out."""
        self.sessions.clear()

    # ---- the gateway -------------------------------------------------------------------------------------------------

    async def _connected(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=1 << 20, autoping=True)
        await socket.prepare(request)
        assert isinstance(request.transport, asyncio.Transport)
        link = Link(
            number=next(self._numbers),
            resuming=request.path == "/resume",
            query=dict(request.query),
            socket=socket,
            transport=request.transport,
        )
        if request.query.get("compress") == "zlib-stream":
            link.deflater = zlib.compressobj()
        self.links.append(link)
        if request.query.get("v") != "10":
            await self._close(link, 4012)
            return socket
        if self.says_hello:
            link.hello_at = self.now()
            await self._send(link, {"op": 10, "d": {"heartbeat_interval": int(self.heartbeat_seconds * 1000)}})
        try:
            await self._serve(link)
        finally:
            link.is_over = True
            link.ended.set()
            self._let_go(link)
        return socket

    async def _serve(self, link: Link) -> None:
        lately: deque[float] = deque()
        while not link.is_over:
            message = await link.socket.receive()
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                if message.type is WSMsgType.CLOSE:
                    link.closed_with = message.data
                    if message.data in (WSCloseCode.OK, WSCloseCode.GOING_AWAY) and link.session is not None:
                        self.sessions.pop(link.session.id, None)
                return
            lately.append(self.now())
            while lately[0] < self.now() - 60:
                lately.popleft()
            code = 4008 if len(lately) > MOST_SENT else await self._take(link, message.data)
            if code is not None:
                self.problems.append(f"link {link.number}: closed with {code}")
                await self._close(link, code)

    async def _take(self, link: Link, text: str | bytes) -> int | None:
        """Deal with one payload; return the code to close with if it is wrong."""
        if len(text if isinstance(text, bytes) else text.encode()) > MOST_BYTES:
            return 4002
        try:
            frame = json.loads(text)
        except ValueError:
            return 4002
        if not isinstance(frame, dict):
            return 4002
        link.frames.append(frame)
        match frame.get("op"):
            case 1:
                return await self._beaten(link, frame.get("d"))
            case 2:
                return await self._identified(link, frame.get("d"))
            case 6:
                return await self._resumed(link, frame.get("d"))
            case 3 | 4 | 8 | 31:
                return None if link.session is not None else 4003
        return 4001

    async def _beaten(self, link: Link, seq: Any) -> int | None:
        at = self.now() - link.hello_at
        link.beats.append(at)
        if seq is not None and (type(seq) is not int or link.session is None or seq > link.session.seq):
            # Heard once before READY or RESUMED of a session that goes on; never a number that was not told.
            self.problems.append(f"link {link.number}: a heartbeat with the number {seq!r}")
        if self.acks:
            await self._send(link, {"op": 11})
        return None

    async def _identified(self, link: Link, data: Any) -> int | None:
        if link.session is not None:
            return 4005
        if not isinstance(data, dict) or not isinstance(data.get("properties"), dict):
            return 4002
        if data.get("token") != self.token:
            return 4004
        shard = tuple(data.get("shard", (0, 1)))
        if len(shard) != 2 or not 0 <= shard[0] < shard[1]:
            return 4010
        intents = data.get("intents")
        if type(intents) is not int or intents & ~_KNOWN_INTENTS:
            return 4013
        if intents & ~self.allowed_intents:
            return 4014
        return await self._begin(link, (int(shard[0]), int(shard[1])), intents)

    async def _begin(self, link: Link, shard: tuple[int, int], intents: int) -> int | None:
        now, key = self.now(), shard[0] % self.max_concurrency
        too_soon = any(
            now - at < self.between_seconds and one[0] % self.max_concurrency == key for at, one in self.identifies
        )
        self.identifies.append((now, shard))
        self.remaining -= 1
        if self.remaining < 0:
            self.problems.append("the budget of identifies is exceeded: the token is reset")
            self.token = "another token"
            self.sessions.clear()
            await self.close(4004)
            return None
        if too_soon:
            self.problems.append(f"link {link.number}: identified within 5 s of another one")
        planned = "op9" if too_soon else self.at_identify.popleft() if self.at_identify else None
        if planned is not None:
            await self._planned(link, planned)
            return None
        session = Kept(id=f"session{next(self._numbers)}", shard=shard, intents=intents, link=link)
        self.sessions[session.id] = session
        link.session = session
        ready = {
            "v": 10,
            "user": self._user(),
            "user_settings": {},
            "guilds": [],
            "private_channels": [],
            "session_id": session.id,
            "resume_gateway_url": self.resume_url,
            "shard": list(shard),
            "application": {"id": BOT_ID, "flags": 0},
        }
        session.dispatches.append({"op": 0, "t": "READY", "s": 1, "d": ready})
        await self._send(link, session.dispatches[0])
        return None

    async def _resumed(self, link: Link, data: Any) -> int | None:
        if link.session is not None:
            return 4005
        if not isinstance(data, dict) or type(data.get("seq")) is not int:
            return 4002
        if data.get("token") != self.token:
            return 4004
        if self.at_resume:
            await self._planned(link, self.at_resume.popleft())
            return None
        session = self.sessions.get(data.get("session_id", ""))
        if session is None:
            await self._send(link, {"op": 9, "d": False})
            return None
        if data["seq"] > session.seq or data["seq"] < 0:
            self.sessions.pop(session.id)
            return 4007
        if session.link is not None:
            await self._close(session.link, 4000)
        session.link, link.session = link, session
        for payload in session.dispatches[data["seq"] :]:
            await self._send(link, payload)
        payload = {"op": 0, "t": "RESUMED", "s": session.seq + 1, "d": {"_trace": []}}
        session.dispatches.append(payload)
        await self._send(link, payload)
        return None

    async def _planned(self, link: Link, planned: str | int) -> None:
        match planned:
            case "op9":
                await self._send(link, {"op": 9, "d": False})
            case "op9_resumable":
                await self._send(link, {"op": 9, "d": True})
            case "op7":
                await self._send(link, {"op": 7, "d": None})
            case "abort":
                link.is_over = True
                link.transport.abort()
            case int():
                await self._close(link, planned)
            case _:
                raise AssertionError(planned)

    async def _send(self, link: Link, payload: Mapping[str, Any]) -> None:
        text = json.dumps(payload)
        try:
            if link.deflater is not None:
                data = link.deflater.compress(text.encode()) + link.deflater.flush(zlib.Z_SYNC_FLUSH)
                await link.socket.send_bytes(data)
            else:
                await link.socket.send_str(text)
        except ConnectionError:
            self._let_go(link)

    async def _close(self, link: Link, code: int) -> None:
        self._let_go(link)
        link.is_over = True
        await link.socket.close(code=code, drain=False)

    def _let_go(self, link: Link) -> None:
        if link.session is not None and link.session.link is link:
            link.session.link = None

    # ---- the HTTP API ------------------------------------------------------------------------------------------------

    def _limited(
        self, form: str, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.requests.append((request.method, request.path_qs, dict(request.headers)))
            if self.refusals:
                status, headers, body = self.refusals.popleft()
                return _answer_of(body, status=status, headers=headers)
            secret = "secret" in request.match_info
            if not secret and request.headers.get("Authorization") != f"Bot {self.token}":
                return _answer_of({"message": "401: Unauthorized", "code": 0}, status=401)
            headers, wait = self._counted(form, request.match_info.get("channel", ""))
            if wait > 0:
                self.problems.append(f"{form}: above the limit")
                body = {"message": "You are being rate limited.", "retry_after": wait, "global": False}
                return _answer_of(body, status=429, headers={**headers, "Retry-After": str(int(wait) + 1)})
            response = await handler(request)
            response.headers.update(headers)
            return response

        return handle

    def _counted(self, form: str, major: str) -> tuple[dict[str, str], float]:
        if form not in self.buckets:
            return {}, 0.0
        name, limit, seconds = self.buckets[form]
        now = self.now()
        used, until = self._used.get((name, major), (0, now + seconds))
        if now >= until:
            used, until = 0, now + seconds
        over = used >= limit
        self._used[name, major] = (used + (not over), until)
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(0, limit - used - 1)),
            "X-RateLimit-Reset-After": f"{until - now:.3f}",
            "X-RateLimit-Bucket": name,
        }
        return headers, until - now if over else 0.0

    async def _gateway(self, request: web.Request) -> web.Response:
        limit = {
            "total": self.total,
            "remaining": self.remaining,
            "reset_after": self.reset_after_ms,
            "max_concurrency": self.max_concurrency,
        }
        known: dict[str, Any] = {"url": self.gateway_url}
        if request.path.endswith("/bot"):
            known |= {"shards": 1, "session_start_limit": limit}
        return _answer_of(known)

    async def _me(self, _: web.Request) -> web.Response:
        return _answer_of(self._user())

    async def _application(self, _: web.Request) -> web.Response:
        owner = self._user()
        return _answer_of(
            {
                "id": BOT_ID,
                "name": "fake",
                "icon": None,
                "description": "",
                "summary": "",
                "bot_public": True,
                "bot_require_code_grant": False,
                "verify_key": "00",
                "owner": owner,
                "team": None,
                "flags": 0,
                "hook": True,
            }
        )

    async def _channel(self, request: web.Request) -> web.Response:
        channel = request.match_info["channel"]
        if channel not in self.channels:
            return _answer_of({"message": "Unknown Channel", "code": 10003}, status=404)
        return _answer_of({"id": channel, "type": 0, "guild_id": GUILD, "name": "general", "position": 0})

    async def _history(self, request: web.Request) -> web.Response:
        channel = request.match_info["channel"]
        if channel not in self.channels:
            return _answer_of({"message": "Missing Access", "code": 50001}, status=403)
        limit = int(request.query.get("limit", "50"))
        if not 1 <= limit <= 100:
            return _answer_of({"message": "Invalid Form Body", "code": 50035}, status=400)
        messages = self.channels[channel]
        if "after" in request.query:
            messages = [one for one in messages if int(one["id"]) > int(request.query["after"])][:limit]
        elif "before" in request.query:
            messages = [one for one in messages if int(one["id"]) < int(request.query["before"])][-limit:]
        else:
            messages = messages[-limit:]
        return _answer_of(messages[::-1])

    async def _post(self, request: web.Request) -> web.Response:
        channel, body = request.match_info["channel"], await request.json()
        if channel not in self.channels:
            return _answer_of({"message": "Missing Access", "code": 50001}, status=403)
        if not body.get("content") and not body.get("embeds"):
            return _answer_of({"message": "Cannot send an empty message", "code": 50006}, status=400)
        nonce = body.get("nonce")
        if nonce is not None and len(str(nonce)) > 25:
            return _answer_of({"message": "Invalid Form Body", "code": 50035}, status=400)
        if body.get("enforce_nonce") and nonce in self._nonces:
            return _answer_of(self._nonces[nonce])
        message_id = await self.say(body.get("content") or "", channel=channel, author=BOT_ID, nonce=nonce)
        message = next(one for one in reversed(self.channels[channel]) if one["id"] == message_id)
        message["embeds"] = body.get("embeds", [])
        if "message_reference" in body:
            message["message_reference"] = body["message_reference"]
        if nonce is not None:
            self._nonces[nonce] = message
        return _answer_of(message)

    async def _react(self, request: web.Request) -> web.Response:
        one = (request.match_info["channel"], request.match_info["message"], request.match_info["emoji"])
        if one not in self.reactions:
            self.reactions.append(one)
        return web.Response(status=204)

    async def _answer(self, request: web.Request) -> web.Response:
        interaction = request.match_info["interaction"]
        if interaction in self.answers:
            return _answer_of({"message": "Interaction has already been acknowledged.", "code": 40060}, status=400)
        self.answers[interaction] = await request.json()
        return web.Response(status=204)

    async def _edit(self, request: web.Request) -> web.Response:
        self.edits.append(await request.json())
        return _answer_of({"id": "1", "content": self.edits[-1].get("content")})

    def _message(self, content: str, *, channel: str, author: str, nonce: str | None) -> dict[str, Any]:
        message_id = self.snowflake()
        seconds = ((int(message_id) >> 22) + _EPOCH_MS) / 1000
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        message: dict[str, Any] = {
            "id": message_id,
            "type": 0,
            "channel_id": channel,
            "content": content,
            "author": {**self._user(), "id": author, "username": f"user{author}", "bot": author == BOT_ID},
            "timestamp": f"{stamp}+00:00",
            "edited_timestamp": None,
            "tts": False,
            "mention_everyone": False,
            "mentions": [],
            "mention_roles": [],
            "attachments": [],
            "embeds": [],
            "components": [],
            "pinned": False,
            "flags": 0,
        }
        if nonce is not None:
            message["nonce"] = nonce
        self.channels.setdefault(channel, []).append(message)
        return message

    def _user(self) -> dict[str, Any]:
        return {
            "id": BOT_ID,
            "username": "fake",
            "discriminator": "0",
            "global_name": None,
            "avatar": None,
            "bot": True,
            "mfa_enabled": False,
            "verified": True,
            "email": None,
            "locale": "en-US",
            "flags": 0,
            "public_flags": 0,
        }


def _answer_of(data: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON as Discord sends it: without a charset, which discord.py insists on."""
    body = json.dumps(data).encode()
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")
