"""examples/discord_bot: dice that stay as they fell, and reminders that come at their time."""

from typing import Any

import pytest

from examples.discord_bot.workflows import HELP, discord_bot
from headgate.testing import Sent, Service, crashes


def say(service: Service, content: str) -> None:
    """As the source tells it, with what Discord adds."""
    data = {"id": "5", "channel_id": "7", "content": content, "author": {"id": "9", "username": "ada"}, "tts": False}
    service.send("bot/message_create", data, key="7", id=f"message_create/{content}", event_type="message_create")


def answer(service: Service) -> Any:
    (sent,) = service.sent("bot")
    assert sent.message["reply_to"] == "5"
    assert sent.message["channel"] == "7"
    service.answer(sent, {"id": "6"})
    assert [one.status for one in service.results()] == ["completed"]
    return sent.message["content"]


@pytest.mark.parametrize("content", ["!help", "!", "!roll", "!roll 0d6", "!roll 21d6", "!roll 2d1", "!remind 10m"])
def test_what_is_not_understood_is_answered_with_help(content: str) -> None:
    with Service(discord_bot) as service:
        say(service, content)
        assert answer(service) == HELP


def test_dice_are_within_their_sides() -> None:
    with Service(discord_bot) as service:
        say(service, "!roll 20d3")
        thrown, total = answer(service).split(" = ")
        numbers = [int(one) for one in thrown.split(" + ")]
        assert len(numbers) == 20
        assert set(numbers) == {1, 2, 3}
        assert sum(numbers) == int(total)


def test_dice_fall_once_wherever_the_worker_dies() -> None:
    thrown = set()
    for service in crashes(discord_bot):
        say(service, "!roll 3d100")
        service.advance(seconds=1)
        thrown.add(answer(service))
    assert len(thrown) == 1


def test_a_reminder_comes_at_its_time_and_lets_others_pass() -> None:
    with Service(discord_bot) as service:
        say(service, "!remind 2h tea is ready")
        (seen,) = service.sent()
        service.answer(seen)
        say(service, "!roll d6")
        assert [one.message.get("action") for one in service.sent()] == ["reaction", None]
        service.restart()
        service.advance(minutes=119)
        assert len(service.sent()) == 2
        service.advance(minutes=1)
        assert service.sent()[2].message["content"] == "<@9> tea is ready"
        assert service.sent()[2].message["allowed_mentions"] == {"users": ["9"]}


def test_an_answer_waits_for_a_discord_that_is_away() -> None:
    with Service(discord_bot) as service:
        say(service, "!roll d6")
        service.advance(hours=20)
        service.restart()
        assert answer(service).startswith(tuple("123456"))


def test_a_channel_that_refuses_fails_the_run() -> None:
    with Service(discord_bot) as service:
        say(service, "!help")
        sent: Sent = service.sent()[0]
        service.answer(sent, error="Missing Access")
        service.advance(hours=1)
        (result,) = service.results()
        assert result.status == "failed"
        assert result.error is not None
        assert "Missing Access" in result.error["message"]
