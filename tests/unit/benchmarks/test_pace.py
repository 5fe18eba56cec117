"""How fast the machine was is told beside each result."""

from benchmarks import pace


def test_the_walk_through_memory_comes_by_every_place_before_it_comes_back() -> None:
    places = 1 << 12  # the same rule at a smaller size: odd increment, multiplier 1 modulo 4
    place, seen = 0, set()
    for _ in range(places):
        place = (place * pace.MULTIPLIER + pace.INCREMENT) & (places - 1)
        seen.add(place)
    assert len(seen) == places


def test_what_was_stolen_is_a_share_of_all_time() -> None:
    stolen, total = pace.ticks()
    assert 0 <= pace.stolen_percent((0, 0)) <= 100
    assert pace.stolen_percent((stolen, total - 1_000_000)) < 1


def test_the_pace_is_told_in_words() -> None:
    before = {"loop_ns": 41.0, "memory_ns": 120.5, "socket_us": 2.5}
    after = before | {"memory_ns": 300.0}
    assert pace.told({"before": before, "after": after, "stolen_percent": 0.4}) == (
        "Pace before and after: a loop's turn 41 ns, a step through memory 120.5 and 300 ns, a byte by a socket "
        "2.5 µs, 0.4 % of the time was stolen"
    )
