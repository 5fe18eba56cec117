"""Events by their marks, wherever these stand."""

from benchmarks.arrivals import Arrivals


def made(number: int) -> bytes:
    return b'{"topic":"src/created","data":{"path":"inbox/b-%014d.json"}}' % number


def test_marks_are_found_anywhere_and_those_of_other_runs_are_not() -> None:
    arrivals = Arrivals(run="b-", expected=3)

    taken = arrivals.take([made(1), made(0), b'{"id":"a-00000000000002"}', None, b"", b"b-12"], 5_000)

    assert taken == 2
    assert arrivals.at_ns == {1: 5_000, 0: 5_000}
    assert not arrivals.is_whole


def test_what_comes_twice_is_told_also_within_a_batch() -> None:
    arrivals = Arrivals(run="b-", expected=2)

    arrivals.take([made(0), made(0), made(1)], 1_000)
    arrivals.take([made(1)], 2_000)

    assert arrivals.is_whole
    assert arrivals.summary() == {
        "expected": 2,
        "distinct": 2,
        "after_first": 0,
        "lost": 0,
        "doubled": 2,
        "first_ns": 1_000,
        "last_ns": 1_000,
    }


def test_with_a_rate_each_counts_from_its_intended_time() -> None:
    arrivals = Arrivals(run="b-", expected=4)
    for number, at_ms in ((0, 7), (1, 13), (2, 25), (3, 31)):
        arrivals.take([made(number)], at_ms * 1_000_000)

    found = arrivals.summary(rate=100.0, start_ns=0, skip_seconds=0.01)

    assert (found["samples"], found["p50_ms"], found["max_ms"]) == (3, 3.0, 5.0)


def test_nothing_at_all_is_lost_as_a_whole() -> None:
    found = Arrivals(run="b-", expected=9).summary()

    assert (found["lost"], found["first_ns"], found["last_ns"]) == (9, None, None)
