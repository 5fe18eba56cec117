"""How records look; reading them is in tests/integration/test_cli_send_tail.py."""

from dataclasses import replace

import click
import orjson
import pytest

from app.cli import tail
from app.kafka.records import Record

AT = 1_767_323_045_678


def record(value: object, *, key: bytes | None = None, headers: tuple[tuple[str, bytes | None], ...] = ()) -> Record:
    raw = value if isinstance(value, bytes) or value is None else orjson.dumps(value)
    return Record(topic="t", partition=3, offset=42, timestamp_ms=AT, key=key, value=raw, headers=headers)


PLACE = "03:04:05.678 3-42    "


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (record({"topic": "a/b", "data": {"x": 1}}, key=b"k"), 'a/b [k] {"x":1}'),
        (record({"name": "order.created", "payload": [1]}), "order.created [1]"),
        (record({"specversion": "1.0", "type": "t", "data": None}), "t null"),
        (record({"x": 1}, headers=(("ce_type", b"t"),)), 't {"x":1}'),
        (record({"x": 1}), '? {"x":1}'),
        (record(b"\xff"), "? base64:/w=="),
        (record(b"plain\x1b[31m"), "? plain\\x1b[31m"),
        (record(None), "? null"),
        (record(b"[" * 300 + b"]" * 300), "? " + "[" * 300 + "]" * 300),
    ],
)
def test_an_event_is_topic_key_and_data(given: Record, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    tail._event_line(given)
    assert capsys.readouterr().out == PLACE + line + "\n"


def test_events_can_be_chosen_by_their_logical_topic() -> None:
    on_topic = record({"topic": "tech-feed/new_item", "data": 1})
    in_header = record({"x": 1}, headers=(("topic", b"tech-feed/new_item"),))
    other = record({"topic": "clock/tick", "data": 1})
    nothing = record(b"\xff")
    given = (on_topic, in_header, other, nothing)

    assert [tail._is_wanted(one, tail._wanted("events", "tech-feed/*")) for one in given] == [True, True, False, False]
    assert [tail._is_wanted(one, tail._wanted("events", "**")) for one in given] == [True, True, True, False]
    assert all(tail._is_wanted(one, tail._wanted("dlq", None)) for one in given)


@pytest.mark.parametrize(
    ("what", "topic", "words"), [("results", "a", "among events"), ("events", "a*", "whole segment")]
)
def test_what_cannot_be_chosen_is_wrong_usage(what: str, topic: str, words: str) -> None:
    with pytest.raises(click.UsageError, match=words):
        tail._wanted(what, topic)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"status": "completed", "run_id": "w:1", "result": {"a": 1}, "error": None}, 'completed w:1 {"a":1}'),
        (
            {"status": "failed", "run_id": "w:1", "result": None, "error": {"type": "E", "message": "a\nb"}},
            "failed    w:1 E: a\\nb",
        ),
        (["odd"], "null      null null"),
    ],
)
def test_a_result_is_status_run_and_outcome(given: object, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    tail._result_line(record(given))
    assert capsys.readouterr().out == PLACE + line + "\n"


def test_a_fact_is_its_name_run_and_what_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    error = {"type": "E", "message": "no", "traceback": "long"}
    fact = {"fact": "run_retried", "run_id": "w:1", "workflow_id": "w", "at": "x", "attempt": 1, "error": error}
    tail._fact_line(record(fact))
    assert capsys.readouterr().out == PLACE + 'run_retried   w:1 {"attempt":1,"error":"E: no"}\n'


def test_a_dead_letter_comes_with_its_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    tail._dead_letter_line(record({"code": "not_json", "reason": "it is not", "remedy": "make it"}))
    assert capsys.readouterr().out == PLACE + "not_json it is not\n" + " " * len(PLACE) + "remedy make it\n"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (record({"a": 1}), {"a": 1}),
        (record(b"text"), "text"),
        (record(b"\xff"), "base64:/w=="),
        (record(None), None),
        (record(b"[" * 254 + b"]" * 254), "[" * 254 + "]" * 254),
    ],
)
def test_json_has_the_whole_record(given: Record, shown: object, capsys: pytest.CaptureFixture[str]) -> None:
    tail._show_json(given)
    assert orjson.loads(capsys.readouterr().out) == {
        "topic": "t",
        "partition": 3,
        "offset": 42,
        "at": "2026-01-02T03:04:05.678Z",
        "key": None,
        "headers": {},
        "value": shown,
    }


def test_headers_that_cannot_be_read_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    tail._show_json(replace(record(1), has_odd_headers=True))
    assert orjson.loads(capsys.readouterr().out)["headers"] is None


def test_every_topic_has_its_line() -> None:
    assert tuple(tail._LINES) == tail.TOPICS
