"""Frames of Socket Mode, as Slack documents them and as nobody should send them."""

import json
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.slack import frames
from connectors.slack.frames import Delivery, Disconnect, Event, Hello, Other, Puzzle

CALLBACK = {
    "token": "verification",
    "team_id": "T1",
    "event": {"type": "message", "subtype": "bot_message", "channel": "C1", "user": "U1", "text": "hi"},
    "type": "event_callback",
    "event_id": "Ev1",
    "event_time": 1_780_000_000,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def envelope(kind: str, payload: Any, **fields: Any) -> str:
    return json.dumps({"envelope_id": "e1", "type": kind, "payload": payload, **fields})


def event_of(text: str) -> Event:
    delivery = frames.parse(text)
    assert isinstance(delivery, Delivery)
    assert isinstance(delivery.content, Event), delivery.content
    return delivery.content


def puzzle_of(message: str | bytes) -> tuple[str | None, Puzzle]:
    delivery = frames.parse(message)
    assert isinstance(delivery, Delivery)
    assert isinstance(delivery.content, Puzzle), delivery.content
    return delivery.envelope_id, delivery.content


def test_hello_tells_how_many_sockets_there_are() -> None:
    text = '{"type":"hello","num_connections":2,"debug_info":{"approximate_connection_time":18060}}'

    assert frames.parse(text) == Hello(connections=2)


@pytest.mark.parametrize("reason", ["warning", "refresh_requested", "link_disabled", "too_many_websockets"])
def test_disconnect_tells_its_reason(reason: str) -> None:
    assert frames.parse(json.dumps({"type": "disconnect", "reason": reason})) == Disconnect(reason=reason)


@pytest.mark.parametrize("text", ['{"type":"disconnect"}', '{"type":"disconnect","reason":7}'])
def test_disconnect_without_a_reason_is_one_all_the_same(text: str) -> None:
    assert frames.parse(text) == Disconnect(reason="unknown")


def test_housekeeping_that_is_not_known_is_nothing_to_acknowledge() -> None:
    assert frames.parse('{"type":"news"}') == Other(type="news")
    assert frames.parse("{}") == Other(type="none")


def test_an_event_has_the_type_of_what_happened_and_the_id_that_stays_when_it_is_repeated() -> None:
    told = frames.parse(envelope("events_api", CALLBACK, retry_attempt=2, retry_reason="timeout"))

    assert told == Delivery(
        envelope_id="e1",
        retry_attempt=2,
        content=Event(
            id="Ev1",
            event_type="message",
            data={
                "team_id": "T1",
                "event": {"type": "message", "subtype": "bot_message", "channel": "C1", "user": "U1", "text": "hi"},
                "type": "event_callback",
                "event_id": "Ev1",
                "event_time": 1_780_000_000,
            },
            key="C1",
            created_at=datetime(2026, 5, 28, 20, 26, 40, tzinfo=UTC),
        ),
    )


@pytest.mark.parametrize(
    ("event", "key"),
    [
        ({"type": "reaction_added", "user": "U1", "item": {"channel": "C2", "ts": "1.2"}}, "C2"),
        ({"type": "channel_created", "channel": {"id": "C3", "name": "new"}}, "C3"),
        ({"type": "file_shared", "channel_id": "C4", "user_id": "U1"}, "C4"),
        ({"type": "assistant_thread_started", "assistant_thread": {"channel_id": "D5"}}, "D5"),
        ({"type": "team_join", "user": {"id": "U6"}}, "U6"),
        ({"type": "app_home_opened", "channel": "", "user": "U7"}, "U7"),
        ({"type": "emoji_changed", "channel": 7, "item": "x"}, None),
    ],
)
def test_events_of_one_channel_have_one_key(event: dict[str, Any], key: str | None) -> None:
    assert event_of(envelope("events_api", {**CALLBACK, "event": event})).key == key


def test_a_button_is_an_interaction_of_its_channel() -> None:
    payload = {
        "type": "block_actions",
        "token": "verification",
        "user": {"id": "U1"},
        "container": {"type": "message", "channel_id": "C1"},
        "actions": [{"action_id": "yes", "action_ts": "1780000000.5"}],
        "response_url": "https://hooks.slack.com/actions/T1/1/secret",
        "trigger_id": "1.2.3",
    }

    assert event_of(envelope("interactive", payload)) == Event(
        id="1.2.3",
        event_type="interactive",
        data={name: value for name, value in payload.items() if name != "token"},
        key="C1",
        created_at=datetime(2026, 5, 28, 20, 26, 40, 500_000, tzinfo=UTC),
    )


def test_an_interaction_without_a_trigger_has_the_id_of_its_envelope() -> None:
    told = event_of(envelope("interactive", {"type": "view_closed", "user": {"id": "U1"}, "actions": [7]}))

    assert (told.id, told.key, told.created_at) == ("e1", "U1", None)


def test_a_slash_command_is_an_event_of_its_channel() -> None:
    payload = {"token": "t", "command": "/deploy", "text": "now", "channel_id": "C1", "trigger_id": "9.8"}

    assert event_of(envelope("slash_commands", payload)) == Event(
        id="9.8",
        event_type="slash_command",
        data={"command": "/deploy", "text": "now", "channel_id": "C1", "trigger_id": "9.8"},
        key="C1",
    )


def test_a_limit_that_was_reached_is_an_event_once_for_each_minute() -> None:
    def limited(minute: int) -> Event:
        payload = {"token": "t", "type": "app_rate_limited", "team_id": "T1", "minute_rate_limited": minute}
        return event_of(envelope("events_api", payload))

    assert limited(1_780_000_020).event_type == "app_rate_limited"
    assert limited(1_780_000_020).created_at == datetime(2026, 5, 28, 20, 27, tzinfo=UTC)
    assert limited(1_780_000_020).id == limited(1_780_000_020).id != limited(1_780_000_080).id


def test_an_event_without_an_id_has_one_that_is_made_of_what_it_says() -> None:
    bare = {name: value for name, value in CALLBACK.items() if name != "event_id"}
    first, again = (event_of(envelope("events_api", bare, envelope_id=name)).id for name in ("e1", "e2"))
    other = event_of(envelope("events_api", {**bare, "event_time": 1})).id

    assert first == again != other


@pytest.mark.parametrize("kind", ["events_api", "interactive", "slash_commands"])
def test_no_token_is_in_the_data(kind: str) -> None:
    payload = {
        **CALLBACK,
        "trigger_id": "1.2",
        "bot_access_token": "xwfp-secret",
        "event": {"type": "function_executed", "bot_access_token": "xwfp-secret", "token": "old"},
    }

    shown = json.dumps(event_of(envelope(kind, payload)).data)

    assert "xwfp-secret" not in shown
    assert '"token"' not in shown
    assert "verification" not in shown


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (envelope("events_api", {"type": "event_callback", "token": "secret"}), "the payload has no event"),
        (envelope("events_api", {"event": {"type": ""}}), "the event has no type"),
        (envelope("events_api", {"event": {"type": "a b"}}), "the event has no type"),
        (envelope("events_api", []), "the envelope has no payload that is a JSON object"),
        (envelope("slash_commands", None), "the envelope has no payload that is a JSON object"),
        (envelope("news_api", {"token": "secret"}), "the envelope is of a type that is not known"),
        ('{"envelope_id":"e1"}', "the envelope is of a type that is not known"),
    ],
)
def test_an_envelope_that_is_not_understood_can_be_acknowledged_and_is_kept(text: str, reason: str) -> None:
    envelope_id, puzzle = puzzle_of(text)

    assert (envelope_id, puzzle.reason) == ("e1", reason)
    assert b"secret" not in puzzle.raw
    assert orjson.loads(puzzle.raw)["envelope_id"] == "e1"


def test_what_is_not_understood_has_the_same_id_when_it_is_repeated() -> None:
    first, again, other = (
        puzzle_of(envelope("events_api", {"x": n}, envelope_id=name))[1].id
        for n, name in ((1, "e1"), (1, "e2"), (2, "e1"))
    )

    assert first == again != other


@pytest.mark.parametrize("message", ["", "nonsense", "[1]", '"hello"', b"\xff\x00", "NaN", "[" * 5_000, '{"a":1e999}'])
def test_what_is_no_json_object_is_kept_with_its_bytes(message: str | bytes) -> None:
    envelope_id, puzzle = puzzle_of(message)

    assert envelope_id is None
    assert puzzle.raw == (message if isinstance(message, bytes) else message.encode())
    assert puzzle == puzzle_of(message)[1]


@pytest.mark.parametrize("kind", ["slash_commands", "interactive", "events_api"])
def test_a_delivery_without_any_id_is_kept_for_people(kind: str) -> None:
    deep: Any = None
    for _ in range(300):
        deep = [deep]
    payload = {"deep": deep, "event": {"type": "message"}}

    envelope_id, puzzle = puzzle_of(json.dumps({"type": kind, "payload": payload}))

    assert (envelope_id, puzzle.reason) == (None, "it has no id of its own")


@pytest.mark.parametrize("when", ["soon", True, None, 10**300, "1e400", -(10**18), [], "nan"])
def test_a_time_that_is_none_is_left_out(when: Any) -> None:
    assert event_of(envelope("events_api", {**CALLBACK, "event_time": when})).created_at is None


def test_an_acknowledgement_is_the_id_of_the_envelope() -> None:
    assert json.loads(frames.acknowledgement('e"1')) == {"envelope_id": 'e"1'}


@settings(deadline=None)  # the machine may be busy with other things
@given(st.text() | st.binary())
def test_no_frame_whatever_is_in_it_raises(message: str | bytes) -> None:
    assert frames.parse(message) == frames.parse(message)


WORDS = st.sampled_from(
    [
        *("type", "payload", "envelope_id", "event", "event_id", "event_time", "event_ts", "channel", "channel_id"),
        *("item", "user", "trigger_id", "container", "actions", "action_ts", "retry_attempt", "reason", "token"),
        *("assistant_thread", "num_connections", "minute_rate_limited", "id"),
    ]
)
VALUES = st.sampled_from(["hello", "disconnect", "events_api", "interactive", "slash_commands", "app_rate_limited"])
NEARLY = st.dictionaries(
    WORDS,
    st.recursive(
        JSON | VALUES,
        lambda inner: st.dictionaries(WORDS, inner, max_size=6) | st.lists(inner, max_size=2),
        max_leaves=20,
    ),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(NEARLY, VALUES)
def test_no_frame_that_looks_like_one_raises_and_its_event_is_json(frame: dict[str, Any], kind: str) -> None:
    told = frames.parse(json.dumps({**frame, "type": kind}))

    if isinstance(told, Delivery) and isinstance(told.content, Event):
        assert told.content.id
        assert told.content.event_type
        assert isinstance(orjson.loads(orjson.dumps(told.content.data)), dict)
        assert "token" not in told.content.data
