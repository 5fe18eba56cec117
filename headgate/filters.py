"""What an author's filter says of an event: the engine asks it between two rounds, and waits for nothing."""

import inspect
from collections.abc import Callable
from typing import Any


def is_async(given: Callable[..., Any]) -> bool:
    """Whether what it returns would have to be awaited, as far as that is known without calling it."""
    return inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(type(given).__call__)


def passes(answer: object) -> bool:
    """Return whether what a filter returned is true. Raises TypeError for what would have to be awaited first, which
    would be true of every event.
    """
    if not inspect.isawaitable(answer):
        return bool(answer)
    if inspect.iscoroutine(answer):
        answer.close()
    kind = type(answer).__name__
    raise TypeError(f"it returned a {kind}, which nobody awaits; write it with def, and let it call no async function")
