"""An event loop whose time passes only when it is told to, and then at once. For `app.wiring.rehearsal`.

Timers fire in their order; threads take the real time that they need, and no virtual time passes meanwhile.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

Value = TypeVar("Value")
_THREAD_SECONDS: Final = 0.05
_RESOLUTION_SECONDS: Final = 1e-6
"""What is due within so little is due now. Of the 1e-9 that asyncio has nothing is left above 2^24 s (194 days), where
`time() + 1e-9 == time()`: no timer would ever be due. 1e-6 lasts for centuries."""
MOST_TURNS: Final = 20_000
"""Turns of the loop without time passing after which something goes round in circles."""


class Restless(AssertionError):
    """The code under test never comes to rest."""


class _Selector(selectors.DefaultSelector):
    """Lets the loop decide what happens when nothing is ready."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            self.loop.turned()
            return found
        if self.loop.threads:
            return super().select(_THREAD_SECONDS)
        self.loop.idle(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs until nothing is left to do at the present moment, or until a moment that is given."""

    def __init__(self, begin_seconds: float = 0.0) -> None:
        selector = _Selector()
        selector.loop = self
        self._virtual = begin_seconds
        self._until = begin_seconds
        self._turns = 0
        self.threads = 0
        self.on_turn: Callable[[], None] = lambda: None
        """Called at every turn of the loop: between two turns is where a process may die."""
        super().__init__(selector)
        self._clock_resolution = _RESOLUTION_SECONDS

    def time(self) -> float:
        return self._virtual

    def settle(self) -> None:
        """Run until nothing is left to do without time passing. Raises Restless."""
        self.run_to(self._virtual)

    def run_to(self, moment: float) -> None:
        """Run, and let time pass, until `moment`; then until nothing is left to do then. Raises Restless."""
        self._until = max(moment, self._virtual)
        self._turns = 0
        self.run_forever()

    def finish(self, coro: Coroutine[Any, Any, Value]) -> Value:
        """Run `coro` to its end at the present moment."""
        task = self.create_task(coro)
        self.settle()
        if not task.done():
            raise Restless(f"{coro!r} waits for time to pass")
        return task.result()

    def turned(self) -> None:
        self._turns += 1
        if self._turns > MOST_TURNS:
            raise Restless(f"no rest after {MOST_TURNS} turns: something goes round in circles")
        self.on_turn()

    def idle(self, timeout: float | None) -> None:
        """Nothing is ready: pass the time to the next timer, or stop."""
        # Sums of floats differ in their last digits: what is due then is due, and all that follows from it happens.
        if timeout is not None and self._virtual + timeout <= self._until + _RESOLUTION_SECONDS / 2:
            self._virtual = min(self._virtual + timeout, self._until)
            self._turns = 0
            return
        self._virtual = self._until
        self.stop()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":  # type: ignore[override] # narrower than typeshed's
        self.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(lambda _: self._thread_ended())
        return future

    def thread_waits(self, future: "asyncio.Future[Any]") -> None:
        """A thread does nothing until `future` is done: time may pass meanwhile."""
        self.threads -= 1

        def goes_on(_done: object) -> None:
            self.threads += 1

        future.add_done_callback(goes_on)

    def _thread_ended(self) -> None:
        self.threads -= 1
