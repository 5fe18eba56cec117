"""app.cli.wishes, through the commands that send them: `headgate runs resume`, `cancel` and `retry`."""

from collections.abc import Callable
from typing import Any

import click
import orjson
import pytest
from click.testing import CliRunner, Result

from app.cli import wishes
from app.cli.runs import command
from app.kafka import provisioning
from app.kafka.records import TopicMissing, Written
from app.settings import Settings
from tests.unit.app.cli.conftest import FakeAdmin
from topics import codec, keys

RUN = "charge:4f1c0ffee0ddba11decade00"
written: list[dict[str, Any]] = []


class Landing:
    """Takes what a Writer takes, and says where it landed."""

    def __init__(self, _kafka: object) -> None:
        written.clear()

    def write(self, topic: str, *, then: Callable[[Written], None], **record: Any) -> None:
        written.append({"topic": topic} | record)
        then(Written(partition=1, offset=2))

    def flush(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _topics(connected: object, admin: FakeAdmin, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    admin.create(provisioning.wanted(settings.kafka))
    monkeypatch.setattr(wishes, "Writer", Landing)
    written.clear()


def run(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False, input=given)


def event() -> Any:
    """The one event that was sent, as its reader sees it."""
    [record] = written
    return codec.decode(
        record["value"], record["key"], record["headers"], partition=0, offset=0, timestamp_ms=0, max_bytes=None
    )


@pytest.mark.parametrize(
    ("arguments", "given", "topic", "data", "said"),
    [
        (
            ("resume", RUN, "approval", '{"ok": true}'),
            None,
            f"headgate/resume/{RUN}/approval",
            {"ok": True},
            f"Asked step approval of {RUN} to go on (event 1-2 on headgate/resume/{RUN}/approval).\n",
        ),
        (
            ("resume", RUN, "approval", "-"),
            '"yes"\n',
            f"headgate/resume/{RUN}/approval",
            "yes",
            f"Asked step approval of {RUN} to go on (event 1-2 on headgate/resume/{RUN}/approval).\n",
        ),
        (
            ("resume", RUN, "approval"),
            None,
            f"headgate/resume/{RUN}/approval",
            None,
            f"Asked step approval of {RUN} to go on (event 1-2 on headgate/resume/{RUN}/approval).\n",
        ),
        (
            ("cancel", RUN),
            None,
            "headgate/cancel",
            None,
            f"Asked for the end of {RUN} (event 1-2 on headgate/cancel).\n",
        ),
        (
            ("retry", RUN),
            None,
            "headgate/retry",
            None,
            f"Asked {RUN} to go on if it is stuck (event 1-2 on headgate/retry).\n",
        ),
    ],
)
def test_each_wish_is_an_event_with_the_run_as_its_key(
    arguments: tuple[str, ...], given: str | None, topic: str, data: Any, said: str, settings: Settings
) -> None:
    assert run(*arguments, given=given).stdout == said
    found = event()
    assert (found.topic, found.key, found.data) == (topic, RUN, data)
    [record] = written
    assert record["topic"] == "headgate.events"
    assert record["partition"] == keys.partition_of(RUN.encode(), settings.kafka.partitions)


def test_json_says_where_the_event_is() -> None:
    found = orjson.loads(run("cancel", RUN, "--json").stdout)
    assert found == {"id": "1-2", "topic": "headgate/cancel", "partition": 1, "offset": 2}


@pytest.mark.parametrize("name", ["resume", "cancel", "retry"])
@pytest.mark.parametrize("run_id", ["charge", "charge:1", "", "charge:4F1C0FFEE0DDBA11DECADE00"])
def test_what_is_no_run_id_is_wrong_usage(name: str, run_id: str) -> None:
    with pytest.raises(click.UsageError, match="is no run id"):
        run(name, run_id, *(["step"] if name == "resume" else []))
    assert written == []


def test_what_is_no_json_is_wrong_usage() -> None:
    with pytest.raises(click.UsageError, match=r"Nothing was sent: it is not JSON \("):
        run("resume", RUN, "approval", "{a}")
    assert written == []


def test_without_the_topic_nothing_is_sent(admin: FakeAdmin) -> None:
    admin.found.clear()
    with pytest.raises(TopicMissing):
        run("cancel", RUN)
    assert written == []
