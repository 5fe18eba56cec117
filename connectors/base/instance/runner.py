"""Runs one source: connect, read, publish, wait for the broker, acknowledge, move the position; back off; drain.

Called by connectors.base.fleet.owner, one task for each source. What a kind of source raises decides what happens:
NotConnected is tried again after a pause, Refused waits for somebody, Ended rests. Anything else is a fault of the
kind: its source has failed, nothing is acknowledged, and it is made anew after the longest pause. What the frame itself
does not expect ends the process.
"""

import asyncio
import math
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from typing import Any, Final

from pydantic import ValidationError

from connectors.base.backoff import STEADY_SECONDS, Backoff, Reconnect, asked, spread
from connectors.base.closing import close, end
from connectors.base.contract import UNMOVED, Closes, Ended, Moved, NotConnected, Refused, Sends, Source, Unreadable
from connectors.base.instance.acks import acknowledge
from connectors.base.instance.buffer import Buffer, Read
from connectors.base.instance.events import Maker, NotAnEvent, Outgoing, TooLargeForKafka
from connectors.base.instance.site import Around, Standing
from connectors.base.instance.watched import Watched
from connectors.base.kinds import mistakes, registry
from connectors.base.logs import Rarely, warn
from connectors.base.texts import secrets
from connectors.base.texts.filters import FilterError
from connectors.base.texts.templates import TemplateError
from topics.facts import Record
from topics.sources import Cursor, Spec, State, Unsuitable

END_SECONDS: Final = 30.0
"""How long a kind may take to end a connection, once it is cancelled: then the frame goes on without it."""
DEAD_LETTERS_SECONDS: Final = 60.0
"""How often dead letters for one reason are in the log: each of them is in Kafka."""


class Crashed(Exception):
    """The frame has failed, and there was a secret in its words: these are they without."""


class Faulty(Exception):
    """The code of a kind has raised what no kind is to raise: its `__cause__`."""


class Runner:
    """One source, from `run` until that is cancelled or `stop` has returned."""

    def __init__(
        self, spec: Spec, around: Around, watched: Watched, *, epoch: Callable[[], str], cursor: Cursor | None
    ) -> None:
        self.spec, self.watched = spec, watched
        watched.masked = self.masked
        self._around, self._next_epoch = around, epoch
        self._cursor = cursor if cursor is not None and cursor.kind == spec.kind else None
        self.moved: Callable[[Cursor], None] = lambda _cursor: None
        self.stored: Callable[[], Cursor | None] = lambda: None
        self._source: Source | None = None
        self._buffer = Buffer(around.room)
        self._stopping = asyncio.Event()
        self._secrets: Set[str] = frozenset()
        self._delivered = False
        self._dead_letters = Rarely(DEAD_LETTERS_SECONDS)
        self.asked_at = -1
        """The offset of the record that asked for it last."""
        self.told: object = None
        """The last word about it that the run which asked for it has got."""
        self.said: tuple[float, tuple[int, ...]] = (-math.inf, ())
        """When its status was written last, and what its counts were then."""

    def asked(self, spec: Spec, offset: int) -> None:
        """The record at `offset` asks for it, as it is: whoever wrote it has to hear how it is."""
        if offset != self.asked_at:
            self.spec, self.asked_at = spec, offset
            self.watched.changed = True

    # ---- its life --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read until cancelled. Raises what the frame does not expect of itself, without secrets."""
        try:
            await self._run()
        except Exception as error:
            warn("source_ends_process", source=self.spec.id, kind=self.spec.kind, exception=type(error).__name__)
            trace = "".join(traceback.format_exception(error))
            if (shown := self.masked(trace)) != trace:
                raise Crashed(f"source {self.spec.id!r} of kind {self.spec.kind!r}:\n{shown}") from None
            raise

    async def _run(self) -> None:
        if self.spec.paused:
            with suppress(secrets.UnknownSecret):  # they are masked where its position is shown
                self._resolved()
            self.watched.enter(State.PAUSED)
            await self._rest(None)
        policy = Reconnect()
        while True:
            try:
                policy = Reconnect.model_validate(self.spec.reconnect)
                site = Standing(self.spec, self._around, self.watched, self)
                source, maker = self._made(site)
            except Refused as error:
                await self._fail(error, policy)
            except ValidationError as error:
                await self._fail(Refused(mistakes.in_fields(error, "/reconnect", Reconnect)), policy)
            else:
                try:
                    await self._keep(source, maker, Backoff(policy), policy)
                finally:
                    await site.close()

    async def stop(self) -> None:
        """Read no more, and return once what was read is published and acknowledged, however long Kafka is away."""
        self._stopping.set()
        self._buffer.close()
        await self._buffer.empty()

    async def send(self, message: Mapping[str, Any], *, key: str) -> Mapping[str, Any] | None:
        """Send a message through the source. Raises NotConnected to be tried again, Refused to give up."""
        source = self._source
        if source is None:
            raise NotConnected(f"source {self.spec.id!r} is {self.watched.state.value}")
        if not isinstance(source, Sends):
            raise Refused(f"nothing can be sent through a source of kind {self.spec.kind!r}", reason="cannot_send")
        return await source.send(message, key=key)

    def masked(self, text: str) -> str:
        """Return a text without the secrets of this source."""
        return secrets.masked(text, self._secrets)

    # ---- connections -----------------------------------------------------------------------------------------------

    def _made(self, site: Standing) -> tuple[Source, Maker]:
        """Make the source of its options. Raises Refused for those that cannot be followed."""
        spec = self.spec
        try:
            kind = registry.load(spec.kind)
            if kind.make is None:
                raise Refused(f"sources of kind {spec.kind!r} are received by the gateway; nothing runs here")
            options = self._resolved()
            maker = Maker(spec, max_bytes=self._around.event_bytes)
            return kind.make(kind.config.model_validate(options), site), maker
        except ValidationError as error:
            raise Refused(mistakes.in_options(error, registry.load(spec.kind)), reason="options") from None
        except (registry.UnknownKind, secrets.UnknownSecret, TemplateError, FilterError) as error:
            raise Refused(str(error), reason="options") from None
        except Refused:
            raise
        except Exception as error:  # noqa: BLE001 others write options: what a kind cannot stand fails this source alone
            trace = self.masked("".join(traceback.format_exception(error)))
            warn("source_not_made", source=spec.id, kind=spec.kind, exception=trace)
            message = f"the kind {spec.kind!r} fails on these options with {type(error).__name__}; the log says where"
            raise Refused(message, reason="options") from None

    def _resolved(self) -> Any:
        """Return the options with their secrets; from now on these are masked. Raises UnknownSecret."""
        options, found = secrets.resolve(
            self.spec.options, environment=self._around.environment, folder=self._around.secrets_folder
        )
        self._secrets = secrets.shapes(found)
        if self._cursor is not None:
            self.watched.stands_at(self.position)
        return options

    async def _keep(self, source: Source, maker: Maker, backoff: Backoff, policy: Reconnect) -> None:
        """Connect again and again. Returns when the source is to be made anew."""
        watched = self.watched
        self._source = source
        logged = ""
        try:
            while True:
                if self._stopping.is_set():
                    await self._rest(None)
                watched.starting(self._next_epoch())
                self._delivered = False
                try:
                    await self._read(source, maker)
                    raise NotConnected(f"source {self.spec.id!r} ended", reason="ended")
                except NotConnected as error:
                    if self._stopping.is_set():
                        await self._rest(None)
                    if self._delivered or watched.lived_seconds() >= STEADY_SECONDS:
                        backoff.good()
                    if backoff.exhausted:
                        given_up = Refused(f"{error} ({backoff.attempts} attempts)", reason="exhausted")
                        await self._fail(given_up, policy, asked(error.retry_after_seconds or 0.0))
                        return
                    pause = backoff.next(
                        random.random(), retry_after_seconds=error.retry_after_seconds, at_once=error.at_once
                    )
                    words = self.masked(str(error))
                    watched.backing_off(error.reason, words, backoff.attempts, pause)
                    if not error.at_once and (backoff.attempts == 1 or words != logged):
                        self._log_pause(error.reason, words, pause)
                        logged = words
                    await self._rest(pause)
                except Ended as error:
                    watched.ended(self.masked(str(error)))
                    await self._rest(None)
        except Refused as error:
            await self._fail(error, policy)
        except Faulty as error:
            await self._told_faulty(error, policy)
        finally:
            self._source = None
            if isinstance(source, Closes):
                await close(source.close())

    def _log_pause(self, reason: str, words: str, pause: float) -> None:
        warn(
            "source_backs_off",
            source=self.spec.id,
            kind=self.spec.kind,
            reason=reason,
            error=words,
            next_try_in_seconds=round(pause, 1),
        )

    async def _fail(self, error: Refused, policy: Reconnect, asked_seconds: float = 0.0) -> None:
        words = self.masked(str(error))
        warn("source_failed", source=self.spec.id, kind=self.spec.kind, reason=error.reason, error=words)
        pause = policy.failed_seconds
        pause = None if pause is None else max(asked_seconds, spread(pause, random.random()))
        self.watched.failed(error.reason, words, pause)
        await self._rest(pause)

    async def _told_faulty(self, error: Faulty, policy: Reconnect) -> None:
        """Say what a kind has raised, and wait. Other sources have nothing to do with it."""
        cause = error.__cause__ or error
        trace = self.masked("".join(traceback.format_exception(cause)))
        warn("source_crashed", source=self.spec.id, kind=self.spec.kind, exception=trace)
        words = self._words_of(error)
        self._around.metrics.crashed.labels(self.watched.provider).inc()
        pause = spread(policy.max_seconds, random.random())
        self.watched.failed("crashed", words, pause)
        await self._rest(pause)

    def _words_of(self, error: Faulty) -> str:
        return f"the kind {self.spec.kind!r} fails with {error}, a mistake in its code; the log says where"

    async def _rest(self, seconds: float | None) -> None:
        """Wait; for ever where there is no time."""
        if seconds is None:
            await asyncio.get_running_loop().create_future()
        else:
            await asyncio.sleep(seconds)

    # ---- one connection --------------------------------------------------------------------------------------------

    async def _read(self, source: Source, maker: Maker) -> None:
        """Read and publish side by side until one of them ends; what was read is published whatever ended it."""
        self._buffer = buffer = Buffer(self._around.room)
        reading = asyncio.create_task(self._fill(source, buffer))
        publishing = asyncio.create_task(self._drain(maker, buffer))
        left: Set[asyncio.Task[None]] = frozenset()
        try:
            await asyncio.wait({reading, publishing}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done() and not publishing.done():
                buffer.close()
                self._tell_end(reading)
                await publishing
        finally:
            try:
                left = await end([reading, publishing], within_seconds=END_SECONDS)
            finally:  # also when it is cancelled once more meanwhile: others would miss the room for ever
                for task in (reading, publishing):
                    _ = not task.done() or task.cancelled() or task.exception()  # or nobody asks
                self.watched.left(buffer.discard())  # nobody waits any more for it to be published
                self.watched.disconnected()
        if left:
            words = f"the kind {self.spec.kind!r} goes on although its connection is to end"
            raise Refused(f"{words}; it is made anew later", reason="does_not_end")
        for task in (publishing, reading):  # an acknowledgement that failed comes first
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _tell_end(self, reading: "asyncio.Task[None]") -> None:
        """The link is gone, and what it has brought may wait for the broker for hours: nobody is to think it stands."""
        error = None if reading.cancelled() else reading.exception()
        self.watched.disconnected()
        match error:
            case Refused():
                self.watched.broken(State.FAILED, error.reason, self.masked(str(error)))
            case Ended():
                self.watched.ended(self.masked(str(error)))
            case NotConnected():
                self.watched.broken(State.BACKING_OFF, error.reason, self.masked(str(error)))
            case Faulty():
                self.watched.broken(State.FAILED, "crashed", self._words_of(error))
            case None:
                self.watched.broken(State.BACKING_OFF, "ended", f"source {self.spec.id!r} ended")

    async def _fill(self, source: Source, buffer: Buffer) -> None:
        with _code_of_the_kind():
            items = source.read()
            try:
                async for item in items:
                    self._delivered = self._delivered or not isinstance(item, Moved)
                    await buffer.put(Read(item=item, at=time.monotonic(), at_ms=int(time.time() * 1000)))
            finally:
                close = getattr(items, "aclose", None)
                if close is not None:
                    await close()

    async def _drain(self, maker: Maker, buffer: Buffer) -> None:
        """Publish everything that waits, acknowledge it, move the position; until the buffer is closed and empty."""
        while batch := await buffer.take():
            with _code_of_the_kind():  # what it has read may be anything
                made, letters = self._sorted(batch, maker)
            events = [event for event, _ in made]
            if events or letters:
                await self._around.lease()
                try:
                    await self._around.publish(events, letters)
                except TooLargeForKafka as error:
                    more = [
                        self._letter(maker, read, error.reason_of(event))
                        for event, read in made
                        if any(event is one for one in error.events)
                    ]
                    await self._around.publish((), more)
                    events, letters = events[len(more) :], letters + more
            self.watched.published(batch, len(events), len(letters))
            with _code_of_the_kind():
                await acknowledge(batch, instance_id=self.spec.id, late=self._is_late)
            self._advance(batch)
            buffer.done()

    def _sorted(self, batch: Sequence[Read], maker: Maker) -> tuple[list[tuple[Outgoing, Read]], list[Record]]:
        events: list[tuple[Outgoing, Read]] = []
        letters: list[Record] = []
        results: Counter[str] = Counter()
        for read in batch:
            item = read.item
            if isinstance(item, Moved):
                continue
            try:
                if isinstance(item, Unreadable):
                    raise maker.unreadable(item)
                made = maker.event(item, at_ms=read.at_ms)
            except NotAnEvent as why:
                if not isinstance(item, Unreadable):
                    results["failed" if why.code == "filter_failed" else "passed"] += 1
                letters.append(self._letter(maker, read, why))
            else:
                results["turned_away" if made is None else "passed"] += 1
                if made is not None:
                    events.append((made, read))
        self.watched.sorted(results if self.spec.filter is not None else Counter())
        return events, letters

    def _letter(self, maker: Maker, read: Read, why: NotAnEvent) -> Record:
        """Return the dead letter of something that was read, and say so."""
        shown = NotAnEvent(code=why.code, reason=self.masked(why.reason), remedy=why.remedy)
        if count := self._dead_letters.count(why.code, time.monotonic()):
            warn("source_dead_letter", source=self.spec.id, code=why.code, reason=shown.reason, count=count)
        assert not isinstance(read.item, Moved)
        return maker.dead_letter(read.item, shown, at_ms=read.at_ms)

    def _is_late(self) -> None:
        self._around.metrics.late.labels(self.watched.provider).inc()
        self.watched.note("late")

    def _advance(self, batch: Sequence[Read]) -> None:
        """Note how far it is read, once that is durable and acknowledged."""
        for read in reversed(batch):
            if read.item.position is not UNMOVED:
                self._move(read.item.position)
                break

    def _move(self, position: Any) -> None:
        cursor = Cursor(position=position, epoch=self.watched.epoch, kind=self.spec.kind)
        try:
            self.moved(cursor)
        except Unsuitable as error:
            raise Refused(str(error), reason="position_too_large") from None
        self._cursor = cursor
        self.watched.at_position(position)

    @property
    def buffered(self) -> int:
        """Events that were read and wait for the broker."""
        return len(self._buffer)

    @property
    def position(self) -> Any:
        """Where reading goes on, None at the very beginning."""
        return None if self._cursor is None else self._cursor.position

    @property
    def stored_position(self) -> Any:
        """Where its next owner would go on now, None at the very beginning."""
        cursor = self.stored()
        return None if cursor is None or cursor.kind != self.spec.kind else cursor.position


@contextmanager
def _code_of_the_kind() -> Iterator[None]:
    """What is raised in here, and is none of the ends of reading, is a fault of the kind."""
    try:
        yield
    except (NotConnected, Refused, Ended):
        raise
    except Exception as error:
        raise Faulty(type(error).__name__) from error
