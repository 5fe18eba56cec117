"""What `headgate dev` shows. It runs in tests/e2e/test_dev.py."""

from pathlib import Path

import orjson
import pytest

from app.cli import dev
from app.kafka.records import Record
from app.wiring.dev import Addresses


def record(**value: object) -> Record:
    raw = orjson.dumps(value)
    return Record(topic="t", partition=0, offset=0, timestamp_ms=0, key=None, value=raw, headers=())


def test_a_failed_run_names_the_command_that_shows_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    show = dev._Show()
    show.near = " --url http://127.0.0.1:8081"
    show(record(run_id="w:1", status="failed", error={"type": "ValueError", "message": "no"}))
    show(record(run_id="w:2", status="completed", result=1))
    assert capsys.readouterr().err == (
        "result   | failed w:1 ValueError: no\n"
        "result   | traceback: headgate runs show w:1 --url http://127.0.0.1:8081\n"
        "result   | completed w:2 1\n"
    )


@pytest.mark.parametrize("value", [b"5", b"null", b"[1]", b"", b"\xff"])
def test_what_is_neither_result_nor_dead_letter_is_not_shown(value: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    dev._Show()(Record(topic="t", partition=0, offset=0, timestamp_ms=0, key=None, value=value, headers=()))
    assert capsys.readouterr().err == ""


def test_a_source_whose_events_are_all_dead_letters_does_not_fill_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 0.0
    show, source = dev._Show(clock=lambda: now), {"topic": "headgate/sources/trades"}
    for seconds in (0.0, 1.0, 2.0, 60.0):
        now = seconds
        show(record(code="filter_failed", reason="gt of a text", remedy="ask another", source=source))
        show(record(code="run_failed", reason="no", remedy="mend it", source={"topic": "headgate.events"}))
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "gt of" in line] == [
        "dlq      | filter_failed gt of a text",
        "dlq      | filter_failed gt of a text (3 times)",
    ]
    assert sum("run_failed" in line for line in lines) == 4


def test_a_record_commands_no_terminal_whatever_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    show, title = dev._Show(), "\x1b]0;mine\x07"
    show(record(run_id=title, status=title, error={"message": title}))
    show(record(run_id=title, status="failed", error=title))
    show(record(code=title, reason=title, remedy=[title]))
    assert "\x1b]" not in capsys.readouterr().err


@pytest.mark.parametrize(("example", "shown"), [("people/it's", "people/it"), (None, "order.created")])
def test_the_hint_sends_to_a_topic_that_something_listens_to(
    capsys: pytest.CaptureFixture[str], example: str | None, shown: str
) -> None:
    here = Addresses(gateway="http://127.0.0.1:8080", kafka="127.0.0.1:9092", metrics=(), example=example)
    dev._hint(here, ("flows.py",), [], data=Path("d"), token="t")
    text = capsys.readouterr().err
    assert f'{{"name": "{shown}' in text
    assert ("order.created" in text) == (example is None)


def test_whoever_runs_sources_is_told_how_to_look_at_them(capsys: pytest.CaptureFixture[str]) -> None:
    here = Addresses(gateway="http://127.0.0.1:8080", kafka="127.0.0.1:9093", metrics=(), example=None)
    dev._hint(here, (), [Path("sources.yaml")], data=Path("d"), token="t")
    text = capsys.readouterr().err
    assert "headgate connectors status --kafka 127.0.0.1:9093\n" in text
    assert "Name a file: headgate dev workflows.py sources.yaml\n" in text
