import io
import logging
from collections.abc import Iterator

import orjson
import pytest
from pydantic import SecretStr

from app.observe import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _root_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs._NOISE}
    yield
    root.handlers[:], root.level = handlers, level
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def written(stream: io.StringIO) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def test_in_a_pipe_an_event_is_one_json_object() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logs.get("app.pump").info("claim_appended", partition=3, term=1712)
    [line] = written(stream)
    assert str(line.pop("at")).endswith("Z")
    assert line == {
        "level": "info",
        "event": "claim_appended",
        "logger": "app.pump",
        "partition": 3,
        "term": 1712,
    }


def test_on_a_terminal_it_is_a_line_of_text_with_colour() -> None:
    stream = Terminal()
    logs.configure(stream=stream)
    logs.get("x").warning("clock_differs", worker="a", seconds=1.5, why="two words", nothing="")
    line = stream.getvalue()
    assert line.startswith("\x1b[33m")
    assert line.endswith(' warning clock_differs worker=a seconds=1.5 why="two words" nothing=""\x1b[0m\n')


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("\x1b[2Jgone", r'"\u001b[2Jgone"'),
        ("\x00", r'"\u0000"'),
        ("\x9b31m\u202e\x7f", r'"\u009b31m\u202e\u007f"'),
        ("two\nlines é", r'"two\nlines é"'),
        ("half \ud800", r'"half \ud800"'),
        ("é", "é"),
    ],
)
def test_nothing_in_a_value_is_obeyed_by_a_terminal(value: str, shown: str) -> None:
    stream = Terminal()
    logs.configure(stream=stream)
    logs.get("x").info("read", what=value)
    assert stream.getvalue().endswith(f" info    read what={shown}\n")


@pytest.mark.parametrize(("form", "stream", "first"), [("json", Terminal(), "{"), ("text", io.StringIO(), None)])
def test_the_form_can_be_chosen(form: str, stream: io.StringIO, first: str | None) -> None:
    logs.configure(form=form, stream=stream)  # type: ignore[arg-type]
    logs.get("x").info("started")
    assert stream.getvalue().startswith("{") is (first == "{")
    assert "\x1b" not in stream.getvalue()


def test_what_is_below_the_level_is_not_written() -> None:
    stream = io.StringIO()
    logs.configure(level="warning", stream=stream)
    log = logs.get("x")
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert [line["event"] for line in written(stream)] == ["c", "d"]


def test_chatter_of_libraries_needs_the_debug_level() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logging.getLogger("aiokafka.consumer").info("Subscribed")
    logging.getLogger("aiokafka.consumer").warning("Heartbeat failed")
    assert [line["event"] for line in written(stream)] == ["Heartbeat failed"]
    logs.configure(level="debug", stream=stream)
    logging.getLogger("aiokafka.consumer").info("Subscribed")
    assert [line["event"] for line in written(stream)] == ["Heartbeat failed", "Subscribed"]


def test_a_group_that_changes_is_no_warning() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    client = logging.getLogger("aiokafka.consumer.group_coordinator")
    client.warning("Heartbeat failed for group %s because it is rebalancing", "headgate.connectors")
    client.warning("Heartbeat failed: local member_id was not recognized")
    assert [line["event"] for line in written(stream)] == ["Heartbeat failed: local member_id was not recognized"]


def test_an_exception_comes_with_its_traceback() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    try:
        raise ValueError("no")
    except ValueError as error:
        logs.get("x").error("pump_failed", exc_info=error, partition=1)
    [line] = written(stream)
    assert str(line["traceback"]).startswith("Traceback")
    assert str(line["traceback"]).endswith("ValueError: no")


@pytest.mark.parametrize("form", ["json", "text"])
def test_secrets_are_never_written(form: str) -> None:
    stream = io.StringIO()
    logs.configure(form=form, stream=stream, secrets=["hunter2hunter2", "abc"])  # type: ignore[arg-type]
    log = logs.get("x")
    log.info("connected", url="kafka://me:hunter2hunter2@host", password="other", Authorization="Bearer x.y")
    log.info("said hunter2hunter2", held=SecretStr("a-third-one"))
    try:
        raise ValueError("hunter2hunter2")
    except ValueError as error:
        log.error("failed", exc_info=error)
    text = stream.getvalue()
    assert not [secret for secret in ("hunter2hunter2", "other", "x.y", "a-third-one") if secret in text]
    assert f"kafka://me:{logs.HIDDEN}@host" in text


def test_what_is_no_json_is_written_as_text() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logs.get("x").info("odd", what={1: {2, 3}}, error=ValueError("no"))
    [line] = written(stream)
    assert (line["what"], line["error"]) == ({"1": "{2, 3}"}, "no")


def test_line_breaks_in_a_value_do_not_break_the_line() -> None:
    stream = io.StringIO()
    logs.configure(form="text", stream=stream)
    logs.get("x").info("odd", value="a\nb")
    assert stream.getvalue().endswith('odd value="a\\nb"\n')


def test_lists_are_written_as_people_do() -> None:
    stream = io.StringIO()
    logs.configure(form="text", stream=stream)
    logs.get("x").info("changed", added=["a", "b"], removed=[], partitions=(1, 2), named=["c d"])
    assert stream.getvalue().endswith('changed added=a,b removed=- partitions=1,2 named="c d"\n')


def test_the_kafka_client_says_the_same_once_and_not_ten_times_a_second() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    client, ours = logging.getLogger("aiokafka.conn"), logging.getLogger("app.pump")
    for port in range(3):
        client.error("Unable connect to node with id %s", port)
        ours.error("append_failed")
    assert [line["event"] for line in written(stream)] == [
        "Unable connect to node with id 0",
        "append_failed",
        "append_failed",
        "append_failed",
    ]
