"""Runs and workflows straight from Kafka; no gateway is there."""

from collections.abc import Callable

import orjson
import pytest

from app.kafka.embedded import EmbeddedKafka
from app.kafka.records import Writer
from app.settings import KafkaSettings
from topics import announcement, facts
from topics.envelope import Envelope
from topics.keys import partition_of

Run = Callable[..., str]
EVENT = Envelope("i1", "", True, "orders/created", None, "k", {}, None, None, None, None, 0, 0, 1_000, 10)
DONE, ON = "w:0000000000000000000000aa", "w:0000000000000000000000bb"


@pytest.fixture
def run(run: Run, kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `headgate` where one run is done, another goes on, and one workflow is announced."""
    monkeypatch.setenv("HEADGATE_GATEWAY_URL", "http://127.0.0.1:1")
    writer = Writer(KafkaSettings(bootstrap=kafka.bootstrap, prefix=kafka_prefix))
    for run_id, at_ms in ((DONE, 1_000), (ON, 2_000)):
        fact = facts.run_started(
            run_id=run_id, workflow_id="w", workflow_version="1", at_ms=at_ms, key="k", events=[EVENT]
        )
        writer.write(f"{kafka_prefix}runs", key=fact.key, value=fact.value, then=lambda _: None)
    result = facts.result_value(
        run_id=DONE,
        workflow_id="w",
        workflow_version="1",
        status="completed",
        result_json=b'{"ok":true}',
        error=None,
        events=[EVENT],
        key="k",
        started_at_ms=1_000,
        finished_at_ms=1_500,
        attempts=1,
    )
    writer.write(f"{kafka_prefix}results", key=DONE.encode(), value=result, then=lambda _: None)
    announced = orjson.dumps({"id": "w", "version": "1", "triggers": ["orders/*"], "batch_size": 1})
    writer.write(f"{kafka_prefix}workflows", key=b"w", value=announced, then=lambda _: None)
    loaded = announcement.workflows_loaded(
        instance_id="w-0", process="p", workflows={"w": "1"}, every_seconds=60, at_ms=0
    )
    writer.write(f"{kafka_prefix}workflows", key=loaded.key, value=loaded.value, then=lambda _: None)
    writer.flush()
    return run


def test_runs_are_listed_newest_first(run: Run) -> None:
    found = [orjson.loads(line) for line in run("runs", "list", "--json").splitlines()]
    assert [(one["run_id"], one["status"]) for one in found] == [(ON, "running"), (DONE, "completed")]
    assert [line.split()[:2] for line in run("runs", "list", "--status", "completed").splitlines()] == [
        ["status", "run"],
        ["completed", DONE],
    ]


def test_a_run_is_shown_with_its_result_and_facts(run: Run) -> None:
    shown = orjson.loads(run("runs", "show", DONE, "--json"))
    assert (shown["run"]["result"], [fact["fact"] for fact in shown["facts"]]) == ({"ok": True}, ["run_started"])
    assert orjson.loads(run("runs", "show", ON, "--json"))["run"]["status"] == "running"


def test_a_run_that_is_not_there_ends_with_1(run: Run) -> None:
    assert run("runs", "show", "w:none", code=1) == ""


def test_a_workflow_is_listed_until_it_is_retired(run: Run) -> None:
    assert [orjson.loads(line)["id"] for line in run("workflows", "list", "--json").splitlines()] == ["w"]
    run("workflows", "retire", "w", "--yes", code=1)  # the worker of `run` has loaded it
    [loaded] = [orjson.loads(line) for line in run("workflows", "list", "--json").splitlines()]
    assert loaded["loaded_by"] == ["w-0"]
    assert run("workflows", "retire", "w", "--yes", "--force") == "Retired w.\n"
    assert run("workflows", "list", "--json") == ""
    [retired] = [orjson.loads(line) for line in run("workflows", "list", "--retired", "--json").splitlines()]
    assert set(retired) == {"id", "retired_at", "loaded_by"}
    assert run("workflows", "retire", "w").startswith("w was retired at ")


def test_what_is_asked_of_a_run_is_an_event_with_its_id_as_key(run: Run) -> None:
    for arguments in (("resume", DONE, "approval", '{"ok":true}'), ("cancel", DONE), ("retry", DONE)):
        run("runs", *arguments)
    found = [orjson.loads(line) for line in run("tail", "events", "--from-start", "--no-follow", "--json").splitlines()]
    assert [(one["key"], one["value"]) for one in found] == [
        (DONE, {"topic": f"headgate/resume/{DONE}/approval", "data": {"ok": True}}),
        (DONE, {"topic": "headgate/cancel", "data": None}),
        (DONE, {"topic": "headgate/retry", "data": None}),
    ]
    assert {one["partition"] for one in found} == {partition_of(DONE.encode(), 8)}
    run("runs", "cancel", "w", code=2)


def test_an_event_is_explained_by_its_id_and_by_its_place(run: Run, kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    for number in range(3):
        run("send", "orders/created", str(number), "--id", f"e{number}", "--key", "k")
    run("send", "orders/created", "1", "--id", "e1", "--key", "k")
    writer = Writer(KafkaSettings(bootstrap=kafka.bootstrap, prefix=kafka_prefix))
    writer.write(f"{kafka_prefix}events", key=b"k", value=b"{", partition=0, then=lambda _: None)
    writer.flush()
    home = partition_of(b"k", 8)
    found = orjson.loads(run("explain", "e1", "--json"))
    assert (found["event"]["partition"], found["event"]["offset"], found["event"]["home"]) == (home, 1, home)
    assert [one["offset"] for one in found["repeated_by"]] == [3]
    [flow] = found["workflows"]
    assert (flow["workflow"], flow["became"]) == ("w", "not handled")
    again = orjson.loads(run("explain", f"{home}-3", "--since", "1h", "--json"))
    assert again["duplicate_of"]["offset"] == 1
    assert orjson.loads(run("explain", "0-0" if home else "0-4", "--json"))["malformed"]["type"] == "not_json"
    assert "duplicate of  partition" in run("explain", f"{home}-3")
    assert run("explain", f"{home}-99", code=1) == ""
    assert run("explain", "99-0", code=1) == ""
