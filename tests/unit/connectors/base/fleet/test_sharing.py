"""Who gets which partition."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from connectors.base.fleet.sharing import share


def test_one_member_has_everything() -> None:
    assert {"a": [0, 1, 2]} == share(3, {"a": {}}, dwell_seconds=60).of


def test_new_members_share_evenly_when_nobody_has_anything() -> None:
    shares = share(5, {"a": {}, "b": {}}, dwell_seconds=60)

    assert sorted(map(len, shares.of.values())) == [2, 3]
    assert shares.again_in_seconds is None


def test_a_partition_stays_where_it_came_lately_and_the_group_looks_again_in_time() -> None:
    shares = share(4, {"a": {0: 10.0, 1: 20.0, 2: 30.0, 3: 40.0}, "b": {}}, dwell_seconds=60)

    assert {"a": [0, 1, 2, 3], "b": []} == shares.of
    assert shares.again_in_seconds == 20.0


def test_what_stayed_long_enough_moves_until_all_have_as_many() -> None:
    shares = share(4, {"a": {0: 10.0, 1: 80.0, 2: 70.0, 3: 5.0}, "b": {}}, dwell_seconds=60)

    assert {"a": [0, 3], "b": [1, 2]} == shares.of
    assert shares.again_in_seconds is None


def test_partitions_of_one_that_is_gone_go_to_those_with_the_fewest() -> None:
    shares = share(6, {"a": {0: 1.0, 1: 1.0, 2: 1.0}, "b": {3: 1.0}}, dwell_seconds=60)

    assert {"a": [0, 1, 2], "b": [3, 4, 5]} == shares.of


def test_of_two_that_claim_a_partition_the_later_owner_keeps_it() -> None:
    shares = share(2, {"frozen": {0: 500.0, 1: 500.0}, "new": {0: 3.0}}, dwell_seconds=600)

    assert {"frozen": [1], "new": [0]} == shares.of


Members = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.dictionaries(st.integers(0, 11), st.floats(0, 1000), max_size=12),
    min_size=1,
    max_size=6,
)


@given(Members, st.floats(0, 500))
def test_every_partition_has_exactly_one_owner_and_what_is_young_never_moves(
    members: Mapping[str, Mapping[int, float]], dwell: float
) -> None:
    shares = share(12, members, dwell_seconds=dwell)

    assert sorted(p for its in shares.of.values() for p in its) == list(range(12))
    if shares.again_in_seconds is None:
        lengths = list(map(len, shares.of.values()))
        assert max(lengths) - min(lengths) <= 1
    else:
        assert shares.again_in_seconds > 0
    for partition in range(12):
        claims = [(has[partition], name) for name, has in sorted(members.items()) if partition in has]
        if claims and min(claims)[0] < dwell:
            assert partition in shares.of[min(claims)[1]]
