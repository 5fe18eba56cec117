from collections.abc import Callable, Mapping
from typing import Any

import click
import orjson
import pytest
from click.testing import CliRunner, Result

from app.cli import gatewayapi, runlog
from app.cli.gatewayapi import GatewayRefused, NoGateway
from app.cli.runs import command
from topics import told

RUN = {
    "run_id": "w:1",
    "workflow_id": "w",
    "workflow_version": "2",
    "status": "failed",
    "key": None,
    "started_at": "2026-01-01T00:00:00.000Z",
    "finished_at": "2026-01-01T00:00:00.250Z",
    "attempts": 3,
    "error": {"type": "ValueError", "message": "no\x1b[2J", "traceback": "Traceback\n  boom\n"},
}
EVENTS = [{"id": "i1", "topic": "orders/created", "partition": 1, "offset": 2}]
Answer = Callable[..., None]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], list[tuple[str, Mapping[str, Any] | None]]]:
    """Makes the gateway answer (or raise) this; returns what it is asked."""

    def make(answer: object) -> list[tuple[str, Mapping[str, Any] | None]]:
        asked: list[tuple[str, Mapping[str, Any] | None]] = []

        def get(_self: object, path: str, query: Mapping[str, Any] | None = None) -> object:
            asked.append((path, query))
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(gatewayapi.Gateway, "get", get)
        return asked

    return make


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False)


def test_the_gateway_is_asked_for_what_is_wanted(answers: Callable[[object], list[Any]]) -> None:
    asked = answers({"runs": [RUN], "read_model": {"rebuilding": False}})
    assert run("list", "--status", "failed").stdout == (
        "status  run  key  attempts  started                   took\n"
        "failed  w:1  -    3         2026-01-01T00:00:00.000Z  250 ms\n"
    )
    query = {"workflow": None, "status": "failed", "key": None, "limit": "50"}
    assert asked == [("/api/v1/runs", query)]


def test_json_is_one_run_a_line(answers: Callable[[object], list[Any]]) -> None:
    answers({"runs": [RUN, RUN], "read_model": {}})
    assert [orjson.loads(line) for line in run("list", "--json").stdout.splitlines()] == [RUN, RUN]


def test_a_list_that_is_not_complete_yet_says_so(answers: Callable[[object], list[Any]]) -> None:
    answers({"runs": [], "read_model": {"rebuilding": True, "behind_records": 7}})
    result = run("list")
    assert result.stderr == "The gateway is still reading older runs (7 records to go).\n"
    assert result.stdout == "No runs.\n"


def test_no_match_is_said_as_such(answers: Callable[[object], list[Any]]) -> None:
    answers({"runs": [], "read_model": {}})
    assert run("list", "--key", "k").stdout == "No runs that match.\n"


def test_without_a_gateway_kafka_is_read(
    answers: Callable[[object], list[Any]], connected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(NoGateway("http://127.0.0.1:8080", "Connection refused"))
    monkeypatch.setattr(runlog, "summaries", lambda *_, **__: [RUN])
    result = run("list", "--json")
    assert orjson.loads(result.stdout) == RUN
    assert result.stderr == (
        "No gateway answers at http://127.0.0.1:8080 (Connection refused); reading from Kafka at 127.0.0.1:9092.\n"
    )


def test_with_the_option_kafka_no_gateway_is_asked(
    answers: Callable[[object], list[Any]], connected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answers({"runs": []})
    monkeypatch.setattr(runlog, "summaries", lambda *_, **__: [])
    assert run("list", "--kafka", "a:1").stdout == "No runs.\n"
    assert asked == []


def test_a_gateway_that_refuses_is_no_missing_gateway(answers: Callable[[object], list[Any]]) -> None:
    answers(GatewayRefused(401, "The gateway refuses the token.", "Set it."))
    with pytest.raises(GatewayRefused):
        run("list")


def test_one_run_is_shown_with_events_facts_and_error(answers: Callable[[object], list[Any]]) -> None:
    fact = {"fact": "run_retried", "at": "2026-01-01T00:00:00.100Z", "error": {"type": "E", "message": "no"}}
    facts = [{"fact": "run_started", "at": "2026-01-01T00:00:00.000Z"}, fact | {"retry_at": "later"}]
    asked = answers({"run": RUN | {"events": EVENTS, "result": None}, "facts": facts})
    assert run("show", "w:1").stdout == (
        "run       w:1\n"
        "workflow  w (version 2)\n"
        "status    failed\n"
        "key       -\n"
        "started   2026-01-01T00:00:00.000Z\n"
        "finished  2026-01-01T00:00:00.250Z\n"
        "took      250 ms\n"
        "attempts  3\n"
        "\n"
        "event  topic           partition  offset\n"
        "i1     orders/created  1          2\n"
        "\n"
        "at                        fact         what\n"
        "2026-01-01T00:00:00.000Z  run_started  -\n"
        "2026-01-01T00:00:00.100Z  run_retried  E: no, again at later\n"
        "\n"
        "ValueError: no\\x1b[2J\n"
        "Traceback\n"
        "  boom\n"
    )
    assert asked == [("/api/v1/runs/w%3A1", None)]


STEP = dict.fromkeys(told._FIELDS) | {"received": []}
STEPS = [
    STEP
    | {"step": "charge", "kind": "run", "what": "charge_card", "state": "done", "attempts": 2}
    | {"queued_ms": 3, "took_ms": 1500},
    STEP
    | {"step": "tell", "kind": "note", "what": "publish_event", "state": "done", "published": "w:1:tell"}
    | {"queued_ms": 0, "took_ms": 0, "attempts": 0},
    STEP
    | {"step": "paid?", "kind": "await", "what": "wait", "state": "done", "received": [{"id": "e1"}, {"id": "e2"}]}
    | {"queued_ms": 0, "took_ms": 20, "attempts": 0},
    STEP
    | {"step": "ship", "kind": "run", "what": "ship", "state": "retrying", "attempts": 1, "retry_at": "later"}
    | {"error": {"type": "E", "message": "no\x1b"}},
    STEP
    | {"step": "ok?", "kind": "suspend", "what": "suspend", "state": "open", "waits_for": "suspend"}
    | {"since": "then", "until": "soon"},
    STEP
    | {"step": "all", "kind": "invoke", "what": "batch_invoke_and_wait ship (101)", "state": "open"}
    | {"waits_for": "b", "since": "then", "children": ["ship:1", "ship:2"], "children_count": 101},
    STEP
    | {"step": "one", "kind": "invoke", "what": "invoke ship (1)", "state": "done", "queued_ms": 0, "took_ms": 0}
    | {"attempts": 0, "children": ["ship:3"], "children_count": 1},
    STEP | {"step": "nap", "kind": "sleep", "what": "sleep", "state": "open", "waits_for": "sleep", "since": "then"},
    STEP
    | {"step": "pack", "kind": "run", "what": "pack", "state": "running", "started_at": "then", "queued_ms": 4}
    | {"attempts": 2, "error": {"type": "E", "message": "no"}},
]


def test_a_run_that_is_only_accepted_has_no_version_yet(answers: Callable[[object], list[Any]]) -> None:
    answers({"run": {"run_id": "w:1", "workflow_id": "w", "status": "accepted", "workflow_version": None}, "facts": []})
    assert run("show", "w:1").stdout == (
        "run       w:1\n"
        "workflow  w\n"
        "status    accepted\n"
        "key       -\n"
        "started   -\n"
        "finished  -\n"
        "took      -\n"
        "attempts  -\n"
    )


def test_steps_are_shown_with_what_became_of_them(answers: Callable[[object], list[Any]]) -> None:
    facts = [{"fact": "run_started", "at": "then"}, {"fact": "step_waiting", "at": "then"}]
    run_now = RUN | {"status": "retrying", "finished_at": None, "error": None}
    answers({"run": run_now, "steps": STEPS, "facts": facts})
    assert run("show", "w:1").stdout.partition("\n\n")[2] == (
        "step    kind     state     queued  took   attempts  what\n"
        "charge  run      done      3 ms    1.5 s  2         charge_card\n"
        "tell    note     done      0 ms    0 ms   0         publish_event; published w:1:tell\n"
        "paid?   await    done      0 ms    20 ms  0         wait; received e1, e2\n"
        "ship    run      retrying  -       -      1         ship; E: no\\x1b, again at later\n"
        "ok?     suspend  open      -       -      -         suspend; since then until soon\n"
        "all     invoke   open      -       -      -         batch_invoke_and_wait ship (101); since then; "
        "started ship:1, ship:2 (the first of 101)\n"
        "one     invoke   done      0 ms    0 ms   0         invoke ship (1); started ship:3\n"
        "nap     sleep    open      -       -      -         sleep; since then\n"
        "pack    run      running   4 ms    -      2         pack; since then; E: no\n"
        "\n"
        "at    fact         what\n"
        "then  run_started  -\n"
    )


def test_a_result_is_shown_whole(answers: Callable[[object], list[Any]]) -> None:
    answers({"run": RUN | {"status": "completed", "error": None, "result": {"a": [1]}}, "facts": []})
    assert run("show", "w:1").stdout.endswith('\nresult\n{\n  "a": [\n    1\n  ]\n}\n')


def test_json_has_the_run_and_its_facts(answers: Callable[[object], list[Any]]) -> None:
    answers({"run": RUN, "facts": [], "read_model": {}})
    assert orjson.loads(run("show", "w:1", "--json").stdout) == {"run": RUN, "steps": [], "facts": []}


def test_a_run_that_the_gateway_does_not_know_fails_in_its_words(answers: Callable[[object], list[Any]]) -> None:
    answers(GatewayRefused(404, "There is no run x.", "The read model is 3 records behind: ask again."))
    with pytest.raises(GatewayRefused) as raised:
        run("show", "x")
    assert raised.value.exit_code == 1


def test_a_run_that_is_not_kept_is_told_with_the_command_that_lists_them(
    answers: Callable[[object], list[Any]],
) -> None:
    answers(GatewayRefused(404, "There is no run 'x'.", "GET /api/v1/runs lists the runs that are kept."))
    result = run("show", "x")
    assert result.return_value == 1
    assert result.stderr == "error: There is no run 'x'. `headgate runs list` shows those that are kept.\n"


def test_an_unknown_status_is_wrong_usage() -> None:
    with pytest.raises(click.BadParameter, match="'ko' is not one of 'completed'"):
        run("list", "--status", "ko")


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("on_orders", "warning: no workflow 'on_orders' is announced; did you mean 'on_order'?\n"),
        ("nix", "warning: no workflow 'nix' is announced; `headgate workflows list` shows those that are known\n"),
        ("on_order", ""),
    ],
)
def test_no_runs_of_an_unknown_workflow_are_told_as_such(
    answers: Callable[[object], list[Any]], name: str, warning: str
) -> None:
    answers({"runs": [], "read_model": {}, "workflows": [{"id": "on_order"}]})
    result = run("list", "--workflow", name)
    assert (result.stdout, result.stderr) == ("No runs that match.\n", warning)


def test_a_run_that_kafka_does_not_have_fails(connected: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runlog, "one", lambda *_: None)
    result = run("show", "x", "--kafka", "a:1")
    assert result.return_value == 1
    assert result.stderr == "error: There is no run 'x'. `headgate runs list` shows those that are kept.\n"


def test_long_runs_are_measured_in_seconds(answers: Callable[[object], list[Any]]) -> None:
    answers({"runs": [RUN | {"finished_at": "2026-01-01T00:01:30.000Z"}, RUN | {"finished_at": None}]})
    assert [line.rpartition("  ")[2] for line in run("list").stdout.splitlines()] == ["took", "90.0 s", "-"]


@pytest.mark.parametrize(
    "odd",
    [
        {"started_at": "x", "finished_at": "y"},
        {"started_at": "2026-01-01T00:00:00Z", "finished_at": 5},
        {"started_at": []},
        {"events": [1, None, {"id": []}]},
        {"events": {"a": 1}},
        {"error": "boom"},
        {"error": {"traceback": 5}},
        {"status": {}, "key": [], "attempts": "x"},
    ],
)
def test_a_record_that_is_not_as_it_should_be_is_shown_as_far_as_it_goes(
    answers: Callable[[object], list[Any]], odd: dict[str, Any]
) -> None:
    steps = [{"step": 1, "received": odd.get("events", 7), "error": odd.get("error")}]
    answers({"run": RUN | odd, "steps": steps, "facts": [odd], "runs": [RUN | odd], "read_model": {}})
    assert run("show", "w:1").return_value == 0
    assert len(run("list").stdout.splitlines()) == 2
