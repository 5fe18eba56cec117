"""What one partition asks of another, at the one that is asked. Called by `apply` after all inputs.

So what came together with it has been handled: an interest counts from the offsets that the state is at.
"""

from collections.abc import Callable
from typing import Any, Final

from app.engine.effects import Effects
from app.engine.starts import wishes
from app.engine.steps import steps
from app.engine.tables.state import State
from app.engine.waits import flushes, interests, waits
from topics import asked


def handle(state: State, effects: Effects) -> None:
    """Take everything that was asked of this partition, and what it asks of itself because of that."""
    while True:
        while state.mail:
            source, one = state.mail.popleft()
            HANDLERS[type(one)](state, one, source, effects)
        if state.flushes:
            flushes.answer(state)
        if state.registry is not None:
            waits.work(state, state.registry)
        if not state.mail:
            return


HANDLERS: Final[dict[type, Callable[[State, Any, int, Effects], None]]] = {
    asked.Wait: lambda state, one, source, _: waits.asked_for(state, one, source),
    asked.Withdraw: lambda state, one, _source, _: waits.withdrawn(state, one),
    asked.More: lambda state, one, _source, _: waits.more_wanted(state, one),
    asked.Confirmed: lambda state, one, source, _: waits.confirmed(state, one, source),
    asked.Notice: lambda state, one, _source, _: waits.arrived(state, one.event),
    asked.Interest: lambda state, one, source, _: interests.asked_for(state, one, source),
    asked.Flush: lambda state, one, source, _: flushes.asked_for(state, one, source),
    asked.Flushed: lambda state, one, source, _: flushes.answered(state, one, source, waits.flushed),
    asked.Met: lambda state, one, _source, effects: steps.met(state, one.run, one.key, one.n, one.event, effects),
    asked.Expired: lambda state, one, _source, effects: steps.expired(state, one.run, one.key, one.n, effects),
    asked.Child: lambda state, one, _source, effects: steps.child(state, one, effects),
    asked.Cancel: lambda state, one, _source, effects: wishes.cancel(state, one.run, one.reason, effects),
    asked.Retry: lambda state, one, _source, _: wishes.retry(state, one.run),
}
