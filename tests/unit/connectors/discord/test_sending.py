"""What can be sent."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.contract import Refused
from connectors.discord import sending
from connectors.discord.limits import Route
from connectors.discord.rest import Ask
from tests.unit.connectors.discord.test_frames import JSON


def test_a_message_is_sent_under_a_nonce_of_its_key_that_discord_enforces() -> None:
    message = {"channel": "10", "content": "hi", "embeds": [{"title": "t"}], "reply_to": "5"}
    assert sending.ask(message, key="run/step") == Ask(
        method="POST",
        path="/channels/10/messages",
        route=Route(form="POST /channels/messages", major="10"),
        json={
            "content": "hi",
            "embeds": [{"title": "t"}],
            "nonce": sending.nonce("run/step"),
            "enforce_nonce": True,
            "message_reference": {"message_id": "5", "fail_if_not_exists": False},
        },
    )


def test_a_nonce_is_the_same_for_a_key_and_as_short_as_discord_wants_it() -> None:
    assert sending.nonce("a") == sending.nonce("a") != sending.nonce("b")
    assert all(len(sending.nonce(key)) == 25 for key in ("", "a" * 1000, "ä"))


def test_a_reaction_names_its_emoji_in_the_path() -> None:
    asked = sending.ask({"action": "reaction", "channel": "1", "message": "2", "emoji": "👍/../x"}, key="k")
    assert asked.path == "/channels/1/messages/2/reactions/%F0%9F%91%8D%2F..%2Fx/@me"
    assert (asked.method, asked.json) == ("PUT", None)


def test_an_interaction_is_answered_without_the_bots_token() -> None:
    asked = sending.ask({"action": "answer", "interaction": "1", "token": "secret", "content": "done"}, key="k")
    assert asked == Ask(
        method="POST",
        path="/interactions/1/secret/callback",
        route=Route(form="POST /interactions/callback", major="1", globally=False),
        json={"type": 4, "data": {"content": "done"}},
        authorized=False,
    )
    deferred = sending.ask({"action": "answer", "interaction": "1", "token": "secret", "type": 5}, key="k")
    assert deferred.json == {"type": 5}


def test_an_answer_is_edited_and_its_token_is_in_no_route() -> None:
    asked = sending.ask({"action": "edit_answer", "application": "1", "token": "secret", "content": "done"}, key="k")
    assert (asked.method, asked.path, asked.json) == (
        "PATCH",
        "/webhooks/1/secret/messages/@original",
        {"content": "done"},
    )
    assert "secret" not in str(asked.route)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({}, "channel: Field required"),
        ({"channel": "../../users"}, "channel: String should match pattern"),
        ({"channel": "1", "content": "x" * 2001}, "content: String should have at most 2000"),
        ({"channel": "1", "contents": "canary"}, "contents: Extra inputs"),
        ({"action": "reaction", "channel": "1", "message": "2"}, "emoji: Field required"),
        ({"action": "answer", "interaction": "1", "token": "../canary"}, "token: String should match pattern"),
        ({"action": "dance"}, "message: Input tag 'dance'"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_the_reason_and_without_values(message: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused, match=r"^this cannot be sent to Discord: ") as refused:
        sending.ask(message, key="k")
    assert told in str(refused.value)
    assert "canary" not in str(refused.value)
    assert refused.value.reason == "invalid_message"


@given(st.dictionaries(st.sampled_from(["action", "channel", "content", "message", "token", "emoji", "x"]), JSON))
def test_whatever_is_sent_is_a_request_or_refused(message: dict[str, Any]) -> None:
    try:
        assert sending.ask(message, key="k").path.startswith("/")
    except Refused:
        pass
