"""What happened in a partition since it was last read: the pump turns it into metrics."""

from dataclasses import dataclass, field

from topics.envelope import Envelope
from topics.provenance import SOURCE, Provenance, provenance_of


@dataclass(slots=True)
class Counters:
    """What happened since they were last read; the pump turns them into metrics."""

    events: int = 0
    unmatched: int = 0
    duplicates: int = 0
    forwarded: int = 0
    malformed: int = 0
    filtered: int = 0
    noticed: int = 0
    """Events that the registry of their topic was told of."""
    met: int = 0
    expired: int = 0
    """Waits that an event met, and that none met in time."""
    crowded: int = 0
    """Steps that were not let wait, because too much waits already."""
    started: int = 0
    retried: int = 0
    steps: int = 0
    """Steps that came to something and were journaled."""
    slept: int = 0
    """Events that fell asleep, once for each workflow that they wait for."""
    woken: int = 0
    overslept: int = 0
    """Events that became dead letters because too many slept."""
    provided: list[tuple[Provenance, int]] = field(default_factory=list)
    """Where first events of runs came from, of those that sources read, and when the runs started (ms)."""
    ended: dict[tuple[str, str], int] = field(default_factory=dict)
    """By workflow id and status."""
    stuck: list[tuple[str, str, str]] = field(default_factory=list)
    """Runs that their code does not fit any more: workflow id, run id, and why."""

    def start(self, event: Envelope, now_ms: int) -> None:
        """A run started; `event` is its first."""
        self.started += 1
        if event[1].startswith(SOURCE):
            self.provided.append((provenance_of(event.raw_headers), now_ms))
