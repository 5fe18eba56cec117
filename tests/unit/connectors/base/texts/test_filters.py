"""Which events are published."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.texts.filters import Filter, FilterError, FilterFailed

EVENT = {
    "id": "1",
    "type": "trade",
    "key": None,
    "data": {
        "price": 12.5,
        "symbol": "ABC",
        "live": True,
        "one": 1,
        "tags": ["a", "b"],
        "gone": None,
        "deep": {"x": [5]},
    },
    "source": {"id": "s", "kind": "websocket"},
}


@pytest.mark.parametrize(
    ("conditions", "passes"),
    [
        ({}, True),
        ({"type": "trade"}, True),
        ({"type": ["quote", "trade"]}, True),
        ({"type": "quote"}, False),
        ({"data.price": {"gte": 12.5, "lt": 13}}, True),
        ({"data.price": {"gt": 12.5}}, False),
        ({"data.symbol": {"prefix": "A", "suffix": "C", "contains": "B"}}, True),
        ({"data.tags": {"contains": "b"}}, True),
        ({"data.tags": {"contains": "c"}}, False),
        ({"data.tags.0": "a"}, True),
        ({"data.deep.x.0": 5}, True),
        ({"data.live": True}, True),
        ({"data.one": True}, False),
        ({"data.live": 1}, False),
        ({"data.gone": None}, True),
        ({"data.missing": None}, False),
        ({"data.missing": {"exists": False}}, True),
        ({"data.gone": {"exists": True}}, True),
        ({"data.missing": {"gt": 1}}, False),
        ({"data.symbol": {"not": "XYZ"}}, True),
        ({"data.symbol": {"not": ["ABC", "XYZ"]}}, False),
        ({"data.price": {"not": {"lt": 10}}}, True),
        ({"any": [{"type": "quote"}, {"data.price": {"lt": 20}}]}, True),
        ({"any": [{"type": "quote"}, {"data.price": {"lt": 2}}]}, False),
        ({"type": "trade", "data.symbol": "XYZ"}, False),
    ],
)
def test_all_conditions_have_to_hold(conditions: dict[str, Any], passes: bool) -> None:
    assert passes is Filter(conditions).takes(EVENT)


@pytest.mark.parametrize(
    "conditions", [{"data.symbol": {"gt": 1}}, {"data.price": {"prefix": "1"}}, {"data.live": {"gte": 0}}]
)
def test_a_question_that_makes_no_sense_is_an_error_and_not_no(conditions: dict[str, Any]) -> None:
    with pytest.raises(FilterFailed, match="cannot be asked of data"):
        Filter(conditions).takes(EVENT)


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"price": 1}, "/filter/price is no field"),
        ({"data.x": {}}, "is empty"),
        ({"data.x": {"like": "a"}}, "/filter/data.x/like is not known"),
        ({"data.x": {"gt": "a"}}, "cannot be 'a'"),
        ({"data.x": {"gt": True}}, "cannot be True"),
        ({"any": []}, "list of filters"),
        ({"any": [{"x": 1}]}, "/filter/any/0/x"),
        ({"data.x": {"exists": 1}}, "cannot be 1"),
        ({f"data.{n}": n for n in range(300)}, "more than 200"),
    ],
)
def test_a_wrong_filter_says_where(conditions: dict[str, Any], words: str) -> None:
    with pytest.raises(FilterError, match=words):
        Filter(conditions)


def test_depth_is_bounded() -> None:
    deep: dict[str, Any] = {"data.x": 1}
    for _ in range(20):
        deep = {"any": [deep]}
    with pytest.raises(FilterError, match="nested too deep"):
        Filter(deep)


Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["gt", "not", "prefix", "x", "any"]), inner)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["type", "data.x", "data.x.0", "any", "nope"]), Json, max_size=3), Json)
def test_no_filter_and_no_event_raise_anything_else(conditions: dict[str, Any], data: Any) -> None:
    try:
        Filter(conditions).takes({"type": "t", "data": {"x": data}})
    except (FilterError, FilterFailed):
        return
