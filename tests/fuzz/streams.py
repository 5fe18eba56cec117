"""What comes over links that stay open: event streams, WebSockets, frames of Slack and Discord."""

from typing import Any, Final

import orjson

from connectors import discord, http_stream, slack, websocket
from connectors.base.contract import UNMOVED, Closed, Connection, NotConnected, Received, Refused, Unreadable
from connectors.base.texts.filters import Filter
from connectors.base.texts.templates import MISSING
from connectors.discord import backfill, events, frames, session, snowflakes
from connectors.discord.budget import Allowance, Starts, closed_for_seconds, turn_in_seconds
from connectors.discord.place import Place
from connectors.discord.reader import address_of
from connectors.slack import frames as slack_frames
from connectors.slack.links import Arrived
from connectors.websocket import messages, places
from connectors.websocket.source import _matches
from tests.fuzz.mutation import Mutator
from tests.fuzz.standing import NOW, Answering, FuzzSite, outcome, read_out
from tests.fuzz.targets import Target, at_once, landed, named
from tests.unit.connectors.http_stream import reference

# ---- server-sent events ----------------------------------------------------------------------------------------------

STREAMS: Final = (
    b': welcome\n\nid: 1\nevent: add\ndata: {"n": 1}\n\nid: 2\ndata: two\ndata: lines\n\n',
    b"retry: 1500\r\ndata: YHOO\r\ndata: +2\r\ndata: 10\r\n\r\n",
    b"\xef\xbb\xbfid: 7\rdata: a\r\rid\rdata: b\r\r",
    "event: grüße\nid: 你好\ndata: 😀\u2028x\n\n".encode(),
    b"data\n\ndata\ndata\n\ndata:\n\n:\nid: x\x00y\ndata: z\n\n",
)
STREAM_WORDS: Final = (
    *(
        b"data",
        b"data:",
        b"data: ",
        b"event: ",
        b"id: ",
        b"id",
        b"retry: ",
        b"retry: 5\n",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
    ),
    *(
        b"\xef\xbb\xbf",
        b":",
        b" ",
        b"\0",
        b"\xff",
        b"\xc3",
        b"9" * 20,
        b"007",
        "\u2028".encode(),
        b"{}",
        b"[1]",
        b"x" * 400,
    ),
)


def stream(draw: Mutator) -> tuple[list[bytes], str, int]:
    data = draw.pick(("auto", "auto", "json", "text"))
    return draw.pieces(draw.raw(STREAMS, STREAM_WORDS, most=6)), data, draw.pick((1, 30, 300, 1024 * 1024))


def check_stream(given: tuple[list[bytes], str, int]) -> str:
    chunks, data, most = given
    whole = b"".join(chunks)
    told = reference.read(whole)
    if told[1] is None or told[1] <= 10**12:
        assert reference.ours(chunks) == told == reference.ours([whole])
    config = http_stream.Config.model_validate({"url": "http://a.example/", "data": data, "max_event_bytes": most})
    http = Answering((200, {"Content-Type": "text/event-stream"}, chunks))
    return outcome(*read_out(http_stream.Source(config, FuzzSite(http))))


# ---- WebSocket -------------------------------------------------------------------------------------------------------

TICKS: Final[tuple[Any, ...]] = (
    {"type": "trade", "id": "t-1", "data": {"id": 7, "price": 12.5, "seq": 9}},
    {"event": "subscribed", "result": None, "channel": ["a", "b"]},
    {"type": 7, "event": "x", "data": [{"id": "q"}, {"id": 2}]},
    [{"type": "a"}, 1, "text"],
    "hello",
)
POINTERS: Final = ("", "/id", "/data/id", "/data/0/id", "/type", "/a~1b", "/a~0b", "/data/", "/-", "/0", "/data/seq")
WEBSOCKETS: Final = tuple(
    websocket.Config.model_validate({"url": "wss://a.example/", **options})
    for options in (
        {},
        {"form": "json", "binary": "raw", "id_pointer": "/id", "type_pointer": "/type"},
        {"form": "text", "type_pointer": "/event", "resume": {"pointer": "/data/seq", "query": "from"}},
        {"form": "base64", "id_pointer": ""},
        {
            "id_pointer": "/data/id",
            "ack": {"ack": "{{ data.id }}", "of": ["{{ type }}", "a {{ data.data }} b", "{{ id }}"]},
        },
        {
            "ping": {"message": "ping", "pong": {"type": "pong", "data.price": {"gt": 1}, "data": {"contains": "x"}}},
            "resume": {"pointer": "/data"},
            "subscribe": [{"message": {"op": "sub", "since": "{{ position }}"}, "answer": {"data.price": {"lte": 3}}}],
        },
    )
)


class Wire:
    """A connection over which a few messages come."""

    received_bytes = 1

    def __init__(self, incoming: list[str | bytes], end: NotConnected) -> None:
        self._incoming, self._end = list(incoming), end
        self.sent: list[str | bytes] = []

    async def receive(self) -> str | bytes:
        if not self._incoming:
            raise self._end
        return self._incoming.pop(0)

    async def send(self, message: str | bytes) -> None:
        assert isinstance(message, str | bytes)
        self.sent.append(message)

    async def ping(self) -> None:
        pass

    async def close(self, code: int = 1000) -> None:
        pass


def tick(draw: Mutator) -> tuple[int, str | bytes, int]:
    made = draw.json(TICKS)
    try:
        message: str | bytes = made if draw.happens(0.3) else made.decode()
    except UnicodeDecodeError:
        message = made  # over a WebSocket texts are UTF-8
    return draw.below(len(WEBSOCKETS)), message, draw.pick((1000, 1006, 1008, 1009, 1011, 4001))


def check_tick(given: tuple[int, str | bytes, int]) -> str:
    number, message, code = given
    config, site = WEBSOCKETS[number], FuzzSite()
    source = websocket.Source(config, site)
    wire: Connection = Wire([], Closed(code, "bye"))
    source._open = wire
    item = source._item(message, 1, wire)
    word = landed(item)
    if isinstance(item, Received):
        for asked in config.subscribe:
            if asked.answer is not None:
                _matches(Filter(asked.answer), item)
        if source._pong is not None:
            _matches(source._pong, item)
        if config.ack is not None:
            filled = places.filled(config.ack, {"id": item.id, "type": item.event_type, "data": item.data})
            assert filled is places.ABSENT or places.wire(filled)
        if item.position is not UNMOVED:
            source._url(None, item.position)
            places.wire(item.position)
    error = source._explained(Closed(code, "bye"), None)
    assert isinstance(error, NotConnected | Refused)
    return word


def pointer(draw: Mutator) -> tuple[str, Any]:
    return draw.text(POINTERS), draw.value(TICKS)


def check_pointer(given: tuple[str, Any]) -> str:
    text, data = given
    try:
        where = messages.pointer(text)
    except ValueError as error:
        return "refused" if str(error) else "silent"
    return "found" if messages.found(data, where) is not MISSING else "missing"


SENT: Final[tuple[Any, ...]] = (
    {"op": "subscribe", "since": "{{ position }}", "auth": {"token": "{{ token }}"}},
    ["{{ token }}", "a {{ position }} b {{ position.seq }}", 1],
    "{{ position.a.b }}",
    "SUBSCRIBE {{ token }}",
)


def place(draw: Mutator) -> tuple[Any, Any]:
    return draw.value(SENT), draw.anything()


def check_place(given: tuple[Any, Any]) -> str:
    message, position = given
    if not (_encodes(message) and _encodes(position)):
        return "no JSON"  # neither is declared, or comes in a message
    try:
        used = places.check(message, {"token", "position"})
    except ValueError:
        return "refused"
    filled = places.filled(message, {"token": "t", "position": position})
    if filled is places.ABSENT:
        return "absent"
    assert isinstance(places.wire(filled), str)
    return "filled" if used else "plain"


def _encodes(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


# ---- Slack -----------------------------------------------------------------------------------------------------------

ENVELOPES: Final[tuple[Any, ...]] = (
    {
        "type": "hello",
        "num_connections": 1,
        "debug_info": {"approximate_connection_time": 18060},
        "connection_info": {},
    },
    {"type": "disconnect", "reason": "refresh_requested", "debug_info": {"host": "wss-1"}},
    {
        "type": "events_api",
        "envelope_id": "e-1",
        "accepts_response_payload": False,
        "retry_attempt": 0,
        "retry_reason": "",
        "payload": {
            "token": "t",
            "event_id": "Ev1",
            "event_time": 1780000000,
            "type": "event_callback",
            "event": {"type": "message", "channel": "C1", "user": "U1", "text": "hi", "event_ts": "1780000000.000100"},
        },
    },
    {
        "type": "events_api",
        "envelope_id": "e-2",
        "payload": {"type": "app_rate_limited", "minute_rate_limited": 1780000000, "team_id": "T1"},
    },
    {
        "type": "interactive",
        "envelope_id": "e-3",
        "payload": {
            "type": "block_actions",
            "trigger_id": "1.2",
            "user": {"id": "U1"},
            "channel": {"id": "C1"},
            "container": {"channel_id": "C1"},
            "actions": [{"action_id": "yes", "action_ts": "1780000000.1"}],
            "response_url": "https://hooks.slack.com/x",
        },
    },
    {
        "type": "slash_commands",
        "envelope_id": "e-4",
        "accepts_response_payload": True,
        "payload": {"command": "/deploy", "text": "now", "trigger_id": "3.4", "channel_id": "C1", "user_id": "U1"},
    },
)
SLACK: Final = slack.Config.model_validate({"app_token": "xapp-1"})


def envelope(draw: Mutator) -> str | bytes:
    made = draw.json(ENVELOPES)
    if draw.happens(0.1):
        return made
    return made.decode(errors="surrogateescape" if draw.happens(0.3) else "replace")


def check_envelope(given: str | bytes) -> str:
    frame = slack_frames.parse(given)
    if not isinstance(frame, slack_frames.Delivery):
        return type(frame).__name__.lower()
    if frame.envelope_id is not None:
        assert orjson.loads(slack_frames.acknowledgement(frame.envelope_id)) == {"envelope_id": frame.envelope_id}
    source = slack.Source(SLACK, FuzzSite())
    item = source._item(Arrived(delivery=frame, connection=Wire([], NotConnected("x")), at=0.0))
    if isinstance(item, Unreadable):
        assert item.id.startswith("unreadable:")
    return landed(item)


OPENED: Final[tuple[Any, ...]] = (
    {"ok": True, "url": "wss://wss-primary.slack.com/link/?ticket=1"},
    {"ok": False, "error": "invalid_auth", "needed": "connections:write"},
    {"ok": False, "error": "ratelimited"},
)
PATIENCE: Final = ("30", "0", "1.5", "Mon, 01 Jun 2026 12:00:30 GMT", "soon", "-1")


def opened(draw: Mutator) -> tuple[int, bytes, str]:
    return draw.pick((200, 200, 200, 429, 500, 404, 401)), draw.json(OPENED), draw.text(PATIENCE)


def check_opened(given: tuple[int, bytes, str]) -> str:
    status, body, patience = given
    site = FuzzSite(Answering((status, {"Retry-After": patience}, body)))
    try:
        url = at_once(slack.Source(SLACK, site)._web.socket_url(SLACK.app_token))
    except (NotConnected, Refused) as error:
        return named(error)
    assert url.startswith("wss://")
    return "address"


# ---- Discord ---------------------------------------------------------------------------------------------------------

READY: Final = {"session_id": "s1", "resume_gateway_url": "wss://gateway-1.discord.gg", "user": {"id": "1"}, "v": 10}
PAYLOADS: Final[tuple[Any, ...]] = (
    {"op": 10, "d": {"heartbeat_interval": 41250}},
    {"op": 0, "s": 1, "t": "READY", "d": READY},
    {
        "op": 0,
        "s": 2,
        "t": "MESSAGE_CREATE",
        "d": {"id": "1100000000000000000", "channel_id": "5", "guild_id": "7", "content": "hi", "author": {"id": "9"}},
    },
    {"op": 0, "s": 3, "t": "TYPING_START", "d": {"channel_id": "5", "user_id": "9", "timestamp": 1780000000}},
    {"op": 0, "s": 4, "t": "GUILD_ROLE_CREATE", "d": {"guild_id": "7", "role": {"id": "1100000000000000001"}}},
    {"op": 0, "s": 5, "t": "RESUMED", "d": None},
    {"op": 11, "d": None},
    {"op": 1, "d": None},
    {"op": 7, "d": None},
    {"op": 9, "d": True},
    {"op": 9, "d": False},
)
MISSED: Final = session.Session(id="s0", seq=3, resume_url="wss://x.example")


def dialogue(draw: Mutator) -> tuple[bool, list[str | bytes | int | None]]:
    """A few frames, closes and moments when something is due, after a begin that is right most of the time."""
    given: list[str | bytes | int | None] = []
    given += [orjson.dumps(right).decode() for right in PAYLOADS[: draw.pick((0, 1, 2, 2, 2))]]
    for _ in range(1 + draw.below(3)):
        made = draw.json(PAYLOADS)
        given.append(made.decode(errors="replace") if draw.happens(0.8) else made)
    if draw.happens(0.2):
        given.append(draw.pick((None, 1000, 4000, 4004, 4007, 4009, 4014, 1006, 2**70, -1)))
    return draw.happens(0.3), given


def check_dialogue(given: tuple[bool, list[str | bytes | int | None]]) -> str:
    resumes, came = given
    link = session.opened(MISSED if resumes else None, now=0.0)
    word, now = "nothing", 0.0
    for one in came:
        now += 1.0
        now = max(now, link.due_at) if one is None else now
        steps: list[session.Given] = [session.Ticked()] if one is None else []
        if isinstance(one, int):
            steps.append(session.Broke(code=one))
        elif one is not None:
            try:
                steps.append(frames.decode(one))
            except frames.Undecodable as error:
                word = named(error)
        for step in steps:
            link, effects = session.advance(link, step, now=now, chance=0.5)
            for effect in effects:
                match effect:
                    case session.AskPermission():
                        link, _ = session.advance(link, session.Permitted(), now=now, chance=0.5)
                    case session.Emit():
                        events.channel_and_message(effect.event)
                        word = landed(events.received(effect.event, session_id=effect.session_id))
                    case session.Began():
                        reached(effect.session.resume_url)
                        place = Place().begun(effect.session, terms="1", asked=["5"], since="1")
                        assert Place.read(orjson.loads(orjson.dumps(place.as_json()))) == place
                        frames.heartbeat(effect.session.seq)
                    case session.End():
                        word = "end"
                        assert effect.message
    return word


def reached(url: str) -> None:
    try:
        address_of(url, tls=True)
    except NotConnected as error:
        named(error)


GATEWAY: Final[tuple[Any, ...]] = (
    {
        "url": "wss://gateway.discord.gg",
        "shards": 2,
        "session_start_limit": {"total": 1000, "remaining": 998, "reset_after": 14400000, "max_concurrency": 16},
    },
    {"message": "401: Unauthorized", "code": 0},
    {"message": "You are being rate limited.", "retry_after": 1.5, "global": False},
)
LIMITS: Final = ("0", "1", "0.5", "5", "true", "abcd1234", "1780000000.5", "user", "inf", "nan")


def gateway(draw: Mutator) -> tuple[int, bytes, dict[str, str]]:
    names = ("Bucket", "Remaining", "Reset-After", "Global", "Reset", "Limit")
    headers = {f"X-RateLimit-{draw.pick(names)}": draw.text(LIMITS) for _ in range(draw.below(4))}
    if draw.happens(0.3):
        headers["Retry-After"] = draw.text(PATIENCE)
    return draw.pick((200, 200, 200, 401, 403, 429, 500)), draw.json(GATEWAY), headers


def check_gateway(given: tuple[int, bytes, dict[str, str]]) -> str:
    status, body, headers = given
    site = FuzzSite(Answering((status, headers, body), (200, {}, orjson.dumps(GATEWAY[0]))))
    source = discord.Source(discord.Config.model_validate({"token": "t", "shard": [1, 4]}), site)
    try:
        found = at_once(source._rest.gateway())
    except (NotConnected, Refused) as error:
        return named(error)
    reached(found.url)
    starts = Starts().counted(NOW)
    assert closed_for_seconds(starts, found.allowance, shards=4, now=NOW) >= 0
    assert turn_in_seconds(starts, found.allowance, shard=(1, 4), now=NOW, chance=0.5) >= 0
    assert isinstance(found.allowance, Allowance)
    return "gateway"


HISTORY: Final[tuple[Any, ...]] = (
    [{"id": "1100000000000000002", "content": "b"}, {"id": "1100000000000000001", "content": "a", "channel_id": "5"}],
    [],
    {"message": "Missing Access", "code": 50001},
)


def history(draw: Mutator) -> tuple[int, bytes, bytes]:
    return draw.pick((200, 200, 200, 403, 404)), draw.json(HISTORY), draw.json(({"id": "5", "guild_id": "7"},))


def check_history(given: tuple[int, bytes, bytes]) -> str:
    status, page, channel = given
    site = FuzzSite(Answering((status, {}, page), (200, {}, channel)))
    source = discord.Source(discord.Config.model_validate({"token": "t"}), site)

    async def told() -> list[tuple[str, Any]]:
        found = backfill.history(source._rest, site, channel="5", after="1", limit=50)
        return [one async for one in found]

    try:
        messages_told = at_once(told())
    except (NotConnected, Refused) as error:
        return named(error)
    for message_id, message in messages_told:
        assert snowflakes.read(message_id) is not None
        landed(events.message(message, message_id))
    return "messages" if messages_told else "none"


TARGETS: Final = (
    Target(name="sse", make=stream, check=check_stream),
    Target(name="websocket", make=tick, check=check_tick),
    Target(name="websocket-pointers", make=pointer, check=check_pointer),
    Target(name="websocket-places", make=place, check=check_place),
    Target(name="slack-frames", make=envelope, check=check_envelope),
    Target(name="slack-web", make=opened, check=check_opened),
    Target(name="discord-frames", make=dialogue, check=check_dialogue),
    Target(name="discord-gateway", make=gateway, check=check_gateway),
    Target(name="discord-history", make=history, check=check_history),
)
