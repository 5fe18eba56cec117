"""Between simulated workers and the cluster: delays, errors, lost answers, and requests that outlive who sent them."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from app.kafka.log import LogError
from app.kafka.memory_cluster import Unanswered
from tests.simulation.loop import Process, SimLoop

Answer = TypeVar("Answer")


@dataclass(slots=True)
class Weather:
    """How bad it is. Shared by all, changed when the chaos ends."""

    fault_rate: float
    slow_rate: float
    stragglers: int = 0
    """Requests that arrive long after they were sent, whoever sent them."""


class SimNetwork:
    """The way from one process to the cluster and back."""

    def __init__(self, loop: SimLoop, random: Random, cluster: Process, process: Process, weather: Weather) -> None:
        self._loop = loop
        self._random = random
        self._cluster = cluster
        self._process = process
        self._weather = weather

    async def call(self, what: str, do: Callable[[], Answer]) -> Answer:
        loop, random, weather = self._loop, self._random, self._weather
        chance = random.random()
        faulty = chance < weather.fault_rate
        there = 0.0002 + random.random() * (0.4 if random.random() < weather.slow_rate else 0.001)
        # A request that was sent before its sender died arrives, or it does not.
        orphan_arrives = random.random() < 0.7
        future: Any = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def arrive() -> None:
            if self._process.dead and not orphan_arrives:
                return
            result, error = None, None
            try:
                result = do()
            except LogError as refused:
                error = refused
            back = 0.0002 + random.random() * 0.001
            loop.call_at_in(self._cluster, loop.time() + back, settle, result, error)

        def straggle() -> None:
            weather.stragglers -= 1
            arrive()

        if not faulty:
            loop.call_at_in(self._cluster, loop.time() + there, arrive)
        else:
            lost = Unanswered(f"{what}: no answer")
            fate = random.random()
            if fate < 0.4:  # it arrives, its answer does not
                loop.call_at_in(self._cluster, loop.time() + there, arrive)
                loop.call_at_in(self._cluster, loop.time() + there, settle, None, lost)
            elif fate < 0.7:  # it arrives long after the caller gave up
                loop.call_at_in(self._cluster, loop.time() + 0.05, settle, None, lost)
                weather.stragglers += 1
                loop.call_at_in(self._cluster, loop.time() + 0.06 + random.random() * 2, straggle)
            else:
                loop.call_at_in(self._cluster, loop.time() + 0.05, settle, None, lost)
        return await future  # type: ignore[no-any-return]

    async def pause(self) -> None:
        future = self._loop.create_future()
        self._loop.call_at_in(self._cluster, self._loop.time() + 0.005, self._wake, future)
        await future

    @staticmethod
    def _wake(future: Any) -> None:
        if not future.done():
            future.set_result(None)

    def later(self, do: Callable[[], None]) -> None:
        self._loop.call_at_in(self._cluster, self._loop.time() + self._random.random() * 0.06, do)
