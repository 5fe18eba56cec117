"""Texts with places such as `{{ data.user.id }}`: replaced by fields of an event, and nothing else. No logic, no code.

Fields: `id`, `type`, `key`, `data` and what is in it, `source.id`, `source.kind`. A number chooses from a list.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

MOST_CHARS: Final = 1024
_PLACE: Final = re.compile(r"\{\{([^{}]{1,300})\}\}")
_PATH: Final = re.compile(r"[A-Za-z0-9_$@:-]+(?:\.[A-Za-z0-9_$@:-]+)*", re.ASCII)
_ROOTS: Final = frozenset({"id", "type", "key", "data", "source"})
MISSING: Final = object()


class TemplateError(ValueError):
    """A template is none, or an event has no such field."""


def at(scope: Any, path: str) -> Any:
    """Return what is at a dotted path, MISSING where there is nothing."""
    for step in path.split("."):
        if isinstance(scope, Mapping):
            scope = scope.get(step, MISSING)
        elif isinstance(scope, list) and step.isascii() and step.isdigit() and len(step) < 8:
            scope = scope[int(step)] if int(step) < len(scope) else MISSING
        else:
            return MISSING
    return scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A text, cut at its places: `parts` are texts and paths in turns."""

    text: str
    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, *, roots: frozenset[str] = _ROOTS) -> "Template":
        """Raises TemplateError."""
        parts = [part.strip() if number % 2 else part for number, part in enumerate(_PLACE.split(text))]
        for literal in parts[::2]:
            if "{{" in literal or "}}" in literal:
                raise TemplateError(f"{_short(text)} has a `{{{{` or `}}}}` without its other half")
        for path in parts[1::2]:
            if _PATH.fullmatch(path) is None or path.split(".")[0] not in roots:
                known = ", ".join(sorted(roots))
                raise TemplateError(
                    f"{path!r} in {_short(text)} is no field of an event; paths begin with one of {known}"
                )
        return cls(text=text, parts=tuple(parts))

    def render(self, scope: Mapping[str, Any]) -> str:
        """Return the text with fields in its places. Raises TemplateError where one is missing or no plain value."""
        if len(self.parts) == 1:
            return self.text
        made = "".join(part if number % 2 == 0 else _plain(scope, part) for number, part in enumerate(self.parts))
        if len(made) > MOST_CHARS:
            raise TemplateError(f"{_short(self.text)} became {len(made)} characters long, {MOST_CHARS} are allowed")
        return made


def _plain(scope: Mapping[str, Any], path: str) -> str:
    value = at(scope, path)
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            try:
                return str(value)
            except ValueError:  # an integer of more than 4,300 digits
                raise TemplateError(f"the field {path} of the event is too long a number") from None
        case _:
            found = "is missing" if value is MISSING else f"is {type(value).__name__}, not a text or a number"
            raise TemplateError(f"the field {path} of the event {found}")


def _short(text: str) -> str:
    return repr(text if len(text) <= 200 else f"{text[:197]}...")
