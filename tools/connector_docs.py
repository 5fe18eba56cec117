"""The page docs/reference/connectors.md: what every source has, and each kind of ours. Called by tools/docs.py."""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from connectors.base import contract
from connectors.base.backoff import Reconnect
from connectors.base.kinds import describing, registry
from connectors.base.kinds.describing import Described
from connectors.base.kinds.registry import Kind

FIELDS: Final[Mapping[str, str]] = {
    "id": "Name of the source, 1 to 100 letters, digits, `.`, `_` and `-`. It is in the topic of its events, and how "
    "far it was read is known under it: another id begins anew.",
    "kind": "One of the kinds below, or one of a [package of yours](../connectors.md#a-kind-of-your-own).",
    "options": "What the kind asks for. `{{ env.NAME }}` and `{{ file.NAME }}` in them are "
    "[secrets](../connectors.md#secrets).",
    "filter": "[Which events are published](#filter); all of them without one.",
    "reconnect": "[How long to wait](#reconnect) before it is connected again.",
    "topic": "Logical topic of its events, with fields of the event in it; `{{ source.id }}/{{ type }}` unless given.",
    "key": "Key of its events, with fields of the event in it; what the kind says unless given.",
    "paused": "`true`: it is set up and does not run.",
}
OPERATORS: Final[Mapping[str, str]] = {
    "gt": "a number above",
    "gte": "a number, at least",
    "lt": "a number below",
    "lte": "a number, at most",
    "prefix": "a text that begins so",
    "suffix": "a text that ends so",
    "contains": "a text with this in it, or a list with this member",
    "exists": "whether the field is there (`true`) or not (`false`)",
    "not": "anything else than this: a value, a list of values, or operators",
}
_INTERNAL: Final = "Modules:"
"""A paragraph that begins so, in the docstring of a kind, is for those who read its code."""
_PAGE: Final = """\
# Sources

[Connectors](../connectors.md) tells how sources work and are run. `headgate connectors kinds` lists the kinds that are
installed, third parties' among them, and `headgate connectors kinds rss` shows one as it is shown here.

| kind | what it is | delivery |
|---|---|---|
{kinds}

## What every source has

| field | meaning |
|---|---|
{fields}

### reconnect

Pauses grow from the first to the longest, each a random part of what it may be. What the other side asks for
(`Retry-After`) is never undercut.

| field | type | default | meaning |
|---|---|---|---|
{reconnect}

### filter

An object of field paths and what has to be there; all of it has to hold. Paths begin with `id`, `type`, `key`, `data`
or `source`; a number in a path chooses from a list. A plain value has to be equal, a list holds values of which one has
to be equal, `any` holds filters of which one has to hold, and an object holds operators:

| operator | the field is |
|---|---|
{operators}

A field that is missing is equal to nothing, and meets no operator but `not` and `exists`. An operator that makes no
sense for a field (`gt` of a text) is an error: the event becomes a dead letter, `filter_failed`.

{sections}
"""


def page() -> str:
    """Return the page, without the line that says that it is generated."""
    kinds = [registry.load(name) for name in registry.ours()]
    return _PAGE.format(
        kinds="\n".join(
            f"| [`{one.name}`](#{one.name}) | {_plain(one.meaning)} | {one.delivery.value} |" for one in kinds
        ),
        fields=_rows(FIELDS),
        reconnect="\n".join(_options(describing.options_of(Reconnect))),
        operators=_rows(OPERATORS),
        sections="\n\n".join(map(_section, kinds)),
    )


def _section(kind: Kind) -> str:
    paragraphs = _paragraphs(kind)
    parts = [f"## {kind.name}", paragraphs[0], f"Delivery: {_promise(kind)}", *paragraphs[1:]]
    if (emitted := describing.emitted(kind)) is not None:
        parts.append(f"Events: {emitted}")
    if kind.make is None:
        parts.append("The gateway receives it, nothing else runs: see [HTTP](http.md#post-webhooksproviderid).")
    parts.append(
        "\n".join(
            [
                "| option | type | default | meaning |",
                "|---|---|---|---|",
                *_options(describing.options_of(kind.config)),
            ]
        )
    )
    if (sent := describing.sent_through(kind)) is not None:
        parts.append(f"Sent through it (`ctx.sources.send`): {sent}")
    parts.append(f"```yaml\n{describing.example_of(kind)}```")
    return "\n\n".join(parts)


def _paragraphs(kind: Kind) -> Sequence[str]:
    """The docstring of a kind, without what is about its code."""
    told = inspect.cleandoc(kind.module.__doc__ or "").split("\n\n")
    return [one for one in told if not one.startswith(_INTERNAL)]


def _promise(kind: Kind) -> str:
    """How its events are delivered: in the words of its Source, where they begin with that."""
    told = (inspect.getdoc(getattr(kind.module, "Source", None)) or "").partition("\n")[0]
    beginnings = tuple(one.value.partition("-")[0] for one in contract.Delivery)
    return told if told.lower().startswith(beginnings) else f"{kind.delivery.value}."


def _options(options: Iterable[Described]) -> Iterator[str]:
    for one in options:
        yield f"| `{one.name}` | {_plain(one.type)} | {_default(one.default)} | {_plain(one.meaning)} |"


def _default(text: str) -> str:
    return {"": "*required*", "none": "none", "see below": "see below"}.get(text) or f"`{text}`"


def _plain(text: str) -> str:
    """A text inside a cell."""
    return text.replace("|", "\\|")


def _rows(meanings: Mapping[str, Any]) -> str:
    return "\n".join(f"| `{name}` | {meaning} |" for name, meaning in meanings.items())
