"""The names that a function's code may use: what its annotations, and the classes of its results, are looked up in."""

from typing import Any


def nonlocals_of(function: Any) -> dict[str, Any]:
    """Return the variables of the functions around it, those left out that have no value yet.

    `inspect.getclosurevars` raises ValueError for such a one, as for a workflow that is defined below (Python 3.11).
    """
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    found: dict[str, Any] = {}
    for name, cell in zip(getattr(code, "co_freevars", ()), cells or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    return found


def name_of(function: Any, name: str) -> Any:
    """Return what `name` is there, None where it is nothing."""
    around = nonlocals_of(function)
    return around[name] if name in around else getattr(function, "__globals__", {}).get(name)
