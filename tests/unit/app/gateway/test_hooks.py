"""Webhooks as the gateway makes them: of options, with secrets of its own environment."""

from pathlib import Path
from typing import Any

import pytest

from app.gateway.hooks import AGAIN_SECONDS, Hook, Hooks, Place
from connectors.base.texts.secrets import Variables
from topics.sources import Spec, State


def spec(**more: Any) -> Spec:
    options = more.pop("options", {"provider": "github", "secret": "{{ env.SECRET }}"})
    return Spec(**{"id": "hook", "kind": "webhook", "options": options} | more)


class At:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def place(clock: At | None = None, **more: Any) -> Place:
    given = {
        "environment": Variables(of_process={"SECRET": "a-secret"}),
        "secrets_folder": None,
        "event_bytes": 1000,
    } | more
    return Place(name="here", clock=clock or At(), **given)


def problem(hook: Hook) -> tuple[State, str]:
    status = hook.watched.status
    return status.state, "" if status.error is None else status.error.message


def test_a_webhook_that_can_be_made_is_connected() -> None:
    hook = Hook(spec(), place())
    assert hook.made() is not None
    assert problem(hook) == (State.CONNECTED, "")
    assert (hook.path, hook.watched.status.owner) == ("/webhooks/github/hook", "here")
    assert hook.watched.status.delivery == "at-least-once"


def test_a_paused_one_says_so() -> None:
    hook = Hook(spec(paused=True), place())
    assert problem(hook) == (State.PAUSED, "")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"options": {"provider": "github", "secret": "{{ env.OTHER }}"}}, "variable OTHER where the gateway runs"),
        ({"options": {"provider": "github", "secret": "{{ env.HEADGATE_GATEWAY_TOKEN }}"}}, "setting of Headgate"),
        ({"options": {"provider": "gitlab"}}, "/options/provider"),
        ({"options": {}}, "/options/provider"),
        ({"options": {"provider": "github"}}, "needs secret"),
        ({"topic": "{{ nothing"}, "other half"),
        ({"filter": {"nothing": 1}}, "no field of an event"),
    ],
)
def test_one_that_cannot_be_made_is_failed_and_says_why(given: dict[str, Any], words: str) -> None:
    hook = Hook(spec(**given), place())
    state, message = problem(hook)
    assert hook.made() is None
    assert state is State.FAILED
    assert words in message


def test_no_secret_is_in_what_is_said(caplog: pytest.LogCaptureFixture) -> None:
    options = {"provider": "standard", "secret": "{{ env.SECRET }}"}
    hook = Hook(spec(options=options), place(environment=Variables(of_process={"SECRET": "whsec_canary-canary"})))
    state, message = problem(hook)
    assert (state, "canary" in f"{message} {caplog.text} {hook.spec}") == (State.FAILED, False)


def test_what_could_not_be_made_is_tried_again_when_it_is_called_later() -> None:
    clock = At()
    environment: dict[str, str] = {}
    hook = Hook(spec(), place(clock, environment=Variables(of_process=environment)))
    environment["SECRET"] = "a-secret"
    assert hook.made() is None
    clock.now = AGAIN_SECONDS
    assert hook.made() is not None
    assert problem(hook) == (State.CONNECTED, "")


def test_a_secret_in_a_file_is_read_anew(tmp_path: Path) -> None:
    clock = At()
    (tmp_path / "secret").write_text("first\n", encoding="utf-8")
    options = {"provider": "github", "secret": "{{ file.secret }}"}
    hook = Hook(spec(options=options), place(clock, secrets_folder=tmp_path))
    first = hook.made()
    assert first is not None
    clock.now += AGAIN_SECONDS
    assert hook.made() is first
    (tmp_path / "secret").write_text("second\n", encoding="utf-8")
    assert hook.made() is first
    clock.now += AGAIN_SECONDS
    second = hook.made()
    assert second is not None
    assert second.receiver.config.secrets() == (b"second",)
    (tmp_path / "secret").unlink()
    clock.now += AGAIN_SECONDS
    assert hook.made() is None
    (tmp_path / "secret").write_text("second\n", encoding="utf-8")
    clock.now += AGAIN_SECONDS
    assert hook.made() is not None


def test_the_same_setting_again_keeps_what_was_counted_and_another_does_not() -> None:
    hooks = Hooks(place())
    hooks.configure(spec())
    first = hooks.get("hook")
    hooks.configure(spec(origin="file other.yaml"))
    assert hooks.get("hook") is first
    hooks.configure(spec(topic="a"))
    assert hooks.get("hook") is not first


def test_a_source_of_another_kind_is_no_webhook_any_more() -> None:
    hooks = Hooks(place())
    hooks.configure(spec())
    connected = hooks.place.metrics.connected
    assert connected.labels("webhook", "hook")._value.get() == 1
    hooks.configure(spec(kind="rss"))
    assert hooks.get("hook") is None
    assert [one for family in connected.collect() for one in family.samples] == []
    hooks.remove("hook")


def test_options_that_are_nonsense_are_failed_and_no_error() -> None:
    hook = Hook(spec(options={"provider": {"a": [1]}, "secret": [[]]}), place())
    assert hook.made() is None
