"""An engine in miniature: takes what a driver reports of one run, and answers as the contract of steps says. And what
tests ask of it, or of a driver alone."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson

from app.engine.effects import After, Go, Judge, Resolve, Rise
from app.engine.inputs import Ended, Evicted, Failure, Happened, Judged, StepAsked, StepEnded
from app.engine.tables.run import Run
from app.engine.values.asks import KINDS, Execute, Fault, Invoke, Kind, Note, Outcome, Recorded
from app.runtime.driver import Driver
from app.runtime.limits import StepLimits
from headgate import workflow
from tests.unit.app.engine.partition import NOW, event
from topics import commands
from topics.envelope import Envelope


def run_of(fn: Callable[..., Any], number: int = 0, data: Any = None, **options: Any) -> Run:
    made = workflow(fn.__name__, "orders/created", **options)(fn)
    return Run(f"{fn.__name__}:{number:024}", made, (event(number, data=data),), None, None, NOW)


def value(given: Any) -> Outcome:
    return Outcome(orjson.dumps(given))


def met(envelope: Envelope, n: int = 0) -> Outcome:
    return value({"n": n, "event": commands.raw_event(envelope)})


def driver(*, threads: int = 4, now_ms: int = NOW, **limits: Any) -> Driver:
    return Driver(limits=StepLimits(**({"partitions": 4} | limits)), threads=threads, now_ms=lambda: now_ms)


class Engine:
    """One run, its journal, and the driver that has it in hand. `crash` takes it to another one."""

    def __init__(self, run: Run, driving: Driver | None = None) -> None:
        self.run = run
        self.driver = driver() if driving is None else driving
        self.asked: list[StepAsked] = []
        self.reported: list[Any] = []
        self.ended: Ended | None = None
        self.evicted = 0
        self.recorded: dict[str, Recorded] = {}
        """The journal: by key."""
        self.attempts: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._happened: list[Any] = []

    async def start(self) -> None:
        await self.driver.start([self.run], self.report)

    async def rise(self) -> None:
        await self.go_on(Rise(self.run, tuple(self.recorded.values())))

    async def crash(self, driving: Driver | None = None) -> None:
        """Lose everything but the journal, and go on elsewhere."""
        self.driver.close()
        self.driver = driver() if driving is None else driving
        self._happened.clear()
        self.asked.clear()
        await self.rise()

    def report(self, given: Any) -> None:
        self._happened.append(given)
        self._changed.set()

    async def go_on(self, *after: After) -> None:
        self.driver.go_on(after, self.report)
        await asyncio.sleep(0)

    async def until(self, condition: Callable[[], Any]) -> None:
        """Go round until `condition` holds."""
        async with asyncio.timeout(10):
            while True:
                await self._round()
                if condition():
                    return
                await self._changed.wait()

    async def until_asked(self, *names: str) -> None:
        await self.until(lambda: set(names) <= {one.key for one in self.asked})

    async def until_ended(self) -> Ended:
        await self.until(lambda: self.ended)
        assert self.ended is not None
        return self.ended

    async def resolve(self, key: str, outcome: Outcome) -> None:
        """A step that waits has ended."""
        found = self.recorded[key]
        self.recorded[key] = Recorded(key=key, kind=found.kind, about=found.about, par=found.par, outcome=outcome)
        await self.go_on(Resolve(self.run, key, outcome))

    async def judge(self, key: str, condition: int, envelope: Envelope) -> Any:
        """Return what the driver says of an event."""
        before = len(self.reported)
        await self.go_on(Judge(self.run, key, condition, envelope))
        await self.until(lambda: len(self.reported) > before)
        return self.reported[before]

    async def _round(self) -> None:
        self._changed.clear()
        while self._happened:
            happened, self._happened = self._happened, []
            after: list[After] = []
            for one in happened:
                self._take(one, after)
            await self.go_on(*after)

    def _take(self, one: Any, after: list[After]) -> None:
        self.reported.append(one)
        if isinstance(one, StepAsked):
            self.asked.append(one)
            self._asked(one, after)
        elif isinstance(one, StepEnded):
            self._step_ended(one, after)
        elif isinstance(one, Ended):
            assert self.ended is None
            self.ended = one
        elif isinstance(one, Evicted):
            assert list(one.run_ids) == [self.run.id]
            self.evicted += 1
        else:
            assert isinstance(one, Judged)

    def _asked(self, one: StepAsked, after: list[After]) -> None:
        open_now = any(found.outcome is None for found in self.recorded.values())
        if one.key not in self.recorded:
            self.recorded[one.key] = Recorded(
                key=one.key, kind=KINDS[type(one.ask)], about=one.about, par=open_now or one.aside
            )
        if isinstance(one.ask, Note):
            self._done(one.key, Outcome(one.ask.value), after, quiet=one.ask.quiet)
        elif isinstance(one.ask, Invoke) and not one.ask.wait:
            run_ids = [f"{child.workflow_id}:{n:024}" for n, child in enumerate(one.ask.children)]
            self._done(one.key, value(run_ids), after)
        elif isinstance(one.ask, Execute):
            self.attempts[one.key] = self.attempts.get(one.key, 0) + 1
            after.append(Go(self.run, one.key, self.attempts[one.key]))

    def _step_ended(self, one: StepEnded, after: list[After]) -> None:
        failure = one.failure
        if failure is None:
            self._done(one.key, Outcome(one.value), after)
            return
        ask, *others = [asked.ask for asked in self.asked if asked.key == one.key]
        assert all(other == ask for other in others)
        attempts = self.attempts.get(one.key, 0)
        if isinstance(ask, Execute) and not failure.final and not failure.rejected and attempts <= ask.max_retries:
            self.attempts[one.key] += 1
            after.append(Go(self.run, one.key, self.attempts[one.key]))
        else:
            self._done(one.key, Outcome(None, Fault(failure.type, failure.message)), after)

    def _done(self, key: str, outcome: Outcome, after: list[After], *, quiet: bool = False) -> None:
        found = self.recorded[key]
        self.recorded[key] = Recorded(key=key, kind=found.kind, about=found.about, par=found.par, outcome=outcome)
        if not quiet:
            after.append(Resolve(self.run, key, outcome))


Engines = Callable[..., Engine]


async def result_of(engine: Engine) -> Any:
    await engine.start()
    ended = await engine.until_ended()
    assert ended.failure is None, ended.failure
    return orjson.loads(ended.result or b"")


async def failure_of(engine: Engine) -> Any:
    await engine.start()
    ended = await engine.until_ended()
    assert ended.failure is not None
    return ended.failure


def done(key: str, kind: Kind = Kind.RUN, about: str = "run", *, par: bool = False) -> Recorded:
    return Recorded(key=key, kind=kind, about=about, par=par, outcome=value(1))


Report = list[Happened]


async def drive(driver: Driver, *runs: Run, until: int | None = None) -> Report:
    """Start `runs`; return what was reported once `until` of them (all, if not said) have ended."""
    reported: Report = []
    enough = asyncio.Event()

    def report(given: Happened) -> None:
        reported.append(given)
        if sum(isinstance(one, Ended) for one in reported) >= (len(runs) if until is None else until):
            enough.set()

    await driver.start(runs, report)
    async with asyncio.timeout(20):
        await enough.wait()
    return reported


async def failure_in(driver: Driver, fn: Callable[..., Any]) -> Failure:
    (ended,) = await drive(driver, run_of(fn))
    assert isinstance(ended, Ended)
    assert ended.result is None
    assert ended.failure is not None
    return ended.failure
