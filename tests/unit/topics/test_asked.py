"""What partitions ask of each other: as it is written, as it comes back, and what is none."""

from typing import Any

import orjson
import pytest

from topics import asked, codec, commands

EVENT = codec.decode(
    b'{"topic":"approvals/42","data":{"by":"x"}}', b"k", (), partition=2, offset=5, timestamp_ms=77, max_bytes=None
)
ALL: list[asked.Ask] = [
    asked.Wait("flow:1", "approval#1", 0, "approvals/42", None, "t", 5, None, (b"0123456789ab",), False),
    asked.Wait("flow:1", "approval", 1, "approvals/*", "k", None, 5, 9, (), True),
    asked.Withdraw("flow:1", "approval", 0),
    asked.More("flow:1", "approval", 0, 16),
    asked.Met("flow:1", "approval", 0, EVENT),
    asked.Expired("flow:1", "approval", 0),
    asked.Interest("approvals", False, 5),
    asked.Notice(EVENT),
    asked.Confirmed("", True, 5),
    asked.Flush(7),
    asked.Flushed(7),
    asked.Child("flow:1", "child", 2, "completed", b'{"a": 12345678901234567890123}'),
    asked.Cancel("flow:1", "no more"),
    asked.Retry("flow:1"),
]


@pytest.mark.parametrize("one", ALL)
def test_it_comes_back_as_it_was(one: asked.Ask) -> None:
    assert asked.decode(orjson.loads(asked.encode(one))) == one


@pytest.mark.parametrize(
    "one",
    [
        asked.Child(5, "go", 0, "completed", b"1"),  # type: ignore[arg-type]
        asked.Child("flow:1", "go", True, "completed", b"1"),
        asked.Withdraw("flow:1", None, 0),  # type: ignore[arg-type]
        asked.Interest("approvals", 1, 5),  # type: ignore[arg-type]
        asked.Wait("flow:1", "go", 0, "t", 5, None, 0, None, (), False),  # type: ignore[arg-type]
    ],
)
def test_what_nobody_could_read_is_not_written(one: asked.Ask) -> None:
    with pytest.raises(TypeError, match="is asked for, not"):
        asked.encode(one)


def test_every_type_is_written() -> None:
    assert {type(one) for one in ALL} == set(asked.Ask.__args__)


def test_a_wait_is_written_like_this_for_ever() -> None:
    assert orjson.loads(asked.encode(ALL[0])) == {
        "a": "wait",
        "run": "flow:1",
        "key": "approval#1",
        "n": 0,
        "topic": "approvals/42",
        "event_key": None,
        "event_type": "t",
        "since": 5,
        "deadline": None,
        "seen": ["303132333435363738396162"],
        "stream": False,
    }


def test_it_travels_in_a_command_of_format_2_in_order() -> None:
    value = commands.encode(source=3, journal_id="j", sequence=9, partitions=8, events=[], batched=[], asks=ALL)
    assert orjson.loads(value)["v"] == 2
    assert commands.decode(value).asks == ALL


def test_a_command_without_any_is_of_format_1_as_before() -> None:
    value = commands.encode(source=3, journal_id="j", sequence=9, partitions=8, events=[], batched=[])
    assert value == b'{"v":1,"source":3,"journal":"j","sequence":9,"partitions":8,"events":[],"batched":[]}'


GOOD: dict[str, Any] = {
    "v": 2,
    "source": 3,
    "journal": "j",
    "sequence": 9,
    "partitions": 8,
    "events": [],
    "batched": [],
}
WAIT: dict[str, Any] = orjson.loads(asked.encode(ALL[0]))


@pytest.mark.parametrize(
    "wrong",
    [
        7,
        [7],
        [{}],
        [{"a": "unheard"}],
        [{"a": 7}],
        [{"a": []}],
        [WAIT | {"n": "0"}],
        [WAIT | {"n": True}],
        [WAIT | {"n": 2**63}],
        [WAIT | {"since": -(2**63)}],
        [WAIT | {"deadline": 2**53 + 1}],
        [WAIT | {"topic": "a*b"}],
        [WAIT | {"topic": ""}],
        [WAIT | {"run": None}],
        [WAIT | {"stream": 1}],
        [WAIT | {"seen": "00"}],
        [WAIT | {"seen": ["xx"]}],
        [WAIT | {"seen": [7]}],
        [{"a": "notice", "event": {}}],
        [{"a": "resume", "run": "r", "key": "k", "value": None}],
        [{"a": "flush"}],
    ],
)
def test_what_is_none_is_refused_and_nothing_else_is_raised(wrong: Any) -> None:
    with pytest.raises(commands.UnreadableCommand):
        commands.decode(orjson.dumps(GOOD | {"asks": wrong}))
    with pytest.raises(commands.UnreadableCommand):
        commands.decode(orjson.dumps(GOOD))
