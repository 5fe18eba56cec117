"""Dispatches as events."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.contract import UNMOVED, Received
from connectors.discord import events, snowflakes
from connectors.discord.frames import Dispatched
from tests.unit.connectors.discord.test_frames import JSON

ID = "175928847299117063"
MADE = snowflakes.created_at(ID)


def received(name: str, data: Any, *, seq: int = 5, session_id: str = "s") -> Received:
    return events.received(Dispatched(seq=seq, name=name, data=data), session_id=session_id)


def test_a_message_is_named_by_its_id_keyed_by_its_channel_and_dated_by_its_making() -> None:
    data = {"id": ID, "channel_id": "10", "guild_id": "20", "content": "hi"}
    assert received("MESSAGE_CREATE", data) == Received(
        id=f"message_create/{ID}", event_type="message_create", data=data, key="10", created_at=MADE, position=UNMOVED
    )


def test_the_history_tells_a_message_as_the_gateway_does() -> None:
    data = {"id": ID, "channel_id": "10", "content": "hi"}
    assert events.message(data, ID) == received("MESSAGE_CREATE", data)


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("MESSAGE_DELETE", {"id": ID}, f"message_delete/{ID}"),
        ("INTERACTION_CREATE", {"id": ID}, f"interaction_create/{ID}"),
        ("GUILD_ROLE_CREATE", {"guild_id": "1", "role": {"id": ID}}, f"guild_role_create/{ID}"),
        ("GUILD_ROLE_DELETE", {"guild_id": "1", "role_id": ID}, f"guild_role_delete/{ID}"),
        ("MESSAGE_UPDATE", {"id": ID, "edited_timestamp": "2026-01-01T00:00:00+00:00"}, "s/5"),
        ("MESSAGE_REACTION_ADD", {"message_id": ID, "user_id": "1"}, "s/5"),
        ("GUILD_CREATE", {"id": ID}, "s/5"),
        ("THREAD_CREATE", {"id": ID}, "s/5"),
        ("MESSAGE_DELETE_BULK", {"ids": [ID]}, "s/5"),
        ("MESSAGE_CREATE", {"id": "no snowflake"}, "s/5"),
        ("MESSAGE_CREATE", [], "s/5"),
        ("GUILD_ROLE_CREATE", {"role": None}, "s/5"),
        ("A_NEW_EVENT", None, "s/5"),
    ],
)
def test_what_happens_once_is_named_by_the_entity_and_the_rest_by_session_and_number(
    name: str, data: Any, expected: str
) -> None:
    assert received(name, data).id == expected


def test_a_pin_and_the_edit_before_it_are_two_events() -> None:
    """Both are updates with the same edit time."""
    edit = {"id": ID, "edited_timestamp": "2026-01-01T00:00:00+00:00", "pinned": False}
    assert received("MESSAGE_UPDATE", edit, seq=5).id != received("MESSAGE_UPDATE", {**edit, "pinned": True}, seq=6).id


def test_events_without_a_channel_are_keyed_by_their_guild() -> None:
    assert received("GUILD_MEMBER_ADD", {"guild_id": "20"}).key == "20"
    assert received("USER_UPDATE", {"id": ID}).key is None


def test_only_what_says_when_it_happened_is_dated() -> None:
    assert received("INTERACTION_CREATE", {"id": ID}).created_at == MADE
    assert received("MESSAGE_DELETE", {"id": ID}).created_at is None, "the id tells of the message, not of its end"
    typing = received("TYPING_START", {"timestamp": 1_780_272_000})
    assert typing.created_at == datetime(2026, 6, 1, tzinfo=UTC)


def test_only_new_messages_with_ids_are_known_by_channel_and_id() -> None:
    def known(name: str, data: Any) -> tuple[str, str] | None:
        return events.channel_and_message(Dispatched(seq=1, name=name, data=data))

    assert known("MESSAGE_CREATE", {"channel_id": "10", "id": "3"}) == ("10", "3")
    assert known("MESSAGE_UPDATE", {"channel_id": "10", "id": "3"}) is None
    assert known("MESSAGE_CREATE", {"id": "3"}) is None
    assert known("MESSAGE_CREATE", None) is None


@given(st.sampled_from([*events.ONCE, "typing_start", "other"]), JSON)
def test_whatever_the_data_is_there_is_an_event(name: str, data: Any) -> None:
    event = received(name.upper(), data)
    assert (event.event_type, event.data) == (name, data)
    assert event.id
