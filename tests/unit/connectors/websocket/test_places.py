"""Messages to send: what stands in their places, and what is left out."""

from typing import Any

import pytest

from connectors.websocket.places import ABSENT, check, filled, wire

SCOPE = {"token": "t1", "position": {"seq": 7, "at": [1, 2]}, "nothing": None}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("{{ token }}", "t1"),
        ("{{ position.seq }}", 7),
        (" {{ position }} ", {"seq": 7, "at": [1, 2]}),
        ("a {{ position.seq }}/{{ token }} b", "a 7/t1 b"),
        ("a {{ position.at }}", "a [1,2]"),
        ("{{ token }}{{ token }}", "t1t1"),
        ("{{ nothing }}", ABSENT),
        ("since {{ nothing }}", ABSENT),
        ("{{ position.none }}", ABSENT),
        ({"a": "{{ nothing }}", "b": ["{{ nothing }}", "{{ token }}", 1]}, {"b": ["t1", 1]}),
        ({"a": None, "b": True, "c": 1.5}, {"a": None, "b": True, "c": 1.5}),
        (None, None),
    ],
)
def test_places_become_what_stands_there(value: Any, expected: Any) -> None:
    assert filled(value, SCOPE) == expected


def test_what_stands_in_a_place_is_not_read_again() -> None:
    assert filled("{{ a }}", {"a": "{{ b }}", "b": "secret"}) == "{{ b }}"
    assert filled("x{{ a }}", {"a": "{{ b }}", "b": "secret"}) == "x{{ b }}"


def test_texts_are_sent_as_they_are_and_all_else_as_json() -> None:
    assert [wire(one) for one in ("a", {"a": 1}, [1], 7, None)] == ["a", '{"a":1}', "[1]", "7", "null"]


def test_a_check_returns_what_places_begin_with() -> None:
    assert check({"a": ["{{ token }} {{ position.x }}"], "b": 1}, {"token", "position"}) == {"token", "position"}
    assert check(["plain", None], {"token"}) == frozenset()


@pytest.mark.parametrize(
    "value", [{"a": "canary {{ other }}"}, ["canary {{ token"], "canary }} {{ token }}", {1: "canary"}]
)
def test_a_place_that_is_none_is_refused_without_showing_the_message(value: Any) -> None:
    with pytest.raises(ValueError, match="in it is n") as error:
        check(value, {"token"})
    assert "canary" not in str(error.value)
