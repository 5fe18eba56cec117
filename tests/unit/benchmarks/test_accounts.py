"""What a driver keeps account of."""

from benchmarks.accounts import Accounts

MILLISECOND = 1_000_000
SECOND = 1_000 * MILLISECOND


def test_times_count_from_the_intended_moment_of_the_runs_of_the_window() -> None:
    book = Accounts()
    for number in range(4):
        book.ask(f"t-{number}", number * SECOND)
        book.answer(f"t-{number}", number * SECOND + (number + 1) * 100 * MILLISECOND)
    figures = book.summary(from_ns=SECOND, until_ns=3 * SECOND)
    assert (figures["samples"], figures["p50_ms"], figures["max_ms"]) == (2, 300.0, 300.0)
    assert (figures["answered_in_window"], figures["per_second"]) == (2, 1.0)


def test_missing_doubled_wrong_and_foreign_answers_are_told_apart() -> None:
    book = Accounts()
    for name in ("a", "b", "c"):
        book.ask(name, 0)
    book.answer("a", 1)
    book.answer("a", 2)
    book.answer("b", 3, fault="answered 4, not 5")
    book.answer("elsewhere", 4)
    figures = book.summary(from_ns=0, until_ns=SECOND)
    assert (figures["asked"], figures["answered"], figures["lost"]) == (3, 2, 1)
    assert (figures["doubled"], figures["wrong"], figures["faults"]) == (1, 1, ["b: answered 4, not 5"])
