"""Which messages of a partition of `actions` are begun when: each source has a bound of its own, and an order.

Pure. What is beyond a bound is not kept: it waits in Kafka, and is read again once its source has room, so a source
that is away for a day holds up no other one. Called by connectors.base.fleet.actions.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

MOST_OF_SOURCE: Final = 100
"""Messages of one source that may be on their way at once."""
MOST: Final = 2_000
"""Messages of all sources together."""
MOST_BYTES: Final = 32 * 1024 * 1024
"""Their bytes; a source that has nothing on its way may have one more."""
MOST_WAITING: Final = 10_000
"""Sources whose messages wait in Kafka; then reading waits as well."""


class Turns:
    """What is on its way, and from where on the messages of which source still wait.

    Messages of one source are done in their order, so one offset says of a source which are not.
    """

    def __init__(self, position: Any = None) -> None:
        """Go on from a position: None at the very beginning, an offset, or what `position` returned."""
        whole = isinstance(position, Mapping)
        at = position.get("at") if whole else position
        waiting = position.get("waiting") if whole else None
        self._end = at if isinstance(at, int) else 0
        """Before it everything is begun, but what waits."""
        self._waiting: dict[str, int] = dict(waiting) if isinstance(waiting, Mapping) else {}
        """From which offset on the messages of a source are not begun."""
        self._passed: set[str] = set(self._waiting)
        """Sources of which one was passed over since reading began where it did: none behind it may come first."""
        self._open: dict[int, tuple[str, int]] = {}
        self._count: Counter[str] = Counter()
        self._bytes = 0
        self.is_new = not isinstance(at, int)
        """Whether nothing was ever read."""

    @property
    def end(self) -> int:
        """The offset after the last message that was read."""
        return self._end

    @property
    def position(self) -> Any:
        """Where to go on after a crash: JSON. What is on its way then is begun again, and nothing else."""
        waiting = dict(self._waiting)
        for offset, (source, _) in self._open.items():
            waiting[source] = min(offset, waiting.get(source, offset))
        return {"at": self._end, "waiting": waiting} if waiting else self._end

    @property
    def is_full(self) -> bool:
        """Whether more sources wait than may be remembered: then nothing is to be read beyond the end."""
        return len(self._waiting) >= MOST_WAITING

    def takes(self, offset: int, source: str, size: int) -> bool:
        """Say whether a message that was read is to be begun now; else it was begun before, or waits."""
        if not self._is_next(offset, source):
            return False
        if source in self._passed or not self._has_room(source, size):
            self._waiting.setdefault(source, offset)
            self._passed.add(source)
            return False
        if source in self._waiting:
            self._waiting[source] = offset + 1
        self._open[offset] = (source, size)
        self._count[source] += 1
        self._bytes += size
        return True

    def pass_over(self, offset: int) -> bool:
        """There is nothing to be done at an offset. Say whether it was read for the first time."""
        return self._is_next(offset, "")

    def done(self, offset: int) -> None:
        """A message is done."""
        source, size = self._open.pop(offset)
        self._bytes -= size
        self._count[source] -= 1
        if not self._count[source]:
            del self._count[source]

    def turn(self, at: int) -> int | None:
        """Return where to read on instead of at `at`, None where reading goes on as it does."""
        if at < self._end:
            return None if self._waiting.keys() - self._passed else self._end
        self._all_read()
        ready = [since for source, since in self._waiting.items() if self._is_ready(source)]
        if not ready:
            return None
        first = min(ready)
        self._passed = {source for source, since in self._waiting.items() if since < first}
        return first

    def _is_next(self, offset: int, source: str) -> bool:
        """Whether a message was not begun yet; count it as read."""
        if offset >= self._end:
            self._all_read()
            self._end = offset + 1
            return True
        return offset >= self._waiting.get(source, self._end)

    def _all_read(self) -> None:
        """Everything up to the end was read: sources of which nothing was passed over have nothing that waits."""
        self._waiting = {source: since for source, since in self._waiting.items() if source in self._passed}

    def _has_room(self, source: str, size: int) -> bool:
        if len(self._open) >= MOST:
            return False
        count = self._count.get(source, 0)
        return not count or (count < MOST_OF_SOURCE and self._bytes + size <= MOST_BYTES)

    def _is_ready(self, source: str) -> bool:
        """Whether reading turns back for a source: not for each single message."""
        count = self._count.get(source, 0)
        if not count:
            return len(self._open) < MOST
        return count <= MOST_OF_SOURCE // 2 and len(self._open) <= MOST // 2 and self._bytes <= MOST_BYTES // 2
