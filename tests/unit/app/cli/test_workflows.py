import time
from collections.abc import Mapping
from typing import Any

import click
import orjson
import pytest
from click.testing import CliRunner, Result

from app.cli.workflows import command
from app.kafka import records
from app.kafka.records import Record, Written
from topics import announcement

pytestmark = pytest.mark.usefixtures("connected")
ANNOUNCED = {
    "id": "batches",
    "version": "1",
    "triggers": ["orders/*", "refunds"],
    "batch_size": 10,
    "batch_timeout_seconds": 30,
    "order": "key",
    "announced_at": "2026-01-01T00:00:00.000Z",
    "announced_by": "worker-0",
}
SINGLE = ANNOUNCED | {"id": "single", "batch_size": 1, "batch_timeout_seconds": None, "triggers": []}
RETIRED = {"id": "old", "retired_at": "2026-01-02T00:00:00.000Z"}


class Topic:
    """The compacted topic, and what is written to it."""

    def __init__(self, *values: Mapping[str, Any]) -> None:
        self.last = {str(value["id"]).encode(): orjson.dumps(value) for value in values}
        self.written: list[tuple[str, bytes, dict[str, Any]]] = []
        self.times: dict[bytes, int] = {}

    def load(self, instance_id: str, *, silent_seconds: float = 0.0, **versions: str) -> None:
        """A worker says what it has loaded."""
        at_ms = round((time.time() - silent_seconds) * 1000)
        made = announcement.workflows_loaded(
            instance_id=instance_id, process="p", workflows=versions, every_seconds=10, at_ms=at_ms
        )
        self.last[made.key or b""] = made.value
        self.times[made.key or b""] = at_ms

    def read(self, _kafka: object, _admin: object, topic: str) -> dict[bytes, Record]:
        return {
            key: Record(
                topic=topic,
                partition=0,
                offset=0,
                timestamp_ms=self.times.get(key, 0),
                key=key,
                value=value,
                headers=(),
            )
            for key, value in self.last.items()
        }

    def write(self, topic: str, *, key: bytes, value: bytes, headers: object, then: Any) -> None:
        self.written.append((topic, key, orjson.loads(value)))
        then(Written(partition=0, offset=1))

    def flush(self) -> None:
        pass


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    made = Topic(ANNOUNCED, SINGLE, RETIRED)
    monkeypatch.setattr(records, "last_values", made.read)
    monkeypatch.setattr(records, "Writer", lambda _kafka: made)
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False)


def test_workflows_are_listed_with_what_they_do(topic: Topic) -> None:
    assert run("list").stdout == (
        "workflow  version  triggers           batch       order  announced                 by        loaded by\n"
        "batches   1        orders/*, refunds  10 or 30 s  key    2026-01-01T00:00:00.000Z  worker-0  nobody\n"
        "single    1        none               -           key    2026-01-01T00:00:00.000Z  worker-0  nobody\n"
    )


def test_the_live_workers_that_have_loaded_a_workflow_are_listed(topic: Topic) -> None:
    for number in range(4):
        topic.load(f"worker-{number}", batches="1" if number else "0.9")
    topic.load("worker-4", old="1")
    found = {line.split()[0]: line for line in run("list", "--retired").stdout.splitlines()}
    assert found["batches"].endswith("  4: worker-0 (0.9), worker-1, worker-2, ...")
    assert found["single"].endswith("  nobody")
    assert found["old"].endswith("  1: worker-4 (1)")
    listed = {one["id"]: one["loaded_by"] for one in map(orjson.loads, run("list", "--json").stdout.splitlines())}
    assert listed == {"batches": ["worker-0", "worker-1", "worker-2", "worker-3"], "single": []}


def test_what_a_live_worker_has_loaded_is_not_retired_unless_by_force(topic: Topic) -> None:
    topic.load("worker-0", batches="1")
    topic.load("worker-1", single="1")
    refused = run("retire", "batches", "--yes")
    assert (refused.return_value, topic.written) == (1, [])
    assert "batches was not retired: it is loaded by worker-0 (heard of 0 s ago). Stop them, " in refused.stderr
    assert "--force" in refused.stderr
    with pytest.raises(click.UsageError, match=r"Add --yes\."):
        run("retire", "batches", "--force")
    assert run("retire", "batches", "--force", "--yes").stdout == "Retired batches.\n"


def test_what_only_a_worker_that_is_gone_had_loaded_is_retired(topic: Topic) -> None:
    topic.load("worker-0", silent_seconds=40, batches="1")
    assert run("retire", "batches", "--yes").stdout == "Retired batches.\n"


def test_retired_ones_are_listed_on_demand(topic: Topic) -> None:
    lines = run("list", "--retired", "--json").stdout.splitlines()
    assert [orjson.loads(line) for line in lines] == [one | {"loaded_by": []} for one in (ANNOUNCED, RETIRED, SINGLE)]


def test_where_there_are_none_the_remedy_is_told(topic: Topic) -> None:
    topic.last.clear()
    assert run("list").stdout == (
        "No workflows. A worker announces what it loads: `headgate worker PATH` or `headgate dev PATH`.\n"
    )


def test_what_is_no_announcement_is_left_out_with_a_word(topic: Topic) -> None:
    topic.last = {b"odd": b"[", b"batches": orjson.dumps(ANNOUNCED)}
    result = run("list", "--json")
    assert orjson.loads(result.stdout) == ANNOUNCED | {"loaded_by": []}
    assert result.stderr == "warning: The announcement of b'odd' is no JSON object; it is left out.\n"


@pytest.mark.parametrize("odd", ["nan", [], {"a": 1}, 7, True])
def test_what_no_worker_announced_is_listed_as_it_is(topic: Topic, odd: object) -> None:
    topic.last = {b"x": orjson.dumps(dict.fromkeys(ANNOUNCED, odd))}
    result = run("list")
    assert (result.return_value, result.stdout.splitlines()[1].split()[0]) == (None, "x")


def test_a_workflow_is_retired_by_a_record_of_its_own(topic: Topic) -> None:
    result = run("retire", "batches", "--yes")
    assert (result.return_value, result.stdout) == (0, "Retired batches.\n")
    [(name, key, value)] = topic.written
    assert (name, key, set(value), value["id"]) == ("headgate.workflows", b"batches", {"id", "retired_at"}, "batches")


def test_nothing_is_retired_where_nobody_can_be_asked(topic: Topic) -> None:
    with pytest.raises(click.UsageError, match=r"batches was not retired: .* Add --yes\."):
        run("retire", "batches")
    assert topic.written == []


def test_a_retirement_is_later_than_what_it_retires_whatever_the_clock_says(topic: Topic) -> None:
    topic.last[b"batches"] = orjson.dumps(ANNOUNCED | {"announced_at": "2999-12-31T23:59:59.999Z"})
    run("retire", "batches", "--yes")
    assert [value["retired_at"] for _, _, value in topic.written] == ["3000-01-01T00:00:00.000Z"]


@pytest.mark.parametrize("odd", [None, 7, "yesterday"])
def test_an_announcement_of_nobody_knows_when_is_retired_now(topic: Topic, odd: object) -> None:
    topic.last[b"batches"] = orjson.dumps(ANNOUNCED | {"announced_at": odd})
    run("retire", "batches", "--yes")
    assert [value["retired_at"][:2] for _, _, value in topic.written] == ["20"]


def test_what_is_retired_is_not_retired_again(topic: Topic) -> None:
    result = run("retire", "old")
    assert (result.return_value, result.stdout) == (0, "old was retired at 2026-01-02T00:00:00.000Z.\n")
    assert topic.written == []


@pytest.mark.parametrize(
    ("name", "remedy"), [("batch", "Did you mean 'batches'?"), ("xyz", "`headgate workflows list` shows those")]
)
def test_an_unknown_workflow_is_not_retired(topic: Topic, name: str, remedy: str) -> None:
    result = run("retire", name)
    assert result.return_value == 1
    assert f"No workflow {name!r}. {remedy}" in result.stderr
    assert topic.written == []
