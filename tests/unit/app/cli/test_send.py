"""What is refused before anything is sent; the rest is in tests/integration/test_cli_send_tail.py."""

import pytest
from click.testing import CliRunner

from app.cli.send import command
from app.kafka import provisioning, records
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
