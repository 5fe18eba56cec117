"""How one source is: its status and its metrics, kept by whoever runs it. The status is published when it changes."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import orjson

from connectors.base.contract import UNMOVED, Delivery, Moved, Received, Unreadable
from connectors.base.instance.buffer import Read
from connectors.base.logs import info, warn
from connectors.base.metrics import SourceMetrics
from topics.sources import Problem, Spec, State, Status

SHOWN_POSITION_CHARS: Final = 300
SHOWN_ERROR_CHARS: Final = 500


class Watched:
    """The status of one source. `changed` is set by everything that a reader of it would want to know at once."""

    def __init__(
        self, spec: Spec, *, owner: str, delivery: str, metrics: SourceMetrics, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock, self._metrics = clock, metrics
        self._id = spec.id
        self.provider = spec.kind if delivery else "unknown"
        """The kind, as metrics name it: of kinds that are not installed there may be any number."""
        self._connected_since: float | None = None
        self._lived = self._counted = 0.0
        self._moved_at = clock()
        self._event_at: float | None = None
        self._byte_at: float | None = None
        self._received = self._filtered = self._dead = 0
        self._notes: Counter[str] = Counter()
        self._position: Any = None
        self.masked: Callable[[str], str] = lambda text: text
        """Takes the secrets of the source out of a text."""
        self.changed = True
        now = self._now()
        self._status = Status(
            id=spec.id,
            kind=spec.kind,
            state=State.STARTING,
            since_ms=now,
            updated_at_ms=now,
            owner=owner,
            delivery=delivery,
        )
        self._heard = metrics.bytes.labels(self.provider)
        self._read = metrics.received.labels(self.provider)
        self._done = metrics.published.labels(self.provider)
        self._acked = metrics.ack_seconds.labels(self.provider)

    @property
    def status(self) -> Status:
        """How it is now."""
        return replace(
            self._status,
            updated_at_ms=self._now(),
            last_event_at_ms=_ms(self._event_at),
            last_byte_at_ms=_ms(self._byte_at),
            events_received=self._received,
            events_filtered=self._filtered,
            dead_letters=self._dead,
            position=None if self._position is None else self._shown(self._position),
            notes=dict(self._notes),
        )

    @property
    def epoch(self) -> str:
        """Names this connection."""
        return self._status.epoch

    @property
    def state(self) -> State:
        return self._status.state

    @property
    def counts(self) -> tuple[int, ...]:
        """What changes with every event: equal counts need not be told again."""
        return (self._received, self._filtered, self._dead, self._notes.total())

    # ---- what happens to it ----------------------------------------------------------------------------------------

    def starting(self, epoch: str) -> None:
        """Its owner connects."""
        self._status = replace(self._status, epoch=epoch)
        self._lived = 0.0
        self.enter(State.STARTING)

    def connected(self) -> None:
        """The link stands. What was wrong before stays its last error: a link that breaks again and again shows."""
        self._connected_since, self._counted = self._clock(), 0.0
        self._status = replace(
            self._status, connected_at_ms=self._now(), reconnect_attempts=0, next_retry_at_ms=None, error=None
        )
        self.enter(State.CONNECTED)
        info("source_connected", source=self._id, kind=self.provider)

    def disconnected(self) -> None:
        """The link is gone, whatever the reason."""
        if self._connected_since is not None:
            self._lived = self._count_connection(self._connected_since)
            self._connected_since = None

    def lived_seconds(self) -> float:
        """How long the last link stood."""
        return self._lived

    def backing_off(self, reason: str, message: str, attempts: int, pause: float) -> None:
        """It is connected again after a pause."""
        reason = self._metrics.bounded("reason", reason)
        self._metrics.reconnects.labels(self.provider, reason).inc()
        self._status = replace(
            self._status, reconnect_attempts=attempts, next_retry_at_ms=self._now() + int(pause * 1000)
        )
        self._go_wrong("transient", reason, message)
        self.enter(State.BACKING_OFF)

    def broken(self, state: State, reason: str, message: str) -> None:
        """The link is gone, and what it has brought waits for the broker: then it is known when it is tried again."""
        kind: Literal["transient", "permanent"] = "transient" if state is State.BACKING_OFF else "permanent"
        self._go_wrong(kind, self._metrics.bounded("reason", reason), message)
        self.enter(state)

    def ended(self, message: str) -> None:
        """The source has said that there is no more."""
        self._go_wrong("permanent", "ended", message)
        self.enter(State.PAUSED)

    def failed(self, reason: str, message: str, again_in_seconds: float | None) -> None:
        """Somebody has to mend it."""
        reason = self._metrics.bounded("reason", reason)
        self._metrics.reconnects.labels(self.provider, reason).inc()
        again = None if again_in_seconds is None else self._now() + int(again_in_seconds * 1000)
        self._status = replace(self._status, next_retry_at_ms=again)
        self._go_wrong("permanent", reason, message)
        self.enter(State.FAILED)

    def enter(self, state: State) -> None:
        """Change to a state."""
        self._metrics.connected.labels(self.provider, self._id).set(1 if state is State.CONNECTED else 0)
        if state is not self._status.state:
            self._status = replace(self._status, state=state, since_ms=self._now())
        self.changed = True

    def heard(self, size_bytes: int) -> None:
        """Bytes came."""
        self._byte_at = self._clock()
        self._heard.inc(size_bytes)

    def note(self, what: str, count: int = 1) -> None:
        """The source counts something by itself."""
        what = self._metrics.bounded("what", what)
        self._notes[what] += count
        self._metrics.noted.labels(self.provider, what).inc(count)

    def sorted(self, results: Mapping[str, int]) -> None:
        """A filter was asked."""
        for result, count in results.items():
            self._metrics.filtered.labels(self.provider, result).inc(count)
        self._filtered += results.get("turned_away", 0)

    def published(self, batch: Sequence[Read], events: int, letters: int) -> None:
        """The broker has a batch."""
        read = sum(not isinstance(one.item, Moved) for one in batch)
        if read:
            self._event_at = self._clock()
            self._received += read
            self._dead += letters
            self._read.inc(read)
            self._done.inc(events)
            if letters:
                self._metrics.dead.labels(self.provider).inc(letters)
            now = time.monotonic()
            for one in batch:
                if not isinstance(one.item, Moved):
                    self._acked.observe(now - one.at)

    def left(self, unpublished: Sequence[Read]) -> None:
        """Reading has ended, and nobody publishes what is left of it: most kinds read it again, others have lost it."""
        if self._status.delivery == Delivery.BEST_EFFORT:
            lost = sum(isinstance(one.item, Received | Unreadable) and _is_last_word(one.item) for one in unpublished)
            if lost:
                self.note("dropped", lost)
                warn("source_dropped", source=self._id, kind=self.provider, count=lost)

    def stands_at(self, position: Any) -> None:
        """This is its position, since somebody of before."""
        self._position = position

    def at_position(self, position: Any) -> None:
        """Its position moved."""
        self._position = position
        self._moved_at = self._clock()

    def measure(self, buffered: int) -> None:
        """Set the gauges that grow by themselves."""
        self._metrics.position_age.labels(self.provider, self._id).set(max(0.0, self._clock() - self._moved_at))
        self._metrics.buffered.labels(self.provider, self._id).set(buffered)
        if self._connected_since is not None:
            self._count_connection(self._connected_since)

    def forget(self) -> None:
        """It is not run here any more: its own series end."""
        for gauge in (self._metrics.connected, self._metrics.position_age, self._metrics.buffered):
            try:
                gauge.remove(self.provider, self._id)
            except KeyError:
                continue

    def _count_connection(self, since: float) -> float:
        """Count what has passed of a connection since it was counted last; return how long it has stood."""
        lived = max(self._counted, self._clock() - since)
        self._metrics.connection_seconds.labels(self.provider).inc(lived - self._counted)
        self._counted = lived
        return lived

    def _go_wrong(self, kind: Literal["transient", "permanent"], reason: str, message: str) -> None:
        # What others have written may hold halves of surrogate pairs, which no record can.
        message = message[:SHOWN_ERROR_CHARS].encode(errors="replace").decode()
        problem = Problem(kind=kind, reason=reason, message=message, at_ms=self._now())
        self._status = replace(self._status, error=problem, last_error=problem)

    def _shown(self, position: Any) -> str:
        text = self.masked(orjson.dumps(position).decode())
        return text if len(text) <= SHOWN_POSITION_CHARS else f"{text[:SHOWN_POSITION_CHARS]}..."

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _is_last_word(item: Received | Unreadable) -> bool:
    """Whether the other side will not tell it again: it is told nothing, and asked for nothing of before."""
    return item.ack is None and item.position is UNMOVED


def _ms(at: float | None) -> int | None:
    return None if at is None else int(at * 1000)
