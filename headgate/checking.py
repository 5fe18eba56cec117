"""The contract of providers, run against one of a third party's: `await check_provider(WeatherProvider, {...})`.

It reads four times: while the broker is away; from the beginning, while the broker goes away and comes back; from the
middle; and as after an edit of its options. So the other side has to be there, a real one or one made for the test, and
to have some events that it can tell again. Where a test can take its credentials, it reads twice more: without them,
and when they are given back.
"""

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from headgate.providers import Disconnected, Failed, SourceEvent, TriggerProvider
from headgate.secrecy import Secrecy

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
    secret: str | None = None,
    revoke: Callable[[], Awaitable[None]] | None = None,
    restore: Callable[[], Awaitable[None]] | None = None,
) -> Sequence[SourceEvent]:
    """Check a provider with a config (its example unless given), and return the `events` events that it read.

    `edited` is another config of the same source, as after an edit while it runs; `seconds` is how long one reading
    may take, `away_seconds` how long the broker is away amidst one. `secret` is a text in the config that must not be
    in an event, a position, an error or a log. `revoke` takes the credentials of the config on the other side, so that
    a new connection is refused, and `restore` gives them back. Raises BrokenContract, and whatever the provider raises.
    """
    _check_form(provider)
    if (revoke is None) is not (restore is None):
        raise ValueError("revoke and restore go together")
    config = provider.example if config is None else config
    if secret is not None and not (secret and secret in json.dumps(config, ensure_ascii=False)):
        raise ValueError("the secret is not in the config: give one that holds it")
    secrecy = Secrecy(secret)
    reads = _Reads(provider, seconds=seconds, secrecy=secrecy)
    try:
        with secrecy.listening():
            whole = await _check_reading(reads, config, edited, events=events, away_seconds=away_seconds)
            if revoke is not None and restore is not None:
                await _check_credentials(reads, config, whole, revoke, restore)
    finally:
        _check_secrecy(reads.name, secrecy)
    reads.check_silence()
    return [one.event for one in whole]


def _check_secrecy(name: str, secrecy: Secrecy) -> None:
    if secrecy.places:
        raise BrokenContract(
            f"{name} has the secret of its options in {secrecy.places[0]}. Kafka, the status and the log would keep "
            "it: leave it out, also of the words of errors."
        )


async def _check_reading(
    reads: "_Reads", config: Mapping[str, Any], edited: Mapping[str, Any] | None, *, events: int, away_seconds: float
) -> "Sequence[_Emitted]":
    provider, name = reads.provider, reads.name
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
    return whole


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
    wanted, found = await _go_on(reads, config, whole)
    if wanted not in found:
        raise BrokenContract(
            f"{reads.name} was stopped while {wanted!r} was not durable, as by an edit of its options, and went on "
            f"with {found}. {_ONLY_AFTER}"
        )


async def _check_credentials(
    reads: "_Reads",
    config: Mapping[str, Any],
    whole: Sequence[_Emitted],
    revoke: Callable[[], Awaitable[None]],
    restore: Callable[[], Awaitable[None]],
) -> None:
    """Read without credentials, which is said by Failed or Disconnected, and with them again: nothing is missing."""
    name = reads.name
    await revoke()
    try:
        found = await reads.read(config, _durable(whole), most=1)
    except (Disconnected, Failed) as error:
        reads.secrecy.look(f"the {type(error).__name__} that says that it is not let in", error)
    except BrokenContract as error:
        raise BrokenContract(
            f"{name} does not say that its credentials were taken: {error} Raise Failed, or Disconnected where that "
            "may pass by itself."
        ) from error
    else:
        raise BrokenContract(
            f"{name} has read {found[0].event.id!r} although its credentials were taken. Let `revoke` take them so "
            "that a new connection is refused, and connect anew in each `run`."
        )
    finally:
        await restore()
    wanted, again = await _go_on(reads, config, whole)
    if reads.provider.delivery != "best-effort" and wanted not in again:
        raise BrokenContract(
            f"{name} went on with {again} when its credentials were given back, and {wanted!r}, which was not durable, "
            f"is missing. {_ONLY_AFTER}"
        )


async def _go_on(reads: "_Reads", config: Mapping[str, Any], whole: Sequence[_Emitted]) -> tuple[str, Sequence[str]]:
    """Read where only the last event is not durable; return its id, and those that came up to it."""
    wanted = whole[-1].event.id
    again = await reads.read(config, _durable(whole), most=len(whole), until=lambda event: event.id == wanted)
    return wanted, [one.event.id for one in again]


def _durable(whole: Sequence[_Emitted]) -> Any:
    """Return the position of all events but the last one."""
    return next((one.position for one in reversed(whole[:-1]) if one.position is not _NOTHING), _NOTHING)


class _Reads:
    """Reads a provider again and again, each time with an object of its own."""

    def __init__(self, provider: type[TriggerProvider], *, seconds: float, secrecy: Secrecy) -> None:
        self.provider, self.secrecy, self._seconds = provider, secrecy, seconds
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
        name, one, broker = self.name, self.provider(), _Broker(away_seconds)
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
            self.secrecy.look(f"the event {event.id!r} or its position", (event, position))
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
