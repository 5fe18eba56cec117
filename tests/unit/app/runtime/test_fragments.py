"""JSON that authors made themselves: read where there is any, and nothing is read where there is none."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from app.runtime import fragments
from topics.codec import encode_data
from topics.malformed import Malformed


@dataclass
class Box:
    content: Any


PLACES: list[Callable[[Any], Any]] = [
    lambda one: one,
    lambda one: [1, one],
    lambda one: ({"deep": [{"deeper": one}]},),
    Box,
    lambda one: {one},
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", ["{", "nul", b"\xff", "[" * 300 + "}"])
def test_a_fragment_that_is_not_json_is_refused_wherever_it_is(text: str | bytes, place: Callable[[Any], Any]) -> None:
    with pytest.raises(Malformed, match=r"^the result has an orjson\.Fragment that is not JSON: .+; use what JSON"):
        fragments.checked(place(orjson.Fragment(text)), "the result")


@pytest.mark.parametrize("text", ["", "1,2", '1,"id":"another"', '1},"x":{"y":2'])
def test_a_fragment_that_would_go_on_in_the_record_around_it_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match=r"that is not JSON"):
        fragments.checked(orjson.Fragment(text), "the result")


@pytest.mark.parametrize("place", PLACES)
def test_a_fragment_that_is_json_is_written_as_it_is(place: Callable[[Any], Any]) -> None:
    value = place(orjson.Fragment(b'{"a": 1}'))

    found = encode_data(fragments.checked(value, "the result"), "the result")

    assert found == encode_data(value, "the result")
    assert b'{"a": 1}' in found


def test_a_fragment_of_something_else_is_refused() -> None:
    with pytest.raises(Malformed, match="the result cannot be written as JSON"):
        fragments.checked([orjson.Fragment(7)], "the result")  # type: ignore[arg-type]


WORKER = """
import orjson
import app.wiring.worker
from app.runtime import fragments

value = {"order": {"lines": [1, 2.5, None, "x"]}}

def taken_as_it_is():
    return fragments.checked(value, "the result") is value

assert taken_as_it_is(), "a worker looks at each value"
held = [orjson.Fragment(b"1")]
assert not taken_as_it_is(), "a Fragment is overlooked"
held.clear()
assert taken_as_it_is(), "a Fragment that is gone is still looked for"
"""


def test_a_worker_reads_nothing_while_there_is_no_fragment() -> None:
    done = subprocess.run([sys.executable, "-c", WORKER], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
