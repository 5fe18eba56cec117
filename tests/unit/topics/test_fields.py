from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics import fields
from topics.malformed import HALF_A_PAIR, Malformed

nested = st.recursive(
    st.just(1), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("a"), inner), max_leaves=9
)


def wrapped(value: Any, levels: int) -> Any:
    for _ in range(levels):
        value = [value]
    return value


def depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(nested, st.integers(190, 205))
def test_the_depth_that_orjson_finds_is_the_depth(value: Any, more: int) -> None:
    body = wrapped(value, more)
    if depth(body) <= fields.MAX_DEPTH:
        fields.check_depth(body)
    else:
        with pytest.raises(Malformed, match="deeper than 200 levels"):
            fields.check_depth(body)


@given(nested, st.integers(0, 205), st.sampled_from([b"", b'"[[[{{{"', b" " * 300]))
def test_the_cheap_bound_never_misses_a_depth(value: Any, more: int, around: bytes) -> None:
    raw = orjson.dumps(wrapped(value, more))
    raw = b"[" + around + b"," + raw + b"]" if around.strip() else around + raw
    found = fields.opens_beyond_depth(raw, raw.rfind(b"{"), raw.rfind(b"["))
    if depth(orjson.loads(raw)) > fields.MAX_DEPTH:
        assert found


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (fields.checked_topic, "a\ud800"),
        (fields.checked_id, "a\ud800"),
        (fields.checked_key, "a\ud800"),
        (fields.checked_source, "a\ud800"),
    ],
)
def test_text_that_cannot_be_encoded_is_refused(check: fields.Check, value: str) -> None:
    with pytest.raises(Malformed, match="half a surrogate pair"):
        check(value, "the field")


def test_text_of_any_language_passes() -> None:
    for text in ("παραγγελίες", "注文", "\U0001f980", "a b", "a\u00a0b"):
        assert fields.checked_topic(text, "/topic") == text


def test_half_a_surrogate_pair_in_json_has_a_remedy_of_its_own() -> None:
    for half in (rb'"\ud800"', rb'"\udc00"', rb'"\ud800\u0041"'):
        with pytest.raises(Malformed, match=r"is not JSON: .* surrogate in string at line 1") as raised:
            fields.parse(half)
        assert (raised.value.code, raised.value.remedy) == ("not_json", HALF_A_PAIR)
