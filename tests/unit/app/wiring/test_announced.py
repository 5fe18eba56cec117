"""What others run: read from the announcements, whatever somebody wrote there."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
import pytest

from app.engine.values.known import Definition
from app.kafka.follow import TopicState
from app.wiring.announced import MOST_BYTES, Announced
from headgate.definition import Workflow
from tests.unit.app.engine.partition import NOW, Partition, flow


class Read(NamedTuple):
    key: bytes | None
    value: bytes | None


def announced(*workflows: Workflow, by: str = "w1", at: int = NOW) -> list[Read]:
    return [Read(one.key, one.value) for one in Announced(by).missing(workflows, at)]


def changed(workflow: Workflow, **fields: Any) -> Read:
    (read,) = announced(workflow)
    found = {name: value for name, value in (orjson.loads(read.value or b"") | fields).items() if value != "absent"}
    return Read(read.key, orjson.dumps(found))


def test_what_is_announced_says_which_events_it_takes_and_how() -> None:
    there = flow("there", ["orders/*", "x"], batch_size=5, batch_timeout_seconds=2, batch_by="key", order="none")
    others = Announced("w2")

    assert others.take(announced(there)) is True

    assert others.definitions() == (Definition.of(there, announced_ms=NOW),)


def test_news_are_told_apart_from_repeats() -> None:
    others = Announced("w2")

    assert [
        others.take(announced(flow())),
        others.take(announced(flow())),
        others.take(announced(flow(version="2"))),
        others.take([]),
    ] == [True, False, True, False]
    assert [one.version for one in others.definitions()] == ["2"]


def test_what_comes_later_is_newer_whatever_the_clocks_say() -> None:
    others = Announced("w2")
    others.take(announced(flow(), at=NOW))
    others.take(announced(flow(version="2"), by="behind", at=NOW - 5_000))

    assert [one.announced_ms for one in others.definitions()] == [NOW + 1]
    (mine,) = others.missing([flow(version="3")], NOW - 9_000)
    assert orjson.loads(mine.value or b"")["announced_at"] == "2026-01-31T12:00:00.002Z"
    assert [(one.version, one.announced_ms) for one in others.definitions()] == [("3", NOW + 2)]
    others.take([Read(b"charge", b'{"retired_at":"2020-01-01T00:00:00Z"}')])
    assert others.retired() == {"charge": NOW + 3}
    others.take(announced(flow(), at=NOW))
    assert [one.announced_ms for one in others.definitions()] == [NOW + 4]


@pytest.mark.parametrize("value", [None, b'{"retired_at":"2026-01-31T12:00:00.000Z"}'])
def test_what_was_retired_is_no_more_until_it_is_announced_again(value: bytes | None) -> None:
    others = Announced("w2")
    others.take(announced(flow()))

    assert others.take([Read(b"charge", value)]) is True
    assert (others.definitions(), others.retired()) == ((), {"charge": NOW + 1})
    assert others.take([Read(b"charge", value)]) is False
    assert others.take(announced(flow())) is True
    assert ([one.id for one in others.definitions()], others.retired()) == (["charge"], {})


@pytest.mark.parametrize(
    "odd",
    [
        Read(None, b"{}"),
        Read(b"\xff", b"{}"),
        Read(b"odd", b"{"),
        Read(b"odd", b"[]"),
        Read(b"odd", b"7"),
        Read(b"odd", b"{}"),
        changed(flow("odd"), triggers="absent"),
        changed(flow("odd"), triggers=7),
        changed(flow("odd"), triggers=[""]),
        changed(flow("odd"), triggers=[7]),
        changed(flow("odd"), batch_by="galaxy"),
        changed(flow("odd"), order=None),
        changed(flow("odd"), announced_at="absent"),
        changed(flow("odd"), announced_at="yesterday"),
        changed(flow("odd"), batch_size=1e300),
        changed(flow("odd"), batch_size=-5),
        changed(flow("odd"), batch_timeout_seconds="nan"),
        changed(flow("odd"), batch_timeout_seconds="inf"),
        changed(flow("odd"), batch_timeout_seconds=-1),
        Read(b"", changed(flow("odd")).value),
        Read(b"odd:0123456789abcdef01234567", changed(flow("odd")).value),
        Read(b"two words", changed(flow("odd")).value),
        Read(b"o" * 201, changed(flow("odd")).value),
        Read(b"odd", b'{"retired_at":7}'),
        Read(b"worker/w1", b'{"instance_id":"w1"}'),
        Read(b"worker/w1", None),
        Read(b"later/x", changed(flow("later")).value),
    ],
)
def test_what_cannot_be_read_is_passed_over(odd: Read) -> None:
    others = Announced("w2")

    assert others.take([odd, *announced(flow())]) is True
    assert [one.id for one in others.definitions()] == ["charge"]
    assert others.take([odd]) is False


def test_the_journal_of_each_partition_holds_all_that_is_announced_whoever_announced_it() -> None:
    others = Announced("w2")
    large = [changed(flow(f"large_{n}"), version="v" * 900_000) for n in range(10)]
    others.take([*large, *announced(flow())])
    partition = Partition(announced=others.definitions())
    partition.commit()

    assert [one.id for one in others.definitions()] == ["charge", "large_0", "large_1"]
    assert len(orjson.dumps(partition.entity(b"known"))) <= MOST_BYTES + 1000

    others.take([Read(b"large_0", None), changed(flow("large_1"), version="2"), large[2], large[3], large[4]])
    assert [one.id for one in others.definitions()] == ["charge", "large_1", "large_2", "large_3"]


def test_what_is_passed_over_for_want_of_room_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    others = Announced("w2")
    others.take([changed(flow(f"large_{n}"), version="v" * 900_000) for n in range(3)])

    assert [(one.message, one.fields["workflow"]) for one in caplog.records] == [  # type: ignore[attr-defined]
        ("announcement_passed_over", "large_2")
    ]


def test_fields_of_a_newer_release_are_passed_over() -> None:
    others = Announced("w2")
    others.take([changed(flow(), waits_for=["x"])])

    assert [one.id for one in others.definitions()] == ["charge"]


def test_only_what_is_not_announced_as_it_is_is_announced() -> None:
    worker = Announced("w2")
    worker.take(announced(flow("same"), flow("older", version="1"), by="w1", at=NOW - 5_000))

    made = worker.missing([flow("same"), flow("older", version="2"), flow("new")], NOW)

    assert [(one.topic, one.partition, one.key) for one in made] == [
        ("workflows", 0, b"older"),
        ("workflows", 0, b"new"),
    ]
    assert orjson.loads(made[1].value or b"") == {
        "id": "new",
        "version": "1",
        "triggers": ["orders/created"],
        "batch_size": 1,
        "batch_timeout_seconds": None,
        "batch_by": "workflow",
        "order": "key",
        "max_retries": 3,
        "timeout_seconds": None,
        "has_filter": False,
        "description": "",
        "schema": None,
        "announced_at": "2026-01-31T12:00:00.000Z",
        "announced_by": "w2",
    }
    assert worker.missing([flow("same"), flow("older", version="2"), flow("new")], NOW + 1) == []


def test_a_schedule_is_announced_and_what_has_none_is_as_releases_before_it_wrote_it() -> None:
    worker, other = Announced("w1"), Announced("w2")
    tick = flow("tick", None, schedule={"cron": "@hourly", "timezone": "Asia/Tokyo"})

    made = worker.missing([tick, flow()], NOW)
    values = [orjson.loads(one.value or b"") for one in made]
    other.take([Read(one.key, one.value) for one in made])

    assert values[0]["schedule"] == {"cron": "@hourly", "timezone": "Asia/Tokyo", "catch_up": "once"}
    assert "schedule" not in values[1]
    assert [(one.id, one.schedule) for one in other.definitions()] == [("charge", None), ("tick", tick.schedule)]
    assert other.missing([tick, flow()], NOW) == []
    assert [one.key for one in other.missing([flow("tick", None, schedule="@daily")], NOW)] == [b"tick"]


def test_what_cancels_runs_and_what_looks_at_failures_is_announced_where_there_is_any() -> None:
    worker, other = Announced("w1"), Announced("w2")
    told = flow("told", cancel_on=["orders/cancelled", "shops/*"], cancel_filter=bool, on_failure="tell")

    made = worker.missing([told, flow()], NOW)
    values = [orjson.loads(one.value or b"") for one in made]
    other.take([Read(one.key, one.value) for one in made])

    assert (values[0]["cancel_on"], values[0]["on_failure"]) == (["orders/cancelled", "shops/*"], "tell")
    assert values[1].keys().isdisjoint({"cancel_on", "has_cancel_filter", "on_failure"})
    charge, told_of = other.definitions()
    assert values[0]["has_cancel_filter"]
    assert (charge.cancel_on, charge.has_cancel_filter, charge.on_failure) == ((), False, None)
    assert told_of.has_cancel_filter
    assert (told_of.cancel_on, told_of.cancel_patterns) == (told.cancel_on, told.cancel_patterns)
    assert told_of.on_failure == "tell"


async def test_a_topic_that_is_read_anew_is_read_from_its_beginning() -> None:
    others = Announced("w2")
    others.take([*announced(flow()), Read(b"gone", None)])

    found: Mapping[int, int] = await others.attach(TopicState(topic="workflows", identity=None, beginning={}, end={}))

    assert (found, others.definitions(), others.retired()) == ({}, (), {})
