"""The contract of providers, run against one of a third party's: `await check_provider(WeatherProvider, {...})`.

It reads three times: once while the broker is away, once from the beginning, once from the middle. So the other side
has to be there, a real one or one made for the test, and to have some events that it can tell again.
"""

import asyncio
import inspect
import json
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from headgate.providers import SourceEvent, TriggerProvider

MAX_ID_CHARS: Final = 400
_DELIVERIES: Final = ("exactly-once", "at-least-once", "best-effort")
_NOTHING: Final = object()


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
    events: int = 3,
    seconds: float = 10.0,
) -> Sequence[SourceEvent]:
    """Check a provider with a config (its example unless given), and return the `events` events that it read.

    `seconds` is how long one reading may take. Raises BrokenContract, and whatever the provider raises.
    """
    _check_form(provider)
    config = provider.example if config is None else config
    name = provider.__name__
    held = await _read(provider, config, _NOTHING, most=1, seconds=seconds, durable=False)
    whole = await _read(provider, config, _NOTHING, most=events, seconds=seconds)
    ids = [one.event.id for one in whole]
    if len(set(ids)) < len(ids):
        raise BrokenContract(
            f"{name} emits different events under one id: {ids}. Equal ids of one source are one event."
        )
    if provider.delivery != "best-effort" and held[0].event.id != ids[0]:
        raise BrokenContract(
            f"{name} was stopped before its first event was durable, and began again with another one: "
            f"{held[0].event.id!r}, then {ids[0]!r}. Move the position, or acknowledge, only after `emit` returned, "
            "and derive ids from what the source calls its events."
        )
    if provider.delivery == "exactly-once":
        await _check_position(provider, config, whole, seconds)
    return [one.event for one in whole]


async def _check_position(
    provider: type[TriggerProvider], config: Mapping[str, Any], whole: Sequence[_Emitted], seconds: float
) -> None:
    """Read again from the position of an event in the middle: the same events follow as before."""
    name = provider.__name__
    middle = (len(whole) - 1) // 2
    position = whole[middle].position
    if position is _NOTHING:
        raise BrokenContract(
            f"{name} says exactly-once and emits {whole[middle].event.id!r} without a position. Give `emit` where "
            "reading goes on after the event, or say at-least-once or best-effort."
        )
    wanted = [one.event.id for one in whole[middle + 1 :]]
    if not wanted:
        return
    again = await _read(provider, config, position, most=len(wanted), seconds=seconds)
    found = [one.event.id for one in again]
    if found != wanted:
        raise BrokenContract(
            f"{name} goes on after the position of {whole[middle].event.id!r} with {found} instead of {wanted}. A "
            "position is where reading goes on once its event and all before it are durable."
        )


async def _read(
    provider: type[TriggerProvider],
    config: Mapping[str, Any],
    position: Any,
    *,
    most: int,
    seconds: float,
    durable: bool = True,
) -> Sequence[_Emitted]:
    """Run a provider until it has emitted so many events, and end it. Where `durable` is false no `emit` returns."""
    emitted: list[_Emitted] = []
    enough = asyncio.Event()
    name, one = provider.__name__, provider()
    calls: list[Coroutine[Any, Any, None]] = []
    inside: set[asyncio.Task[Any] | None] = set()

    def emit(event: SourceEvent, *, position: Any = _NOTHING) -> Coroutine[Any, Any, None]:
        calls.append(call := emitting(event, position))
        return call

    async def emitting(event: SourceEvent, position: Any) -> None:
        _check_event(name, event, position)
        if len(emitted) < most:
            emitted.append(_Emitted(event=event, position=position))
        if len(emitted) == most:
            enough.set()
        if enough.is_set() or not durable:
            inside.add(task := asyncio.current_task())
            try:
                await asyncio.get_running_loop().create_future()  # it is ended here, as when its process stops
            finally:
                inside.discard(task)

    tasks: list[asyncio.Future[Any]] = []
    try:
        async with asyncio.timeout(seconds):
            await one.init(config)
            running = asyncio.ensure_future(one.run(emit, None if position is _NOTHING else position))
            tasks += [running, asyncio.ensure_future(enough.wait())]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not enough.is_set():
                running.result()
                _check_awaited(name, calls)
                raise BrokenContract(
                    f"`run` of {name} returned after {len(emitted)} events. It reads until it is cancelled, or raises "
                    "Disconnected."
                )
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            await one.shutdown()
        if inside:
            raise BrokenContract(
                f"{name} still emits after `run` and `shutdown` have ended. Await each `emit` in `run`, so that it "
                "ends with it."
            )
    except TimeoutError:
        _check_awaited(name, calls)
        raise BrokenContract(
            f"{name} has emitted {len(emitted)} of {most} events within {seconds:g} s, or did not end when it was "
            "cancelled. Let the other side have some, allow more `seconds`, and let CancelledError pass."
        ) from None
    finally:
        for task in (*tasks, *filter(None, inside)):
            task.cancel()
    return emitted


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
