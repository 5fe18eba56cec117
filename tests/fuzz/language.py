"""What sources and workflows are told with: templates, filters, patterns."""

from collections.abc import Mapping
from typing import Any, Final

from connectors.base.texts import templates
from connectors.base.texts.filters import Filter, FilterError, FilterFailed
from connectors.base.texts.templates import Template, TemplateError
from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import Target, named
from topics import patterns
from topics.patterns import Pattern, PatternError

TEMPLATES: Final = (
    "{{ id }}/{{ type }}",
    "x/{{data.a.b}}/y",
    "{{ data.items.0.sku }}",
    "plain",
    "{{ source.kind }}-{{ key }}",
)
TEMPLATE_WORDS: Final = (
    "{{",
    "}}",
    "{",
    "}",
    " ",
    ".",
    "data",
    "data.a",
    "{{ key }}",
    "0",
    "__class__",
    "$",
    "%s",
    "\x00",
    "ü",
)
SCOPES: Final[tuple[Any, ...]] = (
    {
        "id": "1",
        "type": "t",
        "key": "k",
        "data": {"a": {"b": 1}, "items": [{"sku": "s"}]},
        "source": {"id": "s", "kind": "k"},
    },
    {"id": "1", "type": "t", "key": None, "data": [1, [2], {"a": 10**400}], "source": {}},
)


def template(draw: Mutator) -> tuple[str, Any]:
    return draw.text(TEMPLATES, TEMPLATE_WORDS), draw.value(SCOPES)


def check_template(given: tuple[str, Any]) -> str:
    text, scope = given
    try:
        found = Template.parse(text)
    except TemplateError as error:
        return f"no {named(error)}"
    if not isinstance(scope, Mapping):
        return "no scope"
    try:
        made = found.render(scope)
    except TemplateError as error:
        return named(error)
    assert len(made) <= max(templates.MOST_CHARS, len(text))
    return "rendered"


FILTERS: Final[tuple[Any, ...]] = (
    {"type": ["message_create", "t"], "data.author.bot": {"not": True}, "data.price": {"gte": 10, "lt": 100.5}},
    {"data.text": {"prefix": "!", "contains": "help", "suffix": "e"}, "data.thread": {"exists": False}, "key": None},
    {"any": [{"data.a.b": 1}, {"any": [{"data.items.0.sku": {"contains": "s"}}, {"id": "1"}]}], "source.kind": "k"},
    {"data": {"contains": 1}, "data.0": {"gt": 0}, "data.2.a": {"lte": 1.5}},
)


def condition(draw: Mutator) -> tuple[Any, Any]:
    return draw.value(FILTERS), draw.value(SCOPES)


def check_condition(given: tuple[Any, Any]) -> str:
    conditions, scope = given
    try:
        found = Filter(conditions)
    except FilterError as error:
        return f"no {named(error)}"
    if not isinstance(scope, Mapping):
        return "no scope"
    try:
        return "takes" if found.takes(scope) else "leaves"
    except FilterFailed as error:
        return named(error)


PATTERNS: Final = ("orders/*", "**", "a/**/b", "*.created", "orders/created", "headgate/**", "a.b/c", "**/**")
TOPICS: Final = ("orders/created", "a/x/y/b", "headgate/x", "a.b", "orders", "", "/")


def pattern(draw: Mutator) -> tuple[str, str]:
    words = ("*", "**", "/", ".", "//", "a", "\x00", "\ud800", " ", "headgate/")
    return draw.text(PATTERNS, words), draw.text(TOPICS, words)


def check_pattern(given: tuple[str, str]) -> str:
    text, topic = given
    try:
        found = Pattern.parse(text)
    except PatternError as error:
        return named(error)
    meets = found.matches(topic)
    assert (found.difference(topic) is None) == meets
    assert patterns.head_of(text) is not None
    return "meets" if meets else "differs"


TARGETS: Final = (
    Target(name="templates", make=template, check=check_template),
    Target(name="filters", make=condition, check=check_condition),
    Target(name="patterns", make=pattern, check=check_pattern),
)
