from collections.abc import Callable, Mapping
from typing import Any

import click
import orjson
import pytest
from click.testing import CliRunner, Result

from app.cli import gatewayapi
from app.cli.call import command
from app.cli.gatewayapi import GatewayRefused, NoGateway

RESULT: dict[str, Any] = {
    "run_id": "charge:1",
    "workflow_id": "charge",
    "workflow_version": "2",
    "status": "completed",
    "key": None,
    "started_at": "2026-01-01T00:00:00.000Z",
    "finished_at": "2026-01-01T00:00:00.250Z",
    "attempts": 1,
    "events": [],
    "error": None,
    "result": {"charged": 7},
}
Asked = list[tuple[str, object, Mapping[str, str], float]]
Answers = Callable[[int, object], Asked]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Makes the gateway answer (or raise) this; returns what it is asked."""

    def make(status: int, answer: object) -> Asked:
        asked: Asked = []

        def post(
            _self: object, path: str, data: object, *, headers: Mapping[str, str], wait_seconds: float
        ) -> tuple[int, Any]:
            asked.append((path, data, headers, wait_seconds))
            if isinstance(answer, Exception):
                raise answer
            return status, answer

        monkeypatch.setattr(gatewayapi.Gateway, "post", post)
        return asked

    return make


def run(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False, input=given)


def test_the_result_is_shown(answers: Answers) -> None:
    asked = answers(200, RESULT)
    result = run("charge", '{"order": 1}', "--wait", "1500ms", "--idempotency-key", "k")
    assert (result.return_value, asked) == (
        0,
        [("/api/v1/workflows/charge/call?wait=1500ms", {"order": 1}, {"Idempotency-Key": "k"}, 1.5)],
    )
    assert result.stdout.startswith("run       charge:1\n")
    assert result.stdout.endswith('\nresult\n{\n  "charged": 7\n}\n')


def test_json_is_the_result_itself_and_data_may_come_from_standard_input(answers: Answers) -> None:
    asked = answers(200, RESULT)
    assert orjson.loads(run("charge", "-", "--json", given="[1]").stdout) == RESULT
    assert asked == [("/api/v1/workflows/charge/call?wait=10000ms", [1], {}, 10.0)]


def test_a_run_that_takes_longer_is_named(answers: Answers) -> None:
    asked = answers(202, {"run_id": "charge:1", "run": "/api/v1/runs/charge:1"})
    result = run("charge", "--wait", "0")
    assert (result.return_value, result.stdout) == (
        0,
        "charge:1 goes on; `headgate runs show` has its result.\n",
    )
    assert asked == [("/api/v1/workflows/charge/call?wait=0ms", None, {}, 0.0)]


def test_a_run_that_a_filter_may_have_refused_is_named_with_its_event(answers: Answers) -> None:
    answers(202, {"run_id": "charge:1", "run": "/api/v1/runs/charge:1", "event_id": "e7", "filter_decides": True})
    result = run("charge", "--wait", "0")
    assert (result.return_value, result.stdout) == (
        0,
        "charge:1 goes on, unless the filter of charge refused the call; `headgate explain e7` says which.\n",
    )


@pytest.mark.parametrize("status", ["failed", "rejected", "cancelled"])
def test_a_run_that_did_not_complete_ends_with_1(answers: Answers, status: str) -> None:
    answers(200, RESULT | {"status": status, "error": {"type": "ValueError", "message": "no"}})
    result = run("charge")
    assert (result.return_value, "ValueError: no\n" in result.stdout) == (1, True)


def test_without_a_gateway_it_says_how_to_do_without(answers: Answers) -> None:
    answers(0, NoGateway("http://127.0.0.1:8080", "Connection refused"))
    result = run("charge")
    assert result.return_value == 1
    assert result.stderr == (
        "error: No gateway answers at http://127.0.0.1:8080 (Connection refused). "
        "`headgate send headgate/start/charge` starts a run without one, and without its result.\n"
    )


def test_a_workflow_that_nobody_announced_is_refused_in_the_gateways_words(answers: Answers) -> None:
    answers(0, GatewayRefused(404, "There is no workflow 'x'.", "Look."))
    with pytest.raises(GatewayRefused) as raised:
        run("x")
    assert raised.value.exit_code == 1


@pytest.mark.parametrize("wait", ["soon", "61s", "2m", "-1", ""])
def test_a_time_that_is_none_is_wrong_usage(answers: Answers, wait: str) -> None:
    asked = answers(200, RESULT)
    with pytest.raises(click.BadParameter, match="is not a time between 0 and 60s"):
        run("charge", "--wait", wait)
    assert asked == []
