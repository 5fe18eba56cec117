"""Durations as people write them."""

import pytest

from connectors.base.texts import durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), ("1w", 604_800), ("250ms", 0.25), ("PT1H30M", 5400),
     ("P1D", 86_400), ("pt0.5s", 0.5), ("P2W", 1_209_600)],
)  # fmt: skip
def test_durations_are_read(text: str, seconds: float) -> None:
    assert seconds == durations.parse(text)


@pytest.mark.parametrize("text", ["", "5", "5x", "h", "-5s", "P", "PT", "1h 30m", "\u0661s", "5s5"])
def test_what_is_none_says_what_is_accepted(text: str) -> None:
    with pytest.raises(ValueError, match="1h30m"):
        durations.parse(text)


def test_numbers_are_seconds_also_as_texts() -> None:
    assert (5, 5.0, 2.5) == (durations.seconds(5), durations.seconds("5"), durations.seconds(" 2.5 "))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.25s"), (5.0, "5s"), (90, "90s"), (900.0, "15m"), (7200, "2h"), (172_800, "2d")]
)
def test_durations_are_shown_as_people_write_them(seconds: float, text: str) -> None:
    assert text == durations.shown(seconds)
    assert seconds == durations.parse(text)
