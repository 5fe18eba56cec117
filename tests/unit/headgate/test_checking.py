"""The contract of providers: one that keeps it, and one for each way to break it."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar, Literal

import pytest

from headgate.checking import BrokenContract, check_provider
from headgate.providers import Disconnected, Emit, Failed, SourceEvent, TriggerProvider


class Counting(TriggerProvider):
    """Numbers, one after the other."""

    delivery: ClassVar[Literal["exactly-once", "at-least-once", "best-effort"]] = "exactly-once"
    example: ClassVar[Mapping[str, Any]] = {"to": 1000}
    ended: ClassVar[list[str]] = []

    async def init(self, config: Mapping[str, Any]) -> None:
        if not isinstance(config.get("to"), int):
            raise Failed("to is no number")
        self._to = config["to"]

    async def run(self, emit: Emit, position: Any) -> None:
        number = position or 0
        while number < self._to:
            number += 1
            await emit(self.event(number), position=number)
        raise Disconnected("there are no more")

    async def shutdown(self) -> None:
        type(self).ended.append("shutdown")

    def event(self, number: int) -> SourceEvent:
        return SourceEvent(id=f"n{number}", type="number", data={"n": number})


async def test_a_provider_that_keeps_it_is_read_four_times_and_its_events_are_returned() -> None:
    Counting.ended.clear()
    assert [one.id for one in await check_provider(Counting)] == ["n1", "n2", "n3"]
    assert Counting.ended == ["shutdown"] * 4


async def test_a_config_and_a_number_of_events_can_be_given() -> None:
    assert len(await check_provider(Counting, {"to": 1}, events=1)) == 1
    assert len(await check_provider(Counting, {"to": 7}, events=7)) == 7


async def test_what_the_provider_raises_comes_through() -> None:
    with pytest.raises(Failed, match="no number"):
        await check_provider(Counting, {})
    with pytest.raises(Disconnected, match="no more"):
        await check_provider(Counting, {"to": 2})


class Nameless(Counting):
    """Ids that are empty."""

    def event(self, number: int) -> SourceEvent:
        return SourceEvent(id="", type="number", data=number)


class Undescribed(Counting):
    __doc__ = None


class Typeless(Counting):
    """No type."""

    def event(self, number: int) -> SourceEvent:
        return SourceEvent(id=f"n{number}", type="", data=number)


class Unwritable(Counting):
    """Data that is no JSON."""

    def event(self, number: int) -> SourceEvent:
        return SourceEvent(id=f"n{number}", type="number", data={number})


class Zoneless(Counting):
    """A time of nowhere."""

    def event(self, number: int) -> SourceEvent:
        return SourceEvent(id=f"n{number}", type="number", data=number, created_at=datetime(2026, 1, 1))  # noqa: DTZ001


class Same(Counting):
    """One id for all."""

    def event(self, number: int) -> SourceEvent:
        return SourceEvent(id="always", type="number", data=number)


class Drawn(Counting):
    """Ids that are drawn, not derived."""

    drawn: ClassVar[int] = 0

    def event(self, number: int) -> SourceEvent:
        type(self).drawn += 1
        return SourceEvent(id=f"drawn {self.drawn}", type="number", data=number)


class Hasty(Counting):
    """Has moved on before the broker has anything."""

    moved: ClassVar[int] = 0

    async def run(self, emit: Emit, position: Any) -> None:
        while True:
            type(self).moved += 1
            await emit(self.event(self.moved), position=self.moved)


class Rewinding(Counting):
    """Begins at the beginning, whatever the position."""

    async def run(self, emit: Emit, position: Any) -> None:
        await super().run(emit, None)


class Placeless(Counting):
    """Says no position."""

    async def run(self, emit: Emit, position: Any) -> None:
        for number in range(1, 100):
            await emit(self.event(number))


class Odd(Counting):
    """A position that cannot be kept."""

    async def run(self, emit: Emit, position: Any) -> None:
        await emit(self.event(1), position={1})


class Short(Counting):
    """Returns."""

    async def run(self, emit: Emit, position: Any) -> None:
        await emit(self.event(1), position=1)


class Scattering(Counting):
    """Waits for nothing that it emits."""

    async def run(self, emit: Emit, position: Any) -> None:
        self.tasks = [asyncio.create_task(emit(self.event(number), position=number)) for number in range(1, 4)]
        await asyncio.gather(asyncio.get_running_loop().create_future())


class Impatient(Counting):
    """Waits a moment for the broker, and goes on without it."""

    async def run(self, emit: Emit, position: Any) -> None:
        number = position or 0
        while True:
            number += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(emit(self.event(number), position=number), 0.05)


class Greedy(Counting):
    """Reads on, however many wait."""

    async def run(self, emit: Emit, position: Any) -> None:
        number = position or 0
        async with asyncio.TaskGroup() as tasks:
            while True:
                number += 1
                tasks.create_task(emit(self.event(number), position=number))
                await asyncio.sleep(0)


class Early(Counting):
    """Acknowledges what comes after the first before the broker has it."""

    delivery = "at-least-once"
    acknowledged: ClassVar[set[int]] = set()

    async def run(self, emit: Emit, position: Any) -> None:
        for number in range(1, self._to):
            if number not in self.acknowledged:
                if number > 1:
                    self.acknowledged.add(number)
                await emit(self.event(number))
                self.acknowledged.add(number)


class Lingering(Counting):
    """Reads on beside those who come after it."""

    lingering: ClassVar[list[asyncio.Task[None]]] = []

    async def run(self, emit: Emit, position: Any) -> None:
        self.is_down = asyncio.Event()
        self.lingering.append(asyncio.create_task(self._linger(emit)))
        await super().run(emit, position)

    async def shutdown(self) -> None:
        self.is_down.set()

    async def _linger(self, emit: Emit) -> None:
        await self.is_down.wait()
        await emit(self.event(77))


class Forgetful(Counting):
    """Calls `emit`, and that is all."""

    async def run(self, emit: Emit, position: Any) -> None:
        emit(self.event(1), position=1)  # type: ignore[unused-coroutine]


class Silent(Counting):
    """Emits nothing."""

    async def run(self, emit: Emit, position: Any) -> None:
        await asyncio.get_running_loop().create_future()


class Careless(Counting):
    """Says nothing of its delivery."""

    delivery = "sometimes"  # type: ignore[assignment]


class Exampleless(Counting):
    """Has no example that YAML could hold."""

    example: ClassVar[Mapping[str, Any]] = {"to": {1}}


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        (Undescribed, "has no docstring"),
        (Careless, "has no `delivery`"),
        (Exampleless, "has no `example`"),
        (Nameless, "emits the id ''"),
        (Typeless, "with the type ''"),
        (Unwritable, "data that is no JSON"),
        (Zoneless, "a time without a zone"),
        (Same, "different events under one id"),
        (Drawn, "began again with another one: 'drawn 1', then 'drawn 2'"),
        (Hasty, "began again with another one: 'n1', then 'n2'"),
        (Rewinding, r"goes on after the position of 'n2' with \['n1'\] instead of \['n3'\]"),
        (Placeless, "emits 'n2' without a position"),
        (Odd, "a position that is no JSON"),
        (Short, "returned after 1 events"),
        (Scattering, "still emits after `run` and `shutdown` have ended"),
        (Impatient, "did not wait until the broker had 'n2'"),
        (Early, r"while 'n3' was not durable, as by an edit of its options, and went on with \['n4', 'n5', 'n6'\]"),
        (Lingering, "has emitted 'n77' after `shutdown` had returned"),
        (Forgetful, "calls `emit` and does not await it"),
    ],
)
async def test_what_breaks_it_is_told_with_the_remedy(provider: type[Counting], words: str) -> None:
    with pytest.raises(BrokenContract, match=words) as raised:
        await check_provider(provider)
    assert str(raised.value).startswith(provider.__name__) or f"of {provider.__name__} " in str(raised.value)


async def test_one_that_emits_nothing_is_not_waited_for_for_ever() -> None:
    with pytest.raises(BrokenContract, match=r"emitted 0 of 1 events within 0\.01 s"):
        await check_provider(Silent, seconds=0.01)


async def test_who_promises_less_is_asked_for_less() -> None:
    ways: list[tuple[type[Counting], str]] = [(Drawn, "best-effort"), (Placeless, "at-least-once")]
    for provider, delivery in ways:
        kind = type(provider.__name__, (provider,), {"delivery": delivery, "__doc__": provider.__doc__})
        assert len(await check_provider(kind)) == 3


class Edited(Counting):
    """Says which options it was read with."""

    configs: ClassVar[list[Any]] = []

    async def init(self, config: Mapping[str, Any]) -> None:
        await super().init(config)
        self.configs.append(config["to"])


async def test_options_after_an_edit_can_be_given() -> None:
    await check_provider(Edited, edited={"to": 2000})

    assert Edited.configs == [1000, 1000, 1000, 2000]


async def test_who_waits_for_the_broker_is_given_its_time() -> None:
    assert [one.id for one in await check_provider(Counting, away_seconds=0.01, events=5)] == [
        f"n{number}" for number in range(1, 6)
    ]


async def test_what_reads_on_while_the_broker_is_away_is_told_so() -> None:
    with pytest.raises(BrokenContract, match=r"Greedy emits on and on while the broker is away: \d+ events wait"):
        await check_provider(Greedy, away_seconds=8)


CANARY = "canary-4711"


class Letting(Counting):
    """Lets in whoever has the token."""

    example: ClassVar[Mapping[str, Any]] = {"to": 1000, "token": CANARY}
    is_revoked: ClassVar[bool] = False
    seen: ClassVar[list[Any]] = []

    async def init(self, config: Mapping[str, Any]) -> None:
        await super().init(config)
        self.token = config["token"]

    async def run(self, emit: Emit, position: Any) -> None:
        self.seen.append((self.is_revoked, position))
        if self.is_revoked:
            await self.refused()
        await super().run(emit, position)

    async def refused(self) -> None:
        raise Failed("the other side answers 401")

    @classmethod
    async def revoke(cls) -> None:
        Letting.is_revoked = True

    @classmethod
    async def restore(cls) -> None:
        Letting.is_revoked = False


async def check(provider: type[Letting], **more: Any) -> None:
    await check_provider(provider, secret=CANARY, revoke=Letting.revoke, restore=Letting.restore, seconds=1, **more)


async def test_credentials_are_taken_and_given_back_and_reading_goes_on_where_it_was() -> None:
    Letting.seen.clear()
    await check(Letting)

    assert [(False, None), (False, None), (False, 2), (False, 2), (True, 2), (False, 2)] == Letting.seen


class Shouting(Letting):
    """Has its token in what it emits."""

    def event(self, number: int) -> SourceEvent:
        return SourceEvent(id=f"n{number}", type="number", data={"url": f"https://localhost/?token={self.token}"})


class Logging(Letting):
    """Has its token in the log."""

    async def run(self, emit: Emit, position: Any) -> None:
        logging.getLogger("weather").info("connect", extra={"fields": {"token": self.token}})
        await super().run(emit, position)


class Complaining(Letting):
    """Has its token in the words that say why it is not let in."""

    async def refused(self) -> None:
        raise Failed(f"the other side does not know {self.token}")


class Insisting(Letting):
    """Tries again and again, and says nothing."""

    async def refused(self) -> None:
        await asyncio.get_running_loop().create_future()


class Cached(Letting):
    """Goes on without its credentials."""

    async def refused(self) -> None:
        return


class Dropping(Letting):
    """Acknowledges what is in hand when it is not let in."""

    delivery = "at-least-once"

    async def run(self, emit: Emit, position: Any) -> None:
        if self.is_revoked:
            type(self).from_now_on = 1000
        for number in range(1 + self.from_now_on, 2000):
            if self.is_revoked:
                await self.refused()
            await emit(self.event(number))

    from_now_on: ClassVar[int] = 0


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        (Shouting, "has the secret of its options in the event 'n1' or its position"),
        (Logging, "has the secret of its options in a record of the log 'weather'"),
        (Complaining, "has the secret of its options in the Failed that says that it is not let in"),
        (Insisting, "does not say that its credentials were taken: Insisting has emitted 0 of 1 events"),
        (Cached, "has read 'n3' although its credentials were taken"),
        (Dropping, "when its credentials were given back, and 'n3', which was not durable, is missing"),
    ],
)
async def test_what_becomes_of_credentials_is_told_with_the_remedy(provider: type[Letting], words: str) -> None:
    with pytest.raises(BrokenContract, match=words) as raised:
        await check(provider)
    assert CANARY not in str(raised.value)
    assert not Letting.is_revoked


async def test_a_secret_in_what_comes_through_is_no_more_than_its_place() -> None:
    class Unlucky(Letting):
        """Cannot follow its options, and says them all."""

        async def init(self, config: Mapping[str, Any]) -> None:
            raise Failed(f"wrong options: {config}")

    with pytest.raises(BrokenContract, match="in the Failed that it raises"):
        await check(Unlucky)


async def test_a_secret_that_is_nowhere_or_half_of_two_callbacks_is_a_mistake_of_the_test() -> None:
    with pytest.raises(ValueError, match="not in the config"):
        await check_provider(Counting, secret=CANARY)
    with pytest.raises(ValueError, match="go together"):
        await check_provider(Letting, revoke=Letting.revoke)
