import pytest

from topics import foreign


@pytest.mark.parametrize("name", ["answers", "a", "A-Z_0.9", "_mine", "...", "x" * 249])
def test_what_a_topic_may_be_called(name: str) -> None:
    assert foreign.is_topic(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "x" * 250, "answers." + "x" * 40_000, "a/b", "a b", "a\n", "ä", "a\x00", "__consumer_offsets"],
)
def test_what_no_topic_of_a_client_is_called(name: str) -> None:
    assert not foreign.is_topic(name)
