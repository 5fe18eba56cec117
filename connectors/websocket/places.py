"""Messages to send, with places such as `{{ token }}` or `{{ data.id }}` in their texts. Pure.

A text that is one place becomes what stands there, number or object as it is. What has a place for which there is
nothing is left out, with its name: so `since: "{{ position }}"` is not sent as long as there is no position.
"""

from collections.abc import Mapping, Set
from typing import Any, Final

import orjson

from connectors.base.texts.templates import MISSING, Template, TemplateError, at

ABSENT: Final = MISSING
"""There is nothing to send."""


def check(value: Any, roots: Set[str]) -> frozenset[str]:
    """Return what the places of a value begin with. Raises ValueError, which shows nothing of it, for other names."""
    if isinstance(value, str):
        try:
            paths = Template.parse(value, roots=frozenset(roots)).parts[1::2]
        except TemplateError:
            names = " or ".join(sorted(roots))
            raise ValueError(f"a place {{{{ … }}}} in it is none; places here begin with {names}") from None
        return frozenset(path.split(".")[0] for path in paths)
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise ValueError("a name in it is no text")
        value = list(value.values())
    return frozenset().union(*(check(inner, roots) for inner in value)) if isinstance(value, list) else frozenset()


def filled(value: Any, scope: Mapping[str, Any]) -> Any:
    """Return a value with what stands in its places, ABSENT where nothing does. None in the scope is nothing."""
    if isinstance(value, str):
        return _text(value, scope)
    if isinstance(value, Mapping):
        made = {name: filled(inner, scope) for name, inner in value.items()}
        return {name: inner for name, inner in made.items() if inner is not ABSENT}
    if isinstance(value, list):
        return [inner for inner in (filled(one, scope) for one in value) if inner is not ABSENT]
    return value


def wire(value: Any) -> str:
    """Return a message as it is sent: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _text(text: str, scope: Mapping[str, Any]) -> Any:
    if "{{" not in text:
        return text
    parts = Template.parse(text, roots=frozenset(scope)).parts
    found = [at(scope, path) for path in parts[1::2]]
    if any(one is MISSING or one is None for one in found):
        return ABSENT
    if len(found) == 1 and not parts[0].strip() and not parts[2].strip():
        return found[0]
    made = [parts[0]]
    for one, literal in zip(found, parts[2::2], strict=True):
        made += [wire(one), literal]
    return "".join(made)
