"""app.cli.explain: what is read of Kafka, and what is shown."""

from collections.abc import Callable, Iterator
from typing import Any

import click
import orjson
import pytest
from click.testing import CliRunner, Result

from app.cli.explain import command
from app.kafka import provisioning, records
from app.kafka.records import Record
from app.settings import Settings
from app.wiring import listening
from app.wiring.listening import Heard, Worker
from tests.unit.app.cli.conftest import FakeAdmin
from topics import codec, facts, keys
from topics.letters import dead_letter

AT = 1_769_860_800_000  # 2026-01-31T12:00:00Z
Logs = dict[str, list[Record]]


def produced(offset: int, event_id: str | None = "e1", key: str | None = "k", partition: int = 0) -> Record:
    record_key, value, headers = codec.produce_form("orders/created", 1, event_id=event_id, key=key)
    return Record(
        topic="headgate.events",
        partition=partition,
        offset=offset,
        timestamp_ms=AT + offset,
        key=record_key,
        value=value,
        headers=tuple(headers),
    )


def record(topic: str, value: bytes | None, key: bytes | None = None) -> Record:
    return Record(topic=topic, partition=0, offset=0, timestamp_ms=AT, key=key, value=value, headers=())


@pytest.fixture
def logs(connected: object, admin: FakeAdmin, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Logs:
    """What the topics hold, by their names; `since` is asked for the whole of each."""
    admin.create(provisioning.wanted(settings.kafka))
    made: Logs = {}

    def since(_kafka: object, _admin: object, topic: str, at_ms: int) -> Iterator[Record]:
        assert at_ms <= AT + 60_000 or topic == "headgate.events"
        yield from made.get(topic, [])

    def record_at(_kafka: object, _admin: object, topic: str, *, partition: int, offset: int) -> Record | None:
        found = [one for one in made.get(topic, []) if (one.partition, one.offset) == (partition, offset)]
        return found[0] if found else None

    def whole(_kafka: object, _admin: object, topic: str, *, partition: int) -> Iterator[Record]:
        yield from [one for one in made.get(topic, []) if one.partition == partition]

    monkeypatch.setattr(records, "since", since)
    monkeypatch.setattr(records, "whole", whole)
    monkeypatch.setattr(records, "record_at", record_at)
    flows = {"w": {"id": "w", "triggers": ["orders/*"]}, "x": {"id": "x", "triggers": ["orders/paid"]}}
    worker = Worker(instance_id="w-0", workflows={"w": "1"}, silent_seconds=0)
    heard = Heard(workflows=flows, workers=[worker])
    monkeypatch.setattr(listening, "heard", lambda _kafka, _admin, **_given: heard)
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False)


def finished(run_id: str, event: Record) -> Record:
    value = facts.result_value(
        run_id=run_id,
        workflow_id="w",
        workflow_version="1",
        status="completed",
        result_json=b"1",
        error=None,
        events=[decoded(event)],
        key=None,
        started_at_ms=AT,
        finished_at_ms=AT,
        attempts=1,
    )
    return record("headgate.results", value, run_id.encode())


def decoded(event: Record) -> Any:
    return codec.decode(
        event.value,
        event.key,
        event.headers,
        partition=event.partition,
        offset=event.offset,
        timestamp_ms=event.timestamp_ms,
        max_bytes=None,
    )


def test_an_event_is_found_by_its_id_and_explained(logs: Logs, settings: Settings) -> None:
    first, again = produced(5), produced(9)
    run_id = keys.run_id("w", keys.digest_of(decoded(first)))
    logs["headgate.events"] = [record("headgate.events", None), produced(1, "e2"), again, first]
    logs["headgate.results"] = [record("headgate.results", b"{"), finished(run_id, first)]
    home = keys.partition_of(b"k", settings.kafka.partitions)
    shown = run("e1").stdout
    assert shown == (
        "event         e1\n"
        "topic         orders/created\n"
        "type          -\n"
        "key           k\n"
        "source        -\n"
        "landed        partition 0, offset 5, at 2026-01-31T12:00:00.005Z\n"
        f"home          partition {home}, by its key\n"
        "duplicate of  -\n"
        "repeated by   partition 0, offset 9, at 2026-01-31T12:00:00.009Z\n"
        "\n"
        f"workflow  became     {'run'.ljust(len(run_id))}  why\n"
        f"w         completed  {run_id}  -\n"
        f"x         no match   {'-'.ljust(len(run_id))}  'orders/paid': segment 2 is 'created', not 'paid'\n"
        "\n"
        "Runs that began to wait before 2026-01-31T11:59:00.005Z were not looked at; a longer --since, such as 30d, "
        "looks further back.\n"
    )


def test_an_event_is_found_by_its_place(logs: Logs) -> None:
    logs["headgate.events"] = [produced(5), produced(9), produced(7, None, None)]
    found = orjson.loads(run("0-9", "--json").stdout)
    assert (found["event"]["id"], found["duplicate_of"]["offset"]) == ("e1", 5)
    unnamed = orjson.loads(run("0-7", "--json").stdout)
    assert (unnamed["event"]["id"], unnamed["event"]["home_by"]) == ("0-7", "where it landed")


def test_an_id_that_reads_like_a_place_is_found_too(logs: Logs) -> None:
    logs["headgate.events"] = [produced(5, "7-7")]
    assert orjson.loads(run("7-7", "--json").stdout)["event"]["offset"] == 5


def test_events_of_one_id_with_different_keys_are_explained_one_by_one(logs: Logs) -> None:
    logs["headgate.events"] = [produced(5), produced(9, key="other")]
    found = [orjson.loads(line)["event"]["key"] for line in run("e1", "--json").stdout.splitlines()]
    assert found == ["k", "other"]


def test_dead_letters_and_waits_are_shown(logs: Logs) -> None:
    event = produced(5)
    logs["headgate.events"] = [event]
    letter = dead_letter(
        code="run_failed",
        reason="ValueError: no",
        remedy="mend it",
        source_topic="headgate.events",
        partition=0,
        offset=5,
        timestamp_ms=AT,
        key=None,
        value=b"1",
        headers=(),
        at_ms=AT,
    )
    logs["headgate.dlq"] = [record("headgate.dlq", letter.value), record("headgate.dlq", b'{"source":{"offset":5}}')]
    waits = facts.step_waiting(
        run_id="v:0123456789abcdef01234567",
        workflow_id="v",
        at_ms=AT,
        key="go?",
        kind="await",
        what="wait_for_event topic='orders/*' event_key=None",
        since_ms=AT,
        until_ms=None,
    )
    logs["headgate.runs"] = [record("headgate.runs", waits.value, waits.key)]
    shown = run("e1").stdout
    assert "\ndead letter  run_failed: ValueError: no\nremedy       mend it\n" in shown
    assert (
        "\nwaiting run                 step  became  why\nv:0123456789abcdef01234567  go?   open    it waits still:"
        in shown
    )


def test_a_record_that_is_no_event_says_why(logs: Logs) -> None:
    logs["headgate.events"] = [record("headgate.events", b"{")]
    shown = run("0-0").stdout
    assert shown.startswith("record       0-0\nappended     2026-01-31T12:00:00.000Z\nno event     not_json: ")
    assert shown.endswith("\ndead letter  not yet\n")
    assert orjson.loads(run("0-0", "--json").stdout)["malformed"]["type"] == "not_json"


@pytest.mark.parametrize("event_id", ["nobody", "9-9"])
def test_an_event_that_is_not_there_ends_with_1(logs: Logs, event_id: str) -> None:
    result = run(event_id, "--since", "90m")
    assert result.return_value == 1
    assert result.stderr.startswith(
        f"error: There is no event {event_id!r} in what was appended in the last 1.5 h. Look further back with --since"
    )


@pytest.mark.parametrize("span", ["", "soon", "1w", "-1h"])
def test_a_span_that_is_none_is_wrong_usage(connected: Callable[[], object], span: str) -> None:
    with pytest.raises(click.BadParameter, match="is no span of time"):
        run("e1", "--since", span)
