"""Positions of Kafka sources, which topics are chosen, and where a partition begins."""

import json
from typing import Any

import pytest
from aiokafka import TopicPartition

from connectors.kafka import offsets
from connectors.kafka.config import Config
from connectors.kafka.offsets import Begun, Position

FIRST, SECOND, OTHER = TopicPartition("a.b", 0), TopicPartition("a.b", 11), TopicPartition("c", 0)


def config(**options: Any) -> Config:
    options = options if "pattern" in options else {"topics": ["a.b", "c"], **options}
    return Config(bootstrap=["b.example:9092"], **options)


def test_a_position_is_json_and_back() -> None:
    position = Position(cluster="x", selection="a.*", offsets={FIRST: 5, SECOND: 2**53, OTHER: 0})

    record = json.loads(json.dumps(position.record()))
    assert record == {
        "cluster": "x",
        "selection": "a.*",
        "topics": {"a.b": {"0": 5, "11": 2**53}, "c": {"0": 0}},
    }
    assert offsets.read(record) == position


@pytest.mark.parametrize("position", [None, 5, "x", [], {}, {"cluster": "x"}, {"cluster": "x", "topics": {}}])
def test_another_position_is_none(position: Any) -> None:
    assert offsets.read(position) is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"topics": ["shop.orders", "late"]}, {"shop.orders"}),
        ({"topics": ["__consumer_offsets"]}, {"__consumer_offsets"}),
        ({"pattern": "shop.*"}, {"shop.orders", "shop.returns"}),
        ({"pattern": "shop.order?"}, {"shop.orders"}),
        ({"pattern": "*"}, {"shop.orders", "shop.returns", "Shop.orders", "shop"}),
        ({"pattern": "__*"}, set()),
    ],
)
def test_topics_are_chosen_by_name_or_pattern(options: dict[str, Any], expected: set[str]) -> None:
    there = {"shop.orders", "shop.returns", "Shop.orders", "shop", "__consumer_offsets", "__transaction_state"}

    assert offsets.chosen(config(**options), there) == expected


def test_a_selection_is_the_same_in_any_order() -> None:
    assert offsets.selection_of(config(topics=["b", "a"])) == offsets.selection_of(config(topics=["a", "b"])) == "a,b"
    assert offsets.selection_of(config(pattern="a*")) == "a*"


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (3, Begun(offset=5, missed=2)),
        (5, Begun(offset=5)),
        (7, Begun(offset=7)),
        (9, Begun(offset=9)),
        (10, Begun(offset=5, beyond_end=True)),
    ],
)
def test_a_partition_goes_on_where_it_was_or_says_why_not(stored: int, expected: Begun) -> None:
    assert offsets.resumed(stored, 5, 9) == expected


@pytest.mark.parametrize(
    ("start", "at_time", "expected"),
    [("latest", None, 9), ("earliest", None, 5), ("2026-06-01T00:00:00Z", 7, 7), ("2026-06-01T00:00:00Z", None, 9)],
)
def test_a_partition_begins_as_the_options_say(start: str, at_time: int | None, expected: int) -> None:
    assert offsets.initial(config(start=start), 5, 9, at_time) == expected


def test_offsets_of_a_group_are_by_topic() -> None:
    found = offsets.lag_by_topic({SECOND: 2, OTHER: 3, FIRST: 1})

    assert found == [("a.b", [(0, 1, ""), (11, 2, "")]), ("c", [(0, 3, "")])]
