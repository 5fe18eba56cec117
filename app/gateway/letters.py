"""Dead letters of webhooks, also where their topic takes smaller records than Headgate makes it for."""

import asyncio
import math
from collections.abc import Sequence

from app.gateway import events
from app.kafka.producer import TooLarge
from app.observe import logs
from topics.facts import Record
from topics.letters import shortened

log = logs.get(__name__)


class Letters:
    """Writes dead letters. One that is too large is refused once, and written without its original when it is repeated.

    Nobody knows which letter of a batch was too large, so from the first refusal on they are written one by one.
    """

    def __init__(self, producer: events.Producer) -> None:
        self._producer = producer
        self._are_alone = False
        self._one = asyncio.Lock()
        self._least_refused: float = math.inf
        """Bytes."""

    async def write(self, letters: Sequence[Record], home: str) -> None:
        """Return once all are there; `home` names the partition of those without a key.

        Raises NotAccepted or MaybeAccepted: the sender is to deliver again.
        """
        if self._are_alone:
            async with self._one:
                for letter in letters:
                    await self._produce([letter if _size(letter) < self._least_refused else shortened(letter)], home)
        else:
            await self._produce(letters, home)

    async def _produce(self, letters: Sequence[Record], home: str) -> None:
        try:
            await self._producer.produce([(one.key, home, one.value, one.headers) for one in letters])
        except TooLarge:
            if self._are_alone:
                self._least_refused = min(self._least_refused, *map(_size, letters))
            self._are_alone = True
            log.warning("dead_letters_too_large", remedy="raise max.message.bytes of the topic of dead letters")
            raise


def _size(letter: Record) -> int:
    return len(letter.key or b"") + len(letter.value)
