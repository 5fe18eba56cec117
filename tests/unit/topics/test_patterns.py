import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics.patterns import Pattern, PatternError


@pytest.mark.parametrize(
    ("pattern", "topic", "meets"),
    [
        ("orders/created", "orders/created", True),
        ("orders/created", "orders/create", False),
        ("orders/created", "orders.created", False),
        ("orders/*", "orders/created", True),
        ("orders/*", "orders", False),
        ("orders/*", "orders/created/eu", False),
        ("orders/*", "orders.created", False),
        ("orders.*", "orders/created", False),
        ("orders.*", "orders.created", True),
        ("orders/*", "orders/v1.2", True),
        ("orders.*", "orders.v1/2", False),
        ("*/created", "v1.2/created", True),
        ("*", "orders", True),
        ("*", "orders/created", False),
        ("*", "orders.created", False),
        ("**", "orders", True),
        ("**", "orders/created", True),
        ("**", "orders.created.eu", True),
        ("orders/**", "orders", True),
        ("orders/**", "orders/created", True),
        ("orders/**", "orders/created/eu", True),
        ("orders/**", "refunds/created", False),
        ("orders.**", "orders", True),
        ("**/created", "created", True),
        ("**/created", "orders/eu/created", True),
        ("**/created", "orders/created/eu", False),
        ("orders/**/created", "orders/created", True),
        ("orders/**/created", "orders/a/b/created", True),
        ("orders/**/*", "orders", False),
        ("orders/**/*", "orders/a", True),
        ("**/a/**/b/**", "x/a/y/b/z", True),
        ("**/a/**/b/**", "x/b/y/a/z", False),
        ("a/**/**/b", "a/b", True),
        ("a/*/c", "a//c", True),
        ("Orders/*", "orders/created", False),
        ("orders/(.+)", "orders/created", False),
    ],
)
def test_a_star_is_one_segment_and_two_stars_are_any_number(pattern: str, topic: str, meets: bool) -> None:
    assert Pattern.parse(pattern).matches(topic) is meets


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a topic cannot be empty"),
        ("  ", "a topic cannot be empty"),
        ("ord*", "'*' stands for a whole segment, but 'ord*' has the segment 'ord*'"),
        ("orders/***", "has the segment '***'"),
        ("orders/* ", "starts or ends with a blank"),
        ("orders/\udce9", "holds half a surrogate pair"),
        ("orders/\n", "holds the control character '\\n'"),
        ("x" * 513, "has 513 characters, 512 are allowed"),
        (7, "a topic is text, not 7"),
    ],
)
def test_a_wrong_pattern_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(PatternError, match=re.escape(message)):
        Pattern.parse(text)


def test_a_pattern_knows_whether_it_is_literal() -> None:
    assert [Pattern.parse(text).is_literal for text in ("orders/created", "orders/*", "**")] == [True, False, False]


segments = st.sampled_from(["a", "b", "c", ""])
wild = st.lists(segments | st.sampled_from(["*", "**"]), min_size=1, max_size=6).map("/".join).filter(str.strip)
plain = st.lists(segments, min_size=1, max_size=8).map("/".join).filter(str.strip)


def by_definition(pattern: list[str], topic: list[str]) -> bool:
    if not pattern:
        return not topic
    if pattern[0] == "**":
        return by_definition(pattern[1:], topic) or (bool(topic) and by_definition(pattern, topic[1:]))
    return bool(topic) and pattern[0] in ("*", topic[0]) and by_definition(pattern[1:], topic[1:])


@given(wild, plain)
def test_matching_equals_its_definition(pattern: str, topic: str) -> None:
    assert Pattern.parse(pattern).matches(topic) == by_definition(pattern.split("/"), topic.split("/"))


def test_no_topic_makes_matching_slow() -> None:
    """A backtracking matcher would need some 256^8 comparisons here, and this test would not come back."""
    pattern = Pattern.parse("**/a/" * 8 + "b")
    assert pattern.matches("a/" * 250 + "c") is False


@pytest.mark.parametrize(
    ("pattern", "topic", "why"),
    [
        ("orders/created", "orders/created", None),
        ("orders/**", "orders", None),
        ("orders/created", "orders/paid", "segment 2 is 'paid', not 'created'"),
        ("order/created", "orders/paid", "segment 1 is 'orders', not 'order'"),
        ("orders/*", "refunds/created", "segment 1 is 'refunds', not 'orders'"),
        ("orders/*", "orders/created/eu", "the topic has 3 segments, 'orders/*' has 2"),
        ("orders/*", "orders", "the topic has 1 segment, 'orders/*' has 2"),
        ("orders/*", "orders.created", "the topic splits at '.', 'orders/*' at '/'"),
        ("orders.created", "orders/created", "the topic splits at '/', 'orders.created' at '.'"),
        ("orders/**/created", "orders/a/b", "its end does not fit what 'orders/**/created' has around '**'"),
        ("**", "headgate/start/x", "Headgate's own topics are met only by what begins with 'headgate'"),
    ],
)
def test_a_pattern_says_why_a_topic_does_not_meet_it(pattern: str, topic: str, why: str | None) -> None:
    assert Pattern.parse(pattern).difference(topic) == why


@given(st.text("ab*/.", min_size=1, max_size=12), st.text("ab/.", min_size=1, max_size=12))
def test_there_is_a_reason_exactly_if_a_topic_does_not_meet_a_pattern(pattern: str, topic: str) -> None:
    try:
        parsed = Pattern.parse(pattern)
    except PatternError:
        return
    assert (parsed.difference(topic) is None) is parsed.matches(topic)
