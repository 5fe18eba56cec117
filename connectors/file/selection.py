"""Which files of a folder count: patterns, and what is to be ignored.

A pattern without a slash is for the name, at any depth; one with slashes is for the path from the folder on, where `**`
stands for any number of folders. `*`, `?` and `[...]` are those of `fnmatch`, and never match a slash. Time grows with
the length of pattern and path, not faster: patterns and names come from people.
"""

import fnmatch
import re
from collections.abc import Sequence
from typing import Any, Final

MOST_PATTERNS: Final = 100
MOST_CHARS: Final = 250

Matcher = re.Pattern[str] | None
"""Of one part of a path; None is `**`."""


class Selection:
    """What a source takes of its folder. Paths are relative, with slashes."""

    def __init__(self, *, patterns: Sequence[str], ignore: Sequence[str], recursive: bool) -> None:
        self.patterns, self.ignore, self.recursive = tuple(patterns), tuple(ignore), recursive
        self._taken, self._ignored = _Patterns(self.patterns), _Patterns(self.ignore)

    def enters(self, folder: str) -> bool:
        """Say whether the files in a folder count, if those of the folders above it do."""
        return self.recursive and not self._ignored.match(folder)

    def takes(self, path: str) -> bool:
        """Say whether a file counts, if its folder is entered."""
        return self._taken.match(path) and not self._ignored.match(path)

    def holds(self, path: str) -> bool:
        """Say whether a file counts, its folders included."""
        above = [at for at, letter in enumerate(path) if letter == "/"]
        return all(self.enters(path[:at]) for at in above) and self.takes(path)

    def as_json(self) -> dict[str, Any]:
        return {"patterns": list(self.patterns), "ignore": list(self.ignore), "recursive": self.recursive}

    @staticmethod
    def of(value: Any) -> "Selection":
        """Return the selection that `as_json` wrote. Raises ValueError."""
        match value:
            case {"patterns": [*patterns], "ignore": [*ignore], "recursive": bool(recursive)} if all(
                isinstance(one, str) for one in (*patterns, *ignore)
            ):
                return Selection(patterns=patterns, ignore=ignore, recursive=recursive)
        raise ValueError("it has no patterns")


class _Patterns:
    """Patterns of which one is to match. Those of names are one expression: it is asked for each file at each scan."""

    def __init__(self, patterns: Sequence[str]) -> None:
        names = [fnmatch.translate(one.rstrip("/")) for one in patterns if not _is_path(one)]
        self._names = re.compile("|".join(names) if names else r"(?!)")
        self._paths = tuple(_parts(one) for one in patterns if _is_path(one))

    def match(self, path: str) -> bool:
        if self._names.match(path, path.rfind("/") + 1):
            return True
        return bool(self._paths) and any(_match(parts, path.split("/")) for parts in self._paths)


def _is_path(pattern: str) -> bool:
    return "/" in pattern.rstrip("/")


def _parts(pattern: str) -> tuple[Matcher, ...]:
    parts = pattern.strip("/").split("/")
    return tuple(None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts)


def _match(pattern: Sequence[Matcher], path: Sequence[str]) -> bool:
    """Walk through the path with all places of the pattern that may come next."""
    places = _beyond(pattern, {0})
    for part in path:
        onward = {at for at in places if at < len(pattern) and pattern[at] is None}
        for at in places:
            matcher = pattern[at] if at < len(pattern) else None
            if matcher is not None and matcher.match(part):
                onward.add(at + 1)
        places = _beyond(pattern, onward)
    return len(pattern) in places


def _beyond(pattern: Sequence[Matcher], places: set[int]) -> set[int]:
    """Add the places behind each `**`, which may stand for nothing."""
    found = set(places)
    for at in sorted(places):
        while at < len(pattern) and pattern[at] is None:
            at += 1
            found.add(at)
    return found
