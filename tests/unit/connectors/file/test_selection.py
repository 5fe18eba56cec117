"""Which files count: patterns of names and paths, and what is ignored."""

import pytest

from connectors.file.selection import Selection


def selection(*patterns: str, ignore: tuple[str, ...] = (), recursive: bool = True) -> Selection:
    return Selection(patterns=patterns or ("*",), ignore=ignore, recursive=recursive)


@pytest.mark.parametrize(
    ("pattern", "path", "takes"),
    [
        ("*.csv", "a.csv", True),
        ("*.csv", "x/y/a.csv", True),
        ("*.csv", "a.csv.tmp", False),
        ("*.csv", "a.CSV", False),
        ("a?c[0-9]", "x/abc7", True),
        ("a?c[!0-9]", "abc7", False),
        ("*", "x/y", True),
        ("/*.csv", "a.csv", True),
        ("/*.csv", "x/a.csv", False),
        ("x/*.csv", "x/a.csv", True),
        ("x/*.csv", "x/y/a.csv", False),
        ("x/**/a.csv", "x/a.csv", True),
        ("x/**/a.csv", "x/y/z/a.csv", True),
        ("x/**", "x/y/z", True),
        ("**/y/*", "y/a", True),
        ("**/y/*", "x/y/a", True),
        ("**/y/*", "x/y/z/a", False),
        ("**/**/**/a", "b/c/d/e/f/a", True),
        ("caf\udce9*", "caf\udce9.txt", True),
        ("*\n*", "a\nb", True),
    ],
)
def test_a_pattern_takes_what_it_says(pattern: str, path: str, takes: bool) -> None:
    assert selection(pattern).holds(path) is takes


def test_several_patterns_take_what_one_of_them_takes() -> None:
    both = selection("*.csv", "x/*.json")

    assert [path for path in ("a.csv", "x/a.json", "a.json", "a") if both.holds(path)] == ["a.csv", "x/a.json"]


def test_what_is_below_an_ignored_folder_is_ignored() -> None:
    some = selection(ignore=(".*", "build/", "x/old/**"))

    paths = ["a", ".a", ".git/a", "build/a", "y/build/a", "x/old/a", "x/old/b/c", "x/older/a", "y/old/a"]
    assert [path for path in paths if some.holds(path)] == ["a", "x/older/a", "y/old/a"]
    assert not some.enters("x/old")
    assert some.enters("x")


def test_without_folders_below_only_the_top_counts() -> None:
    top = selection("*", recursive=False)

    assert top.holds("a")
    assert not top.holds("x/a")


def test_patterns_made_to_hurt_are_matched_in_no_time() -> None:
    hard = selection("*a" * 60 + "b", "**/" * 60 + "*a" * 30 + "b")

    assert not hard.takes("/".join(["a" * 200] * 90))


def test_a_selection_is_read_as_it_was_written() -> None:
    some = selection("*.csv", ignore=("x",), recursive=False)

    assert Selection.of(some.as_json()).as_json() == some.as_json()
    for other in (None, {}, {"patterns": [1], "ignore": [], "recursive": True}):
        with pytest.raises(ValueError, match="no patterns"):
            Selection.of(other)
