"""The contract of providers, run against one of a third party's: `await check_provider(WeatherProvider, {...})`.

It reads four times: while the broker is away; from the beginning, while the broker goes away and comes back; from the
middle; and as after an edit of its options. So the other side has to be there, a real one or one made for the test, and
to have some events that it can tell again.
"""

import asyncio
import inspect
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from headgate.providers import SourceEvent, TriggerProvider

MAX_ID_CHARS: Final = 400
MOST_WAITING: Final = 1_000
"""Most events that may wait for the broker at a time."""
_DELIVERIES: Final = ("exactly-once", "at-least-once", "best-effort")
_NOTHING: Final = object()
_ONLY_AFTER: Final = (
    "Move the position, or acknowledge, only after `emit` returned, and derive ids from what the other side calls its "
    "events."
)


class BrokenContract(AssertionError):
    """A provider does not do what is promised of providers: the words say what, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Emitted:
    event: SourceEvent
    position: Any


async def check_provider(
    provider: type[TriggerProvider],
    config: Mapping[str, Any] | None = None,
    *,
    edited: Mapping[str, Any] | None = None,
    events: int = 3,
    seconds: float = 10.0,
    away_seconds: float = 0.2,
) -> Sequence[SourceEvent]:
    """Check a provider with a config (its example unless given), and return the `events` events that it read.

    `edited` is another config of the same source, as after an edit while it runs; `seconds` is how long one reading
    may take, `away_seconds` how long the broker is away amidst one. Raises BrokenContract, and whatever the provider
    raises.
    """
    _check_form(provider)
    config = provider.example if config is None else config
    name = provider.__name__
    reads = _Reads(provider, seconds=seconds)
    held = await reads.read(config, _NOTHING, most=1, durable=False)
    whole = await reads.read(config, _NOTHING, most=events, away_seconds=away_seconds)
    ids = [one.event.id for one in whole]
    if len(set(ids)) < len(ids):
        raise BrokenContract(
            f"{name} emits different events under one id: {ids}. Equal ids of one source are one event."
        )
    if provider.delivery != "best-effort" and held[0].event.id != ids[0]:
        raise BrokenContract(
            f"{name} was stopped before its first event was durable, and began again with another one: "
            f"{held[0].event.id!r}, then {ids[0]!r}. {_ONLY_AFTER}"
        )
    if provider.delivery == "exactly-once":
        await _check_position(reads, config, whole)
    if provider.delivery != "best-effort" and len(whole) > 1:
        await _check_edit(reads, config if edited is None else edited, whole)
    reads.check_silence()
    return [one.event for one in whole]


async def _check_position(reads: "_Reads", config: Mapping[str, Any], whole: Sequence[_Emitted]) -> None:
    """Read again from the position of an event in the middle: the same events follow as before."""
    middle = (len(whole) - 1) // 2
    position = whole[middle].position
    if position is _NOTHING:
        raise BrokenContract(
            f"{reads.name} says exactly-once and emits {whole[middle].event.id!r} without a position. Give `emit` "
            "where reading goes on after the event, or say at-least-once or best-effort."
        )
    wanted = [one.event.id for one in whole[middle + 1 :]]
    if not wanted:
        return
    found = [one.event.id for one in await reads.read(config, position, most=len(wanted))]
    if found != wanted:
        raise BrokenContract(
            f"{reads.name} goes on after the position of {whole[middle].event.id!r} with {found} instead of {wanted}. "
            "A position is where reading goes on once its event and all before it are durable."
        )


async def _check_edit(reads: "_Reads", config: Mapping[str, Any], whole: Sequence[_Emitted]) -> None:
    """Read as after an edit: the last event was in hand when reading ended, and all before it are durable."""
    *durable, in_hand = whole
    positions = [one.position for one in durable if one.position is not _NOTHING]
    wanted = in_hand.event.id
    again = await reads.read(
        config, positions[-1] if positions else _NOTHING, most=len(whole), until=lambda event: event.id == wanted
    )
    found = [one.event.id for one in again]
    if wanted not in found:
        raise BrokenContract(
            f"{reads.name} was stopped while {wanted!r} was not durable, as by an edit of its options, and went on "
            f"with {found}. {_ONLY_AFTER}"
        )


class _Reads:
    """Reads a provider again and again, each time with an object of its own."""

    def __init__(self, provider: type[TriggerProvider], *, seconds: float) -> None:
        self._provider, self._seconds = provider, seconds
        self.name = provider.__name__
        self._late: list[str] = []

    async def read(
        self,
        config: Mapping[str, Any],
        position: Any,
        *,
        most: int,
        durable: bool = True,
        away_seconds: float = 0.0,
        until: Callable[[SourceEvent], bool] = lambda _: False,
    ) -> Sequence[_Emitted]:
        """Run it until it has emitted so many events, or one that is waited for, and end it.

        The last `emit` never returns, and none where `durable` is false. The broker is away from the second event on.
        """
        name, one, broker = self.name, self._provider(), _Broker(away_seconds)
        emitted: list[_Emitted] = []
        enough = asyncio.Event()
        calls: list[Coroutine[Any, Any, None]] = []
        inside: set[asyncio.Task[Any] | None] = set()
        is_over = False

        def emit(event: SourceEvent, *, position: Any = _NOTHING) -> Coroutine[Any, Any, None]:
            if is_over:
                self._late.append(event.id)
            calls.append(call := emitting(event, position))
            return call

        async def emitting(event: SourceEvent, position: Any) -> None:
            _check_event(name, event, position)
            if len(emitted) < most and not enough.is_set():
                emitted.append(_Emitted(event=event, position=position))
            is_last = len(emitted) == most or until(event)
            inside.add(task := asyncio.current_task())
            try:
                if len(emitted) > 1:
                    await broker.take(event)
                if is_last or broker.waiting > MOST_WAITING:
                    enough.set()
                if enough.is_set() or not durable:
                    await asyncio.get_running_loop().create_future()  # it is ended here, as when its process stops
            finally:
                inside.discard(task)

        tasks: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout(self._seconds):
                await one.init(config)
                running = asyncio.ensure_future(one.run(emit, None if position is _NOTHING else position))
                tasks += [running, asyncio.ensure_future(enough.wait())]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if not enough.is_set():
                    running.result()
                    _check_awaited(name, calls)
                    raise BrokenContract(
                        f"`run` of {name} returned after {len(emitted)} events. It reads until it is cancelled, or "
                        "raises Disconnected."
                    )
                broker.is_over = True
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running
                await one.shutdown()
                is_over = True
            broker.check(name)
            if inside:
                raise BrokenContract(
                    f"{name} still emits after `run` and `shutdown` have ended. Await each `emit` in `run`, so that it "
                    "ends with it."
                )
        except TimeoutError:
            broker.is_over = True
            _check_awaited(name, calls)
            raise BrokenContract(
                f"{name} has emitted {len(emitted)} of {most} events within {self._seconds:g} s, or did not end when "
                "it was cancelled. Let the other side have some, allow more `seconds`, and let CancelledError pass."
            ) from None
        finally:
            broker.is_over = True
            for task in (*tasks, *filter(None, (*inside, broker.coming))):
                task.cancel()
        return emitted

    def check_silence(self) -> None:
        """Nothing is emitted by what has ended."""
        if self._late:
            raise BrokenContract(
                f"{self.name} has emitted {self._late[0]!r} after `shutdown` had returned: after an edit two would "
                "read. End in `run` or `shutdown` what they have begun."
            )


class _Broker:
    """A broker that is away when it is asked to take an event, and comes back after a while."""

    def __init__(self, away_seconds: float) -> None:
        self._away_seconds = away_seconds
        self.coming: asyncio.Task[None] | None = None
        self.waiting = 0
        self.given_up: list[str] = []
        self.is_over = False

    async def take(self, event: SourceEvent) -> None:
        """Return once it has an event, or too many wait."""
        if not self._away_seconds:
            return
        if self.coming is None:
            self.coming = asyncio.create_task(asyncio.sleep(self._away_seconds))
        self.waiting += 1
        if self.waiting > MOST_WAITING:
            return
        try:
            await asyncio.shield(self.coming)
        except asyncio.CancelledError:
            if not self.is_over:
                self.given_up.append(event.id)
            raise
        self.waiting -= 1

    def check(self, name: str) -> None:
        """Everybody has waited for it, and few at a time."""
        if self.waiting > MOST_WAITING:
            raise BrokenContract(
                f"{name} emits on and on while the broker is away: {self.waiting} events wait in memory. Read no more "
                "before `emit` has returned, or drop some and say so."
            )
        if self.given_up:
            raise BrokenContract(
                f"{name} did not wait until the broker had {self.given_up[0]!r}, and went on. While the broker is away "
                "an `emit` takes as long as that lasts; what is given up is lost."
            )


def _check_awaited(name: str, calls: Sequence[Coroutine[Any, Any, None]]) -> None:
    left = [call for call in calls if inspect.getcoroutinestate(call) == inspect.CORO_CREATED]
    for call in left:
        call.close()
    if left:
        raise BrokenContract(f"{name} calls `emit` and does not await it. Nothing is published so: `await emit(...)`.")


def _check_form(provider: type[TriggerProvider]) -> None:
    name = provider.__name__
    if not (provider.__doc__ or "").strip():
        raise BrokenContract(f"{name} has no docstring. Its first line is what `headgate connectors kinds` shows.")
    if getattr(provider, "delivery", None) not in _DELIVERIES:
        raise BrokenContract(f"{name} has no `delivery`. Say what its users can count on: {', '.join(_DELIVERIES)}.")
    example = getattr(provider, "example", None)
    if not isinstance(example, Mapping) or not _is_json(dict(example)):
        raise BrokenContract(f"{name} has no `example`. Give options as a user writes them in YAML.")


def _check_event(name: str, event: SourceEvent, position: Any) -> None:
    given: tuple[Any, Any] = (event.id, event.type)  # whoever has no type checker gives anything
    if not (isinstance(given[0], str) and 0 < len(given[0]) <= MAX_ID_CHARS):
        raise BrokenContract(
            f"{name} emits the id {given[0]!r:.200}. An id is a text of 1 to {MAX_ID_CHARS} characters."
        )
    if not (isinstance(given[1], str) and given[1]):
        raise BrokenContract(f"{name} emits {event.id!r} with the type {given[1]!r:.200}. A type is a text.")
    if not _is_json(event.data):
        raise BrokenContract(
            f"{name} emits {event.id!r} with data that is no JSON. Emit texts, numbers, lists, objects."
        )
    if event.created_at is not None and event.created_at.tzinfo is None:
        raise BrokenContract(f"{name} emits {event.id!r} with a time without a zone. Say whose time it is.")
    if position is not _NOTHING and not _is_json(position):
        raise BrokenContract(f"{name} gives {event.id!r} a position that is no JSON, and so cannot be kept.")


def _is_json(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError, RecursionError):
        return False
