"""Slack and Discord, as far as their sources need them: where the sockets are, and what is said over them.

Served by `benchmarks.outside`. Each event carries one message of a run whole, as an app's metadata or as text.
"""

import itertools
import time
from collections.abc import Sequence
from typing import Any, Final

import orjson

from benchmarks import events

CHANNELS: Final = 50
"""Messages are spread over so many channels."""
SLACK_HELLO: Final = b'{"type":"hello","num_connections":1,"debug_info":{"approximate_connection_time":18060}}'
HEARTBEAT_MS: Final = 41_250
_EPOCH_MS: Final = 1_420_070_400_000
_DISPATCH, _BEAT, _IDENTIFY, _INVALID, _HELLO, _ACK = 0, 1, 2, 9, 10, 11


# ---- Slack -----------------------------------------------------------------------------------------------------------


def slack_opened(port: int) -> bytes:
    """Return the answer to apps.connections.open."""
    return orjson.dumps({"ok": True, "url": f"ws://127.0.0.1:{port}/slack/socket"})


def slack_delivery(payload: bytes) -> bytes:
    """Return the frame of a message in a channel; its envelope and its event are named by the message's id."""
    name = events.identity_of(payload)
    return (
        b'{"envelope_id":"%b","type":"events_api","accepts_response_payload":false,"retry_attempt":0,"retry_reason":"",'
        b'"payload":{"token":"verification","team_id":"T061EG9R6","api_app_id":"A0PNCHHK2","type":"event_callback",'
        b'"event_id":"%b","event_time":1760000000,"event":{"type":"message","channel":"C%d","channel_type":"channel",'
        b'"user":"U061F7AUR","text":"a new order","ts":"1760000000.000200","event_ts":"1760000000.000200",'
        b'"metadata":{"event_type":"order","event_payload":%b}}}}'
    ) % (name, name, _channel(name), payload)


# ---- Discord ---------------------------------------------------------------------------------------------------------


def discord_gateway(port: int) -> bytes:
    """Return the answer to GET /gateway/bot."""
    limit = {"total": 1_000, "remaining": 1_000, "reset_after": 0, "max_concurrency": 1}
    return orjson.dumps({"url": _socket(port), "shards": 1, "session_start_limit": limit})


class DiscordSession:
    """One session, begun by Identify and never resumed: `answers` to what the client sends, and dispatches."""

    greeting: Final = orjson.dumps({"op": _HELLO, "d": {"heartbeat_interval": HEARTBEAT_MS}})

    def __init__(self, port: int) -> None:
        self._port = port
        self._numbers = itertools.count(1)
        self._first_id = int(time.time() * 1000) - _EPOCH_MS << 22

    def answers(self, text: bytes) -> Sequence[bytes]:
        """Return what follows from a payload of the client."""
        match orjson.loads(text).get("op"):
            case int(op) if op == _BEAT:
                return [orjson.dumps({"op": _ACK})]
            case int(op) if op == _IDENTIFY:
                user = {"id": "421000000000000000", "username": "bench", "bot": True}
                place = {"session_id": "bench", "resume_gateway_url": _socket(self._port)}
                return [self._dispatch("READY", {"v": 10, "user": user, "guilds": [], **place})]
        return [orjson.dumps({"op": _INVALID, "d": False})]

    def dispatch(self, payload: bytes) -> bytes:
        """Return the payload of a message in a channel."""
        number = next(self._numbers)
        return (
            b'{"t":"MESSAGE_CREATE","s":%d,"op":0,"d":{"type":0,"tts":false,"timestamp":"2026-01-01T00:00:00.000000+00:00",'
            b'"pinned":false,"mentions":[],"mention_roles":[],"mention_everyone":false,"member":{"roles":[],"mute":false,'
            b'"joined_at":"2020-01-01T00:00:00.000000+00:00","flags":0,"deaf":false},"id":"%d","flags":0,"embeds":[],'
            b'"edited_timestamp":null,"content":%b,"components":[],"channel_id":"%d","channel_type":0,'
            b'"author":{"username":"shop","id":"900000000000000000","global_name":null,"discriminator":"0",'
            b'"avatar":null},"attachments":[],"guild_id":"700000000000000000"}}'
        ) % (number, self._first_id + number, orjson.dumps(payload.decode()), _channel(events.identity_of(payload)))

    def _dispatch(self, name: str, data: Any) -> bytes:
        return orjson.dumps({"op": _DISPATCH, "t": name, "s": next(self._numbers), "d": data})


def _socket(port: int) -> str:
    return f"ws://127.0.0.1:{port}/discord/socket"


def _channel(name: bytes) -> int:
    return 710_000_000_000_000_000 + int(name[-6:]) % CHANNELS
