"""topics.reserved."""

import pytest

from topics.patterns import Pattern
from topics.reserved import resume_topic, start_topic


def test_a_step_key_that_a_topic_can_hold_is_readable_in_it() -> None:
    assert resume_topic("charge:abc", "approval") == "headgate/resume/charge:abc/approval"
    assert start_topic("charge") == "headgate/start/charge"


@pytest.mark.parametrize("key", ["x" * 600, "with\nbreak", " blank ", "star*", ""])
def test_any_other_step_key_has_a_topic_of_its_own_too(key: str) -> None:
    topic = resume_topic("charge:abc", key)
    assert Pattern.parse(topic).is_literal
    assert topic != resume_topic("charge:abc", key + "!")


@pytest.mark.parametrize("pattern", ["**", "*/start/charge", "**/charge"])
def test_a_pattern_that_does_not_name_the_first_segment_meets_none_of_them(pattern: str) -> None:
    assert not Pattern.parse(pattern).matches(start_topic("charge"))


@pytest.mark.parametrize("pattern", ["headgate/**", "headgate/start/*", "headgate/start/charge"])
def test_a_pattern_that_names_it_meets_them(pattern: str) -> None:
    assert Pattern.parse(pattern).matches(start_topic("charge"))
