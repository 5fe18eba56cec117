"""What is refused before anything is sent; the rest is in tests/integration/test_cli_send_tail.py."""

from collections.abc import Callable

import orjson
import pytest
from click.testing import CliRunner

from app.cli import workflows
from app.cli.send import command
from app.kafka import provisioning, records
from app.kafka.records import Written
from app.settings import Settings
from tests.unit.app.cli.conftest import FakeAdmin


class NoWriter:
    """Takes what a Writer takes, and must be given nothing."""

    def __init__(self, _kafka: object) -> None:
        pass

    def write(self, *_: object, **__: object) -> None:
        pytest.fail("something was sent")

    def flush(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _topics(connected: object, admin: FakeAdmin, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    admin.create(provisioning.wanted(settings.kafka))
    monkeypatch.setattr(records, "Writer", NoWriter)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["orders/created", "{a}"], "The event was not sent: it is not JSON ("),
        (["", "1"], "The event was not sent: the topic is empty; name the topic with"),
        (["a", "1", "--id", "x" * 513], "The event was not sent: the id "),
        (["a", "-", "--id", "x"], "--id names one event, and `-` sends many."),
    ],
)
def test_a_wrong_event_is_wrong_usage(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_wrong_line_is_named_by_its_number() -> None:
    result = CliRunner().invoke(command, ["a", "-"], input="\n{\n\nnope\n", standalone_mode=False)
    assert result.return_value == 1
    assert [line.partition(" was not sent: it is not JSON (")[0] for line in result.stderr.splitlines()] == [
        "warning: line 2",
        "warning: line 4",
    ]


def test_without_the_topic_nothing_is_sent(admin: FakeAdmin) -> None:
    admin.found.clear()
    result = CliRunner().invoke(command, ["a", "1"])
    assert (
        str(result.exception) == "Topic headgate.events is missing. Run `headgate topics apply`, or mend kafka.prefix"
    )


class Landing:
    """Takes what a Writer takes, and says where it landed."""

    def __init__(self, _kafka: object) -> None:
        pass

    def write(self, *_: object, then: Callable[[Written], None], **__: object) -> None:
        then(Written(partition=1, offset=2))

    def flush(self) -> None:
        pass


@pytest.mark.parametrize(
    ("topic", "warning"),
    [
        ("people/joined", ""),
        ("orders/any/created", ""),
        ("peple/joined", "warning: no workflow listens to 'peple/joined'; did you mean 'people/joined'? {waits}\n"),
        ("x", "warning: no workflow listens to 'x'; `headgate workflows list` shows what they trigger on. {waits}\n"),
    ],
)
def test_an_event_that_no_workflow_listens_to_is_sent_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, topic: str, warning: str
) -> None:
    monkeypatch.setattr(records, "Writer", Landing)
    known = {"a": {"triggers": ["people/joined", "orders/**"]}, "old": {"triggers": ["x"], "retired_at": "then"}}
    monkeypatch.setattr(workflows, "announced", lambda _cluster: known)
    result = CliRunner().invoke(command, [topic, "1", "--json"], standalone_mode=False, catch_exceptions=False)
    assert (result.return_value, result.stderr) == (0, warning.format(waits="If a run waits for it, all is well"))
    assert orjson.loads(result.stdout) == {"id": "1-2", "partition": 1, "offset": 2}


def test_an_event_that_no_worker_was_ever_there_for_is_sent_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "Writer", Landing)
    monkeypatch.setattr(workflows, "announced", lambda _cluster: {})
    result = CliRunner().invoke(command, ["x", "1"], standalone_mode=False, catch_exceptions=False)
    assert (result.return_value, "no worker has announced any" in result.stderr) == (0, True)
