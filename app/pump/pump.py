"""One partition's loop: drain, apply, append, deliver. Read this file first.

    inputs  = everything waiting, within bounds
    effects = engine.apply(state, inputs, now)      runs start, and those that can finish at once do
    append  = one fenced record batch to the journal: the commit point
    then    : deliver what the round sends out, beside the next round

Nothing is sent and no offset moves before the append is durable. Any error ends the pump, and with it the process:
the journal holds the truth, and the next owner goes on from it (design 3.2).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from app.engine import apply as engine
from app.engine.effects import After, Commit, Effects, Placed, Resolve, Rise
from app.engine.inputs import Crowded, Delivered, Happened, Input, TimePassed, WorkflowsLoaded
from app.engine.journal.commit import commit
from app.engine.runs import atrest, rising
from app.engine.steps import ends
from app.engine.tables import timers
from app.engine.tables.counters import Counters
from app.engine.tables.state import State
from app.engine.values.outgoing import Outgoing
from app.engine.waits import waits
from app.kafka.log import AppendFailed, Entry, PartitionLog
from app.pump import decode
from app.pump.around import Bounds, Clock, Runtime
from app.pump.decode import Read
from app.pump.delivery import Delivery
from app.pump.entries import batches, place
from app.pump.inbox import Inbox
from app.pump.lookback import LookBack
from app.pump.recall import Recall
from app.pump.room import Room
from app.pump.rousing import Rousing
from app.pump.upkeep import Upkeep

MARK_SECONDS = 1.0
"""How long the mark of a delivery, or of commands without a trace, waits for a round to ride along with. Without it, an
idle partition would deliver its last round again at every takeover, when those it published to have forgotten it."""
MOST_HAPPENED = 5_000
"""Ends of attempts and the like, and asks of other partitions, that one round takes (but for the end of a chunk), so
that its record batch stays below the limit."""
QUIET_ROUNDS = 5
"""Rounds without new events that an upkeep waits for what is going on."""


class Pump:
    """Owns a partition's state from takeover to release."""

    def __init__(
        self,
        state: State,
        log: PartitionLog,
        runtime: Runtime,
        clock: Clock,
        *,
        next_journal_offset: int,
        bounds: Bounds,
        deliver_again: Sequence[Outgoing] = (),
        recall: Recall | None = None,
        upkeep: Upkeep | None = None,
        turns: asyncio.Semaphore | None = None,
        observe: Callable[[Counters, State], None] = lambda _counters, _state: None,
    ) -> None:
        self.state = state
        self.partition = state.partition
        self._log = log
        self._runtime = runtime
        self._clock = clock
        self._next_journal_offset = next_journal_offset
        self._bounds = bounds
        self._observe = observe
        self._upkeep = upkeep
        self._turns = turns or asyncio.Semaphore(1)
        self._events = Inbox(state.events_offset, most_bytes=bounds.inbox_bytes)
        self._commands = Inbox(state.commands_offset, most_bytes=bounds.inbox_bytes)
        self._happened: list[Input] = []
        self._after: list[After] = []
        """What the runtime is to do once the round is durable."""
        self._wake = asyncio.Event()
        self._stopping = False
        self._room = Room(state, bounds)
        self._rousing = Rousing(state, recall or Recall(log), self._room, runtime, bounds)
        self._left: set[str] = set()
        """Runs that were to start while draining: their next owner starts them."""
        self._held = asyncio.Event()
        self._held.set()
        self._between = asyncio.Event()
        self._between.set()
        self._marked = state.delivered
        self._mark_due = False
        self._woke = False
        """Whether the last round read something back."""
        self._mark_timer: asyncio.TimerHandle | None = None
        self.delivery = Delivery(
            log,
            results_end=state.results_end,
            runs_end=state.runs_end,
            report=self._note,
            linger_seconds=bounds.facts_linger_seconds,
            parked=state.parked,
        )
        self._lookback = LookBack(state, log, self._note, event_bytes=bounds.event_bytes, now_ms=clock.now_ms)
        for outgoing in deliver_again:
            self.delivery.offer(outgoing)

    # --- what others call -------------------------------------------------------------------------------------------

    async def offer_events(self, records: Sequence[Read], begin: int | None = None) -> None:
        """Take a chunk of `events`: all that there is from offset `begin` on, None for that of the first record."""
        await self._offer("events", self._events, records, begin)

    async def offer_commands(self, records: Sequence[Read], begin: int | None = None) -> None:
        """Take a chunk of `commands`, as `offer_events` does."""
        await self._offer("commands", self._commands, records, begin)

    def workflows_changed(self, given: WorkflowsLoaded) -> None:
        self._note(given)

    def position(self, topic: str) -> int:
        """Return the offset that must be fetched next when what waits in the inbox is dropped."""
        return self.state.events_offset if topic == "events" else self.state.commands_offset

    def has_room(self, topic: str) -> bool:
        """Whether more of `topic` is wanted now."""
        return not (self._events if topic == "events" else self._commands).full

    async def pause(self) -> None:
        """Stop between two rounds: after the append in flight, and forget what waits to be read again later."""
        self._held.clear()
        self._wake.set()
        await self._between.wait()
        self._events.clear(self.state.events_offset)
        self._commands.clear(self.state.commands_offset)

    def resume(self) -> None:
        self._held.set()
        self._wake.set()

    def drain(self) -> None:
        """Take and start nothing more: what goes on may end, what is due is journaled and left to the next owner."""
        self._room.draining = True
        self._wake.set()

    def stop(self) -> None:
        """End `run` after the append in flight."""
        self._stopping = True
        self._held.set()
        self._wake.set()

    @property
    def in_flight(self) -> int:
        """Attempts that go on here."""
        return rising.running_but(self.state, self._left)

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Go round until `stop`. Raises whatever went wrong; then nothing more is appended or sent."""
        delivering = asyncio.create_task(self.delivery.run(), name=f"delivery-{self.partition}")
        looping = asyncio.create_task(self._loop(), name=f"pump-{self.partition}")
        looking = asyncio.create_task(self._lookback.run(), name=f"lookback-{self.partition}")
        try:
            await asyncio.wait({delivering, looping, looking}, return_when=asyncio.FIRST_COMPLETED)
            for task in (looping, delivering, looking):
                if task.done():
                    task.result()
            settling = asyncio.create_task(self.delivery.settled())
            await asyncio.wait({delivering, settling}, return_when=asyncio.FIRST_COMPLETED)
            settling.cancel()
            if delivering.done():
                delivering.result()
            await self._leave_snapshot()
        finally:
            if self._mark_timer is not None:
                self._mark_timer.cancel()
            self._between.set()
            for task in (looping, delivering, looking):
                task.cancel()
            if self._upkeep is not None:
                self._upkeep.cancel()
            await asyncio.gather(looping, delivering, looking, return_exceptions=True)
            self._runtime.cancel([one for one in self.state.runs.awake.values() if one.status in rising.HOT])

    async def _loop(self) -> None:
        self._lookback.offer()  # what the journal says was not done
        while True:
            await self._wait()
            if self._stopping:
                return
            if not self._held.is_set():
                await self._held.wait()
                continue
            async with self._turns:
                if self._held.is_set() and not self._stopping:
                    await self._turn()

    async def _turn(self) -> None:
        self._between.clear()
        try:
            if self._upkeep is not None and self._clock.now_ms() >= self._upkeep.due_ms():
                await self._keep_up(self._upkeep)
            await self.round()
        finally:
            self._between.set()

    async def _wait(self) -> None:
        self._wake.clear()
        if self._happened or self._mark_due or ((self._events or self._commands) and not self._room.full()):
            return
        if self._room.may_rise() or self._room.may_wake() or waits.backlog(self.state) or self._room.stalled():
            return
        if self.state.husks or self._stopping or not self._held.is_set():
            return
        times = (
            timers.next_due_ms(self.state),
            timers.next_told_ms(self.state),
            self._rousing.next_ahead_ms(),
            self._rousing.next_reminder_ms(self._clock.now_ms()),
            None if self._upkeep is None else self._upkeep.due_ms(),
        )
        await self._clock.wait(self._wake, min([one for one in times if one is not None], default=None))

    async def _keep_up(self, upkeep: Upkeep) -> None:
        """Let everything come to rest, then do what is due. A snapshot that finds no rest is left out."""
        for _ in range(QUIET_ROUNDS):
            await self.delivery.settled()
            if not self._happened:
                break
            await self.round(take=False)
        await self.delivery.settled()
        now_ms = self._clock.now_ms()
        self._next_journal_offset = await upkeep.keep(self.state, next_offset=self._next_journal_offset, now_ms=now_ms)

    async def _leave_snapshot(self) -> None:
        """A stop in order leaves a snapshot, so that the next start reads next to nothing."""
        if self._upkeep is None:
            return
        await self._upkeep.written()
        if self.in_flight:
            return
        marks = [one for one in self._happened if isinstance(one, Delivered)]
        for one in marks:
            engine.mark_delivered(self.state, one)
        await self._upkeep.snapshot(self.state, next_offset=self._next_journal_offset, now_ms=self._clock.now_ms())
        await self._upkeep.written()

    async def round(self, *, take: bool = True) -> None:
        """One round: what waits goes through the engine, into the journal, and out. Without `take`: what happened."""
        # What is new has every other round, however much wakes.
        turn_of_new = self._woke and bool(self._events or self._commands)
        woken: Input | None = None
        if take and not turn_of_new:
            woken = await self._rousing.next(end=self._next_journal_offset, now_ms=self._clock.now_ms())
        self._woke = woken is not None
        given = self._drain(take=take and woken is None)
        effects = engine.apply(self.state, given if woken is None else [woken, *given], self._clock.now_ms())
        await self._carry_out(effects)
        if take and (rung := await self._rousing.rung(end=self._next_journal_offset)) is not None:
            await self._carry_out(engine.apply(self.state, [rung], self._clock.now_ms(), timers_too=False))
        mark, self._mark_due = self._mark_due, False
        self.state.changed |= mark and (self.state.unsaved or self.state.delivered > self._marked)
        made = commit(self.state)
        if made is not None:
            self._marked = self.state.delivered
            await self._append(made)
            if made.outgoing:
                self.delivery.offer(made.outgoing)
        elif self.state.unsaved:
            self._mark_later()
        rising.cool(self.state)
        self._go_on()
        atrest.pack(self.state)
        self._lookback.offer()
        self._observe(self.state.counters, self.state)
        if self.delivery.full:
            await self.delivery.room()

    def _drain(self, *, take: bool) -> list[Input]:
        """Take everything that waits, within the bounds of a round."""
        given, self._happened = self._happened[:MOST_HAPPENED], self._happened[MOST_HAPPENED:]
        if take and self._room.stalled():
            given.append(Crowded())
        if take and (ahead := self._rousing.ahead(self._clock.now_ms())) is not None:
            given.append(ahead)
        if not take or self._room.full():
            return given or [TimePassed()]
        now_ms = self._clock.now_ms()
        prefix = self.state.limits.prefix
        taken = size = 0
        asks = len(given)  # what happened, and what is asked, changes what the round's batch must hold as a whole
        most, most_bytes = self._bounds.round_events, self._bounds.round_bytes
        while self._commands and taken < most and size < most_bytes and asks < MOST_HAPPENED:
            chunk, length = self._commands.take()
            taken += len(chunk)
            size += length
            read = decode.commands_read(chunk, self.partition, chunk[-1].offset + 1, now_ms=now_ms, prefix=prefix)
            asks += sum([len(one.asks) for one in read.commands])
            given.append(read)
        while self._events and taken < most and size < most_bytes:
            chunk, length = self._events.take()
            taken += len(chunk)
            size += length
            end = chunk[-1].offset + 1
            given.append(
                decode.events(
                    chunk, self.partition, end, max_bytes=self._bounds.event_bytes, now_ms=now_ms, prefix=prefix
                )
            )
        return given

    async def _carry_out(self, effects: Effects) -> None:
        """Start and cancel runs; what ends at once goes back to the engine within the same round."""
        while True:
            at_once = self._part(effects.after) if effects.after else ()
            if effects.cancels:
                self._runtime.cancel(effects.cancels)
                self._left.difference_update([run.id for run in effects.cancels])
            if self._room.draining:
                self._left.update([run.id for run in effects.starts])
                return
            if not effects.starts and not at_once:
                return
            if at_once:
                self._runtime.go_on(at_once, self._report)
            if effects.starts:
                await self._runtime.start(effects.starts, self._report)
            else:
                await asyncio.sleep(0)  # functions that end at once do so now
            happened, self._happened = self._happened, []
            if not happened:
                return
            effects = engine.apply(self.state, happened, self._clock.now_ms(), timers_too=False)

    def _part(self, after: Sequence[After]) -> list[After]:
        """Return what need not wait for this round's append; keep the rest."""
        at_once: list[After] = []
        for one in rising.hot(self.state, after):
            now = ends.need_not_wait(one) and not self._room.draining
            (at_once if now else self._after).append(one)
        return at_once

    def _go_on(self) -> None:
        """The round is durable: tell the runtime. While draining, runs that only waited do not go on here."""
        after, self._after = self._after, []
        told: list[After] = []
        for one in rising.hot(self.state, after):
            if self._room.draining and ((isinstance(one, Resolve) and one.woken) or isinstance(one, Rise)):
                self._left.add(one.run.id)
            else:
                told.append(one)
        if told:
            self._runtime.go_on(told, self._report)

    async def _append(self, made: Commit) -> None:
        for few in batches(made.ahead):
            await self._append_one(few, made.placed)
        await self._append_one([Entry(key, value) for key, value in made.batch], made.placed)

    async def _append_one(self, entries: Sequence[Entry], placed: Mapping[bytes, Placed]) -> None:
        offset = await self._log.append(entries)
        if offset != self._next_journal_offset:
            raise AppendFailed(
                f"journal partition {self.partition}: the append returned offset {offset} where "
                f"{self._next_journal_offset} follows; another producer wrote, or the append's fate is unknown"
            )
        self._next_journal_offset = offset + len(entries)
        if placed:
            place(entries, offset, placed)

    async def _offer(self, topic: str, inbox: Inbox, records: Sequence[Read], begin: int | None) -> None:
        if await inbox.offer_all(records, begin, partial(self._log.read, topic)):
            self._wake.set()

    def _note(self, given: Input) -> None:
        self._happened.append(given)
        if not isinstance(given, Delivered) or self.state.flushes:
            self._wake.set()
        else:
            self._mark_later()

    def _mark_later(self) -> None:
        """Let a mark ride along with the next round; if none comes, it gets its own."""
        if self._mark_timer is None:
            self._mark_timer = asyncio.get_running_loop().call_later(MARK_SECONDS, self._mark)

    def _mark(self) -> None:
        self._mark_timer = None
        self._mark_due = True
        self._wake.set()

    def _report(self, given: Happened) -> None:
        self._happened.append(given)
        self._wake.set()
