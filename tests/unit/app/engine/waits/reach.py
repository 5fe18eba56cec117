"""Every state that small worlds can come to, whatever happens next in each: breadth first, equal states once.

Two states are equal where all that their partitions know, hold and were sent is equal, and the same may yet happen.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Set
from typing import Any, Final

from tests.unit.app.engine.world import World

Do = tuple[str, Callable[[World], object]]
"""A name and what it does."""
_PLAIN: Final = (type(None), bool, int, float, str, bytes)


def states(
    begin: Callable[[], World], happens: Iterable[Do], rounds: Iterable[Do], *, one_of: Iterable[Do] = ()
) -> list[tuple[list[str], World]]:
    """Return each state that can be reached, by what happened until then: each of `happens` once, `one_of` those once,
    `rounds` as often as they change anything. It ends where they change nothing at last.
    """
    once, again, rare = dict(happens), dict(rounds), dict(one_of)
    does = once | again | rare
    seen: set[Hashable] = set()
    found: list[tuple[list[str], World]] = []
    waiting: deque[list[str]] = deque([[]])
    while waiting:
        path = waiting.popleft()
        chosen = not rare.keys().isdisjoint(path)
        for name in [*(one for one in once if one not in path), *again, *(() if chosen else rare)]:
            world = begin()
            for one in (*path, name):
                does[one](world)
            state = (print_of(world), frozenset(once.keys() - path - {name}), chosen or name in rare)
            if state not in seen:
                seen.add(state)
                found.append(([*path, name], world))
                waiting.append([*path, name])
    return found


def print_of(world: World) -> Hashable:
    """Return what is equal for equal worlds alone."""
    return hash(
        tuple(
            _plain(
                (
                    one.journal,
                    one.undelivered,
                    one.given,
                    len(one.registering),
                    one.outcomes,
                    one.logs,
                    (one.lookback._looks, one.lookback._question, one.lookback._answered),
                    one.state,
                ),
                frozenset(),
            )
            for one in world.places
        )
    )


def _plain(thing: Any, within: frozenset[int]) -> Hashable:
    """Return a thing with all that it holds as plain values; objects by their fields, whatever their class."""
    if isinstance(thing, _PLAIN):
        return thing
    if id(thing) in within:
        return "itself"
    within |= {id(thing)}
    name = type(thing).__name__
    if isinstance(thing, dict):
        return (name, *((_plain(key, within), _plain(value, within)) for key, value in thing.items()))
    if isinstance(thing, list | tuple | deque):
        return (name, *(_plain(one, within) for one in thing))
    if isinstance(thing, Set):
        return (name, frozenset(_plain(one, within) for one in thing))
    fields = _fields(thing)
    if not fields:
        return (name, getattr(thing, "__qualname__", None) or repr(thing))
    return (name, *((field, _plain(value, within)) for field, value in fields.items()))


def _fields(thing: Any) -> Mapping[str, Any]:
    slots = [name for one in type(thing).__mro__ for name in vars(one).get("__slots__", ())]
    found = {name: getattr(thing, name) for name in slots if hasattr(thing, name)}
    return found | getattr(thing, "__dict__", {})
