"""The position."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connectors.discord.budget import Starts
from connectors.discord.place import CHANNELS, Place
from connectors.discord.session import Session
from tests.unit.connectors.discord.test_frames import JSON

SESSION = Session(id="s", seq=7, resume_url="wss://r.example")
IDS = st.integers(0, 2**64 - 1).map(str)


def full() -> Place:
    return Place(
        session=SESSION,
        newest={"10": "100", "11": "50"},
        gaps=("11",),
        starts=Starts(hours={494_000: 3}, last=1_780_000_000.5),
        terms="33281/",
    )


def test_what_is_stored_is_read_back() -> None:
    for place in (Place(), full(), full().lost()):
        assert Place.read(json.loads(json.dumps(place.as_json()))).as_json() == place.as_json()
    assert Place.read(full().as_json()) == full()


def test_it_has_the_names_that_the_documentation_gives_them() -> None:
    assert full().as_json() == {
        "identifies": {"hours": {"494000": 3}, "last": 1_780_000_000.5},
        "session_id": "s",
        "seq": 7,
        "resume_url": "wss://r.example",
        "terms": "33281/",
        "newest": {"10": "100", "11": "50"},
        "gaps": ["11"],
    }


def test_dispatches_move_it_forward_and_never_back() -> None:
    assert full().passed(9).session == Session(id="s", seq=9, resume_url="wss://r.example")
    assert full().passed(7) == full().passed(3) == full()
    assert Place().passed(3) == Place()


def test_a_message_is_the_newest_of_its_channel_unless_a_newer_one_is_known() -> None:
    place = full().told("12", "1").told("10", "101").told("11", "49")
    assert list(place.newest.items()) == [("12", "1"), ("10", "101"), ("11", "50")]
    assert Place().told("1", "9").told("1", "10").newest == {"1": "10"}, "ids are numbers, not texts"


def test_a_session_begins_with_gaps_in_all_channels_that_are_known() -> None:
    begun = full().begun(SESSION, terms="1/", asked=(), since="60")
    assert (begun.gaps, begun.newest, begun.terms) == (("10", "11"), {"10": "100", "11": "50"}, "1/")


def test_channels_that_are_asked_for_are_looked_at_instead_from_the_begin_on() -> None:
    begun = full().begun(SESSION, terms="", asked=("11", "12"), since="60")
    assert (begun.gaps, begun.newest) == (("11", "12"), {"10": "100", "11": "50", "12": "60"})
    again = begun.begun(SESSION, terms="", asked=("11", "12"), since="9999")
    assert again.newest["12"] == "60"


def test_a_gap_that_is_filled_is_none() -> None:
    assert full().filled("11").gaps == ()
    assert full().filled("12") == full()


def test_it_is_bounded_and_forgets_the_channels_in_which_nothing_came_for_longest() -> None:
    place = Place(newest={"1": "1", "2": "1", "3": "1"}, gaps=("2",))
    for channel in range(10, 10 + CHANNELS):
        place = place.told(str(channel), "5", kept=("1",))

    assert len(place.newest) == CHANNELS
    assert {"1", "2"} < set(place.newest)
    assert "3" not in place.newest
    assert str(9 + CHANNELS) in place.newest
    assert len(json.dumps(place.as_json())) < 16_384


@given(
    JSON
    | st.fixed_dictionaries(
        {},
        optional={
            "session_id": JSON | st.just("s"),
            "seq": JSON,
            "resume_url": JSON,
            "newest": JSON | st.dictionaries(IDS, IDS | JSON, max_size=3),
            "gaps": JSON | st.lists(IDS | JSON, max_size=3),
            "identifies": JSON,
            "terms": JSON,
        },
    )
)
def test_whatever_is_stored_it_can_be_read_and_stored_again(stored: Any) -> None:
    place = Place.read(stored)
    assert Place.read(place.as_json()) == place
    assert set(place.gaps) <= set(place.newest)
