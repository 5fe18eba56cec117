"""The kinds of sources: each file or folder of `connectors/` is one, and so is each entry point of third parties.

A third party names a `headgate.providers.TriggerProvider` in the entry point group `headgate.providers`.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

from connectors.base.contract import Delivery, Site, Source
from connectors.base.options import Options

FOLDER: Final = Path(__file__).parents[2]
ENTRY_POINTS: Final = "headgate.providers"


class UnknownKind(Exception):
    """No such kind of source is installed."""

    def __init__(self, kind: str, known: list[str]) -> None:
        near = get_close_matches(kind, known, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        super().__init__(f"There is no kind of source {kind!r}. {hint}Installed are: {', '.join(known)}.")
        self.kind = kind


class UnusableKind(UnknownKind):
    """A kind of source is installed, and cannot be loaded."""

    def __init__(self, kind: str, where: str, error: Exception) -> None:
        Exception.__init__(
            self, f"The kind of source {kind!r} cannot be loaded from {where}: {type(error).__name__}: {error}"
        )
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


@cache
def ours() -> Mapping[str, str]:
    """Return the kinds of this package, and the module of each."""
    found = {}
    for entry in sorted(FOLDER.iterdir()):
        name = entry.stem if entry.suffix == ".py" else entry.name if (entry / "__init__.py").exists() else ""
        if name and name != "base" and not name.startswith("_"):
            found[name.replace("_", "-")] = f"connectors.{name}"
    return found


@cache
def _theirs() -> Mapping[str, EntryPoint]:
    return {one.name: one for one in entry_points(group=ENTRY_POINTS)}


@cache
def names() -> tuple[str, ...]:
    """Return all installed kinds."""
    return tuple(sorted({*ours(), *_theirs()}))


def load(kind: str) -> Kind:
    """Import one kind. Raises UnknownKind, also for one that is installed and cannot be loaded."""
    if kind not in ours() and kind not in _theirs():
        raise UnknownKind(kind, list(names()))
    found = _loaded(kind)
    if isinstance(found, UnusableKind):
        raise found.with_traceback(None)
    return found


def forget() -> None:
    """Look anew at what is installed, at the next question."""
    for cached in (ours, _theirs, names, _loaded):
        cached.cache_clear()


@cache
def _loaded(kind: str) -> Kind | UnusableKind:
    module_name = ours().get(kind)
    if module_name is not None:
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            return UnusableKind(kind, module_name, error)
        return Kind(
            name=kind,
            meaning=(module.__doc__ or "").partition("\n")[0],
            delivery=module.DELIVERY,
            example=module.EXAMPLE,
            config=module.Config,
            make=getattr(module, "Source", None),
            module=module,
        )
    entry = _theirs()[kind]
    try:
        return _third_party(kind, entry.load())
    except Exception as error:  # noqa: BLE001 whatever a third party's module does: its sources fail, and no others
        return UnusableKind(kind, entry.value, error)


def _third_party(kind: str, provider: Any) -> Kind:
    from connectors.base.kinds import provided

    return Kind(
        name=kind,
        meaning=(provider.__doc__ or "").partition("\n")[0],
        delivery=Delivery(provider.delivery),
        example=provider.example,
        config=provided.AnyOptions,
        make=provided.maker(provider),
        module=provider,
    )
