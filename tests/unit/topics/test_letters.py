"""What is left of a dead letter that its topic does not take whole."""

from hashlib import sha256
from typing import Any

import jsonschema
import orjson
import pytest

from topics import facts
from topics.letters import NOTE, in_log, shortened
from topics.schemas import DEAD_LETTER


def letter(**given: Any) -> facts.Record:
    fields: dict[str, Any] = {
        "code": "run_failed",
        "reason": "ValueError: no",
        "remedy": "mend workflow 'a'",
        "source_topic": "headgate.events",
        "partition": 3,
        "offset": 41,
        "timestamp_ms": 1_000,
        "key": b"order-1",
        "value": b"{}",
        "headers": (("a", b"1"),),
        "at_ms": 2_000,
        "run_id": None,
        "workflow_id": "a",
    }
    return facts.dead_letter(**(fields | given))


@pytest.mark.parametrize("value", [b"text" * 10_000, b"\xff\x00" * 10_000, b""])
def test_the_value_is_left_out_and_everything_tells_where_it_is(value: bytes) -> None:
    whole = letter(value=value)
    short = shortened(whole)
    told, before = orjson.loads(short.value), orjson.loads(whole.value)
    jsonschema.validate(told, dict(DEAD_LETTER))
    assert told == before | {
        "value": None,
        "encoding": before["encoding"] | {"value": None},
        "remedy": f"mend workflow 'a'; {NOTE}",
        "omitted": {"key": 7, "value": len(value), "headers": 1, "value_sha256": sha256(value).hexdigest()},
    }
    assert (short.key, short.headers) == (b"order-1", whole.headers)


@pytest.mark.parametrize(
    "large",
    [
        {"key": b"k" * 300_000},
        {"headers": tuple((f"h{number}", b"x" * 1000) for number in range(200))},
        {"reason": "\N{GRINNING FACE}" * 100_000},
        {"remedy": "x" * 100_000},
    ],
)
def test_nothing_that_may_be_large_is_left(large: dict[str, Any]) -> None:
    short = shortened(letter(value=b"x" * 1_000_000, **large))
    jsonschema.validate(orjson.loads(short.value), dict(DEAD_LETTER))
    assert len(short.value) + len(short.key or b"") < 5_000


def test_what_is_short_already_stays_as_it_is() -> None:
    short = shortened(letter(value=b"x" * 1_000_000))
    assert shortened(short) == short


def test_sizes_of_an_original_that_was_left_out_before_are_kept() -> None:
    short = shortened(letter(value=b"x" * 4 * 1024 * 1024))
    assert orjson.loads(short.value)["omitted"] == {"key": 7, "value": 4 * 1024 * 1024, "headers": 1}


def test_a_log_tells_where_the_whole_is() -> None:
    told = in_log(shortened(letter(value=b"secret")))
    assert told["source"] == {
        "topic": "headgate.events",
        "partition": 3,
        "offset": 41,
        "timestamp": "1970-01-01T00:00:01.000Z",
    }
    assert "secret" not in str(told)
