"""What can be wrong with settings, in words: the source, the fact, and the nearest right name."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import ValidationError

from app.settings import groups

# pydantic speaks of patterns and items where a reader of a settings file needs plain words.
_PLAIN_WORDS: Final = {
    "string_pattern_mismatch": "it is not written as this setting must be",
    "too_short": "it is too short, the least length is {min_length}",
    "string_too_short": "it is too short, the least length is {min_length}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong: `source` is a `file:line`, a variable or an option of the command line."""

    source: str
    fact: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.source}: {self.fact}. {self.remedy}"


@dataclass(frozen=True, slots=True)
class Given:
    """A value that some source gives to the setting `name` (`group.field`)."""

    name: str
    value: object
    source: str


class SettingsError(Exception):
    """The settings cannot be used; `problems` has all that is wrong, not only the first."""

    exit_code: Final = 2

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def unknown(source: str, name: str, known: Sequence[str], *, meant: str | None = None) -> Problem:
    """A name that is no setting, with the nearest one that is: `meant`, if it is known what people mean by the name."""
    elsewhere = [other for other in known if other.rpartition(".")[2] == name.rpartition(".")[2]]
    near = [meant] if meant else elsewhere or difflib.get_close_matches(name, known, n=1)
    remedy = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(known[:8])}{' …' if len(known) > 8 else ''}"
    fact = "is not a setting" if source == name else f"{name} is not a setting"
    return Problem(source=source, fact=fact, remedy=remedy)


def wrong_values(error: ValidationError, last: Mapping[str, Given]) -> Iterator[Problem]:
    """One problem per value that its type refuses; `last` has the source that won for each name."""
    for one in error.errors(include_url=False):
        name = ".".join(map(str, one["loc"][:2]))
        given = last.get(name, Given(name, None, "default"))
        template = _PLAIN_WORDS.get(one["type"], one["msg"].removeprefix("Value error, "))
        reason = template.format(**one.get("ctx", {})) if one["type"] in _PLAIN_WORDS else template
        what = "this value" if groups.is_secret(name) else repr(given.value)
        fact = f"{name} cannot be {what}: {reason[:1].lower()}{reason[1:]}"
        yield Problem(source=given.source, fact=fact, remedy=_right_value(given))


def _right_value(given: Given) -> str:
    info = groups.FIELDS[given.name]
    choices = {choice.lower(): choice for choice in _choices(info.annotation) if isinstance(choice, str)}
    near = difflib.get_close_matches(str(given.value).lower(), choices, n=1)
    if near:
        return f"Did you mean {choices[near[0]]!r}?"
    return f"{info.description} Default: {groups.shown_default(given.name)}"


def _choices(annotation: Any) -> Iterator[object]:
    for argument in get_args(annotation):
        if get_args(argument):
            yield from _choices(argument)
        else:
            yield argument
