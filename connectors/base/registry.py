"""The kinds of sources: each file or folder of `connectors/` is one, and so is each entry point of third parties.

A third party names a `headgate.providers.TriggerProvider` in the entry point group `headgate.providers`.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from connectors.base.contract import Delivery, Site, Source
from connectors.base.options import Options

FOLDER: Final = Path(__file__).parents[1]
ENTRY_POINTS: Final = "headgate.providers"


class UnknownKind(Exception):
    """No such kind of source is installed."""

    def __init__(self, kind: str, known: list[str]) -> None:
        near = get_close_matches(kind, known, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        super().__init__(f"There is no kind of source {kind!r}. {hint}Installed are: {', '.join(known)}.")
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of source. `make` is None for kinds that are received by the gateway (webhook)."""

    name: str
    meaning: str
    delivery: Delivery
    example: Mapping[str, Any]
    config: type[Options]
    make: Callable[[Any, Site], Source] | None
    module: Any


def ours() -> dict[str, str]:
    """Return the kinds of this package, and the module of each."""
    found = {}
    for entry in sorted(FOLDER.iterdir()):
        name = entry.stem if entry.suffix == ".py" else entry.name if (entry / "__init__.py").exists() else ""
        if name and name != "base" and not name.startswith("_"):
            found[name.replace("_", "-")] = f"connectors.{name}"
    return found


@cache
def names() -> tuple[str, ...]:
    """Return all installed kinds."""
    return tuple(sorted({*ours(), *(one.name for one in entry_points(group=ENTRY_POINTS))}))


@cache
def load(kind: str) -> Kind:
    """Import one kind. Raises UnknownKind."""
    module_name = ours().get(kind)
    if module_name is None:
        for one in entry_points(group=ENTRY_POINTS):
            if one.name == kind:
                return _third_party(kind, one.load())
        raise UnknownKind(kind, list(names()))
    module = importlib.import_module(module_name)
    return Kind(
        name=kind,
        meaning=(module.__doc__ or "").partition("\n")[0],
        delivery=module.DELIVERY,
        example=module.EXAMPLE,
        config=module.Config,
        make=getattr(module, "Source", None),
        module=module,
    )


def _third_party(kind: str, provider: Any) -> Kind:
    from connectors.base import provided

    return Kind(
        name=kind,
        meaning=(provider.__doc__ or "").partition("\n")[0],
        delivery=Delivery(provider.delivery),
        example=provider.example,
        config=provided.AnyOptions,
        make=provided.maker(provider),
        module=provider,
    )
