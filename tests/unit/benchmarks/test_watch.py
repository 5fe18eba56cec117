"""What the independent consumer makes of arrivals."""

from benchmarks import watch

SECOND = 1_000_000_000


def test_percentiles_are_exact_and_in_milliseconds() -> None:
    waits = [milliseconds * 1_000_000 for milliseconds in range(1, 1001)]
    expected = {"samples": 1000, "p50_ms": 501.0, "p99_ms": 991.0, "p999_ms": 1000.0, "max_ms": 1000.0}
    assert expected == watch.percentiles(waits)


def test_without_arrivals_there_is_no_percentile() -> None:
    assert watch.percentiles([]) == {"samples": 0}


def test_the_longest_gap_is_found_by_partition_whatever_the_order_of_arrival() -> None:
    arrivals = {0: 1 * SECOND, 1: 2 * SECOND, 2: 9 * SECOND, 3: 3 * SECOND, 4: 4 * SECOND}
    partitions = {0: 0, 1: 0, 2: 0, 3: 1, 4: 1}
    assert watch.gaps(arrivals, partitions, start_ns=SECOND) == {"0": [1.0, 7.0], "1": [2.0, 1.0]}
