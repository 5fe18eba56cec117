"""What the journals of partitions say of one event: how far it has come, and what it waits for. No I/O.

`app.wiring.explaining` reads them record by record. A journal is compacted: of each key the last value holds, none
removes it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from topics import journal
from topics.envelope import Envelope

_BODY: Final = b"body:"
_PENDING: Final = b"pending:"
_RUN: Final = b"run:"
_OUT: Final = b"out:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Journaled:
    """What one partition's journal says, as of the moment when it was read."""

    partition: int
    claimed: bool = True
    """Whether a worker ever had the partition."""
    journal_id: str = ""
    events_offset: int = 0
    """What landed here is handled up to this offset."""
    sent: Mapping[int, int] = field(default_factory=dict)
    """By partition, how many commands it was sent."""
    received: Mapping[str, int] = field(default_factory=dict)
    """By `<partition>/<journal id>`, how many commands of it were handled."""
    known_since_ms: Mapping[str, int] = field(default_factory=dict)
    """By workflow: events from then on are for it."""
    waits_for: frozenset[str] = frozenset()
    """Workflows for which the event waits here: for its turn, for its batch, or for code."""
    runs: frozenset[str] = frozenset()
    """Those of the wanted runs that go on here."""
    holders: Mapping[str, str] = field(default_factory=dict)
    """By workflow, the run behind which events of the wanted key wait."""
    decided: frozenset[str] = frozenset()
    """Those of the wanted runs, or "" for a dead letter of the event, of which something is yet to be sent."""


class Reading:
    """Takes the records of one partition's journal in their order."""

    def __init__(self, partition: int, event: Envelope, runs: Iterable[str]) -> None:
        self._partition = partition
        self._place = b'"p":%d,"o":%d,' % (event.partition, event.offset)
        self._runs = {journal.run_key(one): one for one in runs}
        self._letter = rb"\"partition\":%d,\"offset\":%d," % (event.partition, event.offset)
        self._lanes = (
            {} if event.key is None else {_lane(one, event.key): one for one in _workflows(self._runs.values())}
        )
        self._kept: dict[bytes, bytes] = {}
        self._bodies: set[bytes] = set()
        self._pending: set[bytes] = set()

    def take(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self._kept.pop(key, None)
            self._pending.discard(key)
            return
        if key.startswith(_BODY):
            if self._place in value:
                self._bodies.add(key.removeprefix(_BODY))
        elif key.startswith(_PENDING):
            if key.split(b":", 2)[1] in self._bodies:  # a body goes before all that refers to it
                self._pending.add(key)
        elif self._wanted(key, value):
            self._kept[key] = value
        else:
            self._kept.pop(key, None)

    def _wanted(self, key: bytes, value: bytes) -> bool:
        if key in (journal.HEAD, journal.KNOWN, journal.CLAIM):
            return True
        if key.startswith(_RUN):
            return key in self._runs or any(one in value for one in self._lanes)
        return key.startswith(_OUT) and (
            self._letter in value or any(one.encode() in value for one in self._runs.values())
        )

    def end(self) -> Journaled:
        """Return what was read. Raises UnreadableJournal."""
        head, known, claim = (self._value(one) for one in (journal.HEAD, journal.KNOWN, journal.CLAIM))
        committed, delivered = head.get("r", 0), head.get("delivered", 0)
        holders: dict[str, str] = {}
        runs: set[str] = set()
        decided: set[str] = set()
        for key, value in self._kept.items():
            round_ = self._value(key).get("r", 0)
            if key.startswith(_RUN) and round_ <= committed:
                if key in self._runs:
                    runs.add(self._runs[key])
                holders.update(
                    {name: key.removeprefix(_RUN).decode() for lane, name in self._lanes.items() if lane in value}
                )
            elif key.startswith(_OUT) and delivered < round_ <= committed:
                decided.update(one for one in self._runs.values() if one.encode() in value)
                decided.update([""] if self._letter in value else [])
        return Journaled(
            partition=self._partition,
            claimed=bool(claim),
            journal_id=str(claim.get("topics", {}).get("journal", "")),
            events_offset=head.get("events", 0),
            sent={int(partition): count for partition, count in head.get("sent", {}).items()},
            received=head.get("received", {}),
            known_since_ms=known.get("since", {}),
            waits_for=frozenset(key.split(b":", 2)[2].decode() for key in self._pending),
            runs=frozenset(runs),
            holders=holders,
            decided=frozenset(decided),
        )

    def _value(self, key: bytes) -> dict[str, Any]:
        return journal.decode(key, self._kept[key]) if key in self._kept else {}


def passed_on(source: Journaled, target: Journaled) -> bool:
    """Say whether all that `source` had for `target` was handled there. `source` was read first."""
    if source.partition == target.partition:
        return True
    last = target.received.get(f"{source.partition}/{source.journal_id}", 0)
    return last >= source.sent.get(target.partition, 0)


def _workflows(runs: Iterable[str]) -> list[str]:
    return [one.rpartition(":")[0] for one in runs]


def _lane(workflow_id: str, key: str) -> bytes:
    return b'"lane":' + orjson.dumps([workflow_id, key])
