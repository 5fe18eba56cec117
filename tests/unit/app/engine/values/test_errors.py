import pytest

from app.engine.values import errors


def test_a_gap_says_what_is_missing_and_whose_it_is() -> None:
    assert str(errors.CommandGap(source=3, expected=7, found=9)) == (
        "commands from partition 3 jump from sequence 6 to 9: 2 are missing; nothing was processed. Only workers may "
        "write to the commands topic, and its retention must exceed the longest outage"
    )


def test_another_partition_count_says_what_to_do() -> None:
    assert str(errors.WrongPartitionCount(journal=8, found=16)) == (
        "the journal was written with 8 partitions, the topics now have 16: the partition count never changes under a "
        "running system. Set kafka.partitions back and restore the topics, or start a new installation with another "
        "kafka.prefix"
    )


class Silent(Exception):
    def __str__(self) -> str:
        raise KeyError("text")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("no luck"), "no luck"),
        (ValueError(), ""),
        (ValueError("a\ud800b"), "a?b"),
        (Silent(), "(its text cannot be had: KeyError)"),
    ],
)
def test_an_authors_error_has_words_that_any_record_can_hold(error: Exception, expected: str) -> None:
    assert errors.words(error) == expected
