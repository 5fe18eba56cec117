"""When the cyclic collector looks at functions that wait. Used by `live`.

By itself it looks once 100,000 more objects were made than freed (docs/adr/0004). Where functions that begin to wait
take the places of others, as many are freed as made, so it looks seldom, and then at all that came since: measured up
to 0.46 s in which nothing else went on, every 4 s. A few functions at a time it looks at as much in all.
"""

import gc
from typing import Final

FUNCTIONS: Final = 500
"""A pass over what is new after so many: some 30,000 objects, 10 ms."""
PASSES: Final = 400
"""After so many of these one over what is left of them all, for what only cycles hold."""


class Collector:
    """Counts functions that begin to wait."""

    __slots__ = ("_functions", "_passes")

    def __init__(self) -> None:
        self._functions = self._passes = 0

    def parked(self) -> None:
        """One more waits."""
        self._functions += 1
        if self._functions < FUNCTIONS:
            return
        self._functions = 0
        self._passes += 1
        older = self._passes >= PASSES
        if older:
            self._passes = 0
        gc.collect(1 if older else 0)
