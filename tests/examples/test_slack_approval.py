"""examples/slack_approval: who may decide, what is told, and a worker that dies anywhere."""

from typing import Any

import pytest

from examples.slack_approval.workflows import slack_decision, slack_deploy
from headgate.testing import Service, crashes

REPLY = {"ok": True, "channel": "C1", "ts": "1.1"}
HOOK = "https://hooks.slack.com/actions/1"


def ask(service: Service, text: str = "shop 1.4", command: str = "/deploy") -> None:
    data = {"command": command, "text": text, "user_id": "U1", "channel_id": "C1", "response_url": HOOK, "team_id": "T"}
    service.send("slack/slash_command", data, key="C1", id="trigger-1", event_type="slash_command")
    answer_all(service)


def answer_all(service: Service) -> None:
    before = -1
    while len(service.sent()) > before:
        before = len(service.sent())
        for one in service.sent():
            service.answer(one, None if "response_url" in one.message else REPLY)


def click(service: Service, action: str, user: str, number: int = 2) -> None:
    """As Slack tells it: with what the message has."""
    question = next(one.message for one in service.sent() if "method" not in one.message and "blocks" in one.message)
    button = next(one for one in question["blocks"][1]["elements"] if one["action_id"] == action)
    data = {
        "type": "block_actions",
        "user": {"id": user},
        "channel": {"id": "C1"},
        "actions": [{"type": "button", "action_id": action, "value": button["value"]}],
        "response_url": HOOK,
    }
    service.send("slack/interactive", data, key="C1", id=f"trigger-{number}", event_type="interactive")
    answer_all(service)


def texts(service: Service) -> list[Any]:
    return [one.message["text"] for one in service.sent()]


def result(service: Service) -> Any:
    (found,) = service.results(slack_deploy)
    assert found.status == "completed"
    return found.result


def test_what_somebody_else_approves_is_deployed_and_told_in_the_thread() -> None:
    with Service(slack_deploy, slack_decision) as service:
        ask(service)
        service.advance(hours=3)
        service.restart()
        click(service, "approve", "U2")
        assert result(service) == {"deployed": "shop 1.4 is live"}
        question, decided, done = (one.message for one in service.sent())
        assert question["text"] == "<@U1> wants to deploy *shop 1.4*."
        assert (decided["method"], decided["ts"]) == ("chat.update", "1.1")
        assert decided["text"] == "*shop 1.4*, asked by <@U1>: approved by <@U2>."
        assert done == {"channel": "C1", "thread_ts": "1.1", "text": "shop 1.4 is live"}


def test_whoever_asked_does_not_decide() -> None:
    with Service(slack_deploy, slack_decision) as service:
        ask(service)
        click(service, "approve", "U1")
        assert service.results(slack_deploy) == []
        assert texts(service)[-1] == "Somebody else has to decide."
        click(service, "refuse", "U2", 3)
        assert result(service) == {"refused": "<@U2>"}


def test_the_first_of_two_clicks_counts() -> None:
    with Service(slack_deploy, slack_decision) as service:
        ask(service)
        click(service, "refuse", "U2")
        click(service, "approve", "U3", 3)
        assert result(service) == {"refused": "<@U2>"}
        assert len(service.sent()) == 2


def test_nobody_waits_for_ever() -> None:
    with Service(slack_deploy, slack_decision) as service:
        ask(service)
        service.advance(hours=4)
        answer_all(service)
        assert result(service) == {"refused": "nobody in time"}


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "Say what: `/deploy shop 1.4`"), ("<!channel>", "<@U1> wants to deploy *&lt;!channel&gt;*.")],
)
def test_what_is_said_of_odd_commands(text: str, said: str) -> None:
    with Service(slack_deploy, slack_decision) as service:
        ask(service, text)
        assert texts(service) == [said]


def test_other_commands_and_clicks_are_left_alone() -> None:
    with Service(slack_deploy, slack_decision) as service:
        ask(service, command="/weather")
        service.send("slack/interactive", {"type": "view_submission", "user": {"id": "U1"}}, key="U1")
        assert service.results() == []
        assert service.dead_letters() == []


def test_a_deployment_that_fails_is_told() -> None:
    with Service(slack_deploy, slack_decision) as service:
        ask(service, "broken 1.0")
        click(service, "approve", "U2")
        service.advance(minutes=5)
        answer_all(service)
        assert "there is no broken 1.0" in result(service)["deployed"]


def test_it_is_deployed_once_wherever_the_worker_dies() -> None:
    for service in crashes(slack_deploy, slack_decision):
        ask(service)
        service.advance(minutes=1)
        answer_all(service)
        click(service, "approve", "U2")
        service.advance(minutes=1)
        answer_all(service)
        assert result(service) == {"deployed": "shop 1.4 is live"}
        assert len(service.sent()) == 3
