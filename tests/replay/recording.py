"""A history in the making, as scenarios tell what happens. The player applies each step as it is told."""

from collections.abc import Sequence
from typing import Any, Final

from tests.replay.history import Player
from topics import asked, codec, commands, journal

START: Final = 1_769_860_800_000


class Recording:
    """A history in the making."""

    def __init__(
        self,
        *workflows: tuple[list[Any], list[Any]],
        partitions: int = 1,
        inputs: int = 2,
        waits_a_round: int | None = None,
        **limits: Any,
    ) -> None:
        self.history: dict[str, Any] = {
            "format": journal.FORMAT,
            "inputs": inputs,
            "partition": 0,
            "partitions": partitions,
            "limits": limits,
            "workflows": [list(one) for one in workflows],
            "steps": [],
        }
        if waits_a_round is not None:
            self.history["waits_a_round"] = waits_a_round
        self._sequences: dict[int, int] = {}
        self.player = Player(self.history)
        self.now = START
        self.offset = 0
        self.load(0)

    def step(self, *, after_ms: int = 10, **step: Any) -> list[str]:
        self.now += after_ms
        given = {"now": self.now} | step
        self.history["steps"].append(given)
        return self.player.give(given)

    def load(self, number: int, **retired: int) -> list[str]:
        return self.step(load=number, retired=retired)

    def raw(self, topic: str, data: Any, *, partition: int = 0, **more: Any) -> dict[str, Any]:
        key, value, headers = codec.produce_form(topic, data, **more)
        self.offset += 1
        envelope = codec.decode(
            value, key, headers, partition=partition, offset=self.offset, timestamp_ms=self.now, max_bytes=None
        )
        return commands.raw_event(envelope)

    def events(self, *events: dict[str, Any]) -> list[str]:
        return self.step(events=list(events))

    def told(self, source: int, *asks: asked.Ask, events: Sequence[dict[str, Any]] = ()) -> list[str]:
        """Let a command of another partition come."""
        sequence = self._sequences[source] = self._sequences.get(source, 0) + 1
        command = commands.encode(
            source=source,
            journal_id="theirs",
            sequence=sequence,
            partitions=self.history["partitions"],
            events=[commands.event_of(one) for one in events],
            batched=[],
            asks=asks,
        )
        return self.step(commands=[command.decode()])

    def delivered(self, **more: Any) -> None:
        """Let everything that was sent out be acknowledged."""
        at = self.player.state.round
        self.step(delivered=[at, at, at], **more)

    def come_back(self) -> list[str]:
        """Let the events that the last commit sent out be read."""
        sent = self.history["steps"][-1]["commit"]["sent"]["records"]
        found = []
        for topic, partition, key, value, headers in sent:
            if topic == "events":
                self.offset += 1
                place = {"p": partition, "o": self.offset, "t": self.now}
                found.append(place | {"key": key, "value": value, "headers": headers})
        return self.events(*found)

    def end(self, *runs: str, result: str | None = '{"ok":true}', failure: dict[str, Any] | None = None) -> list[str]:
        attempts = [self.player.state.runs[run].attempt for run in runs]
        ended = [
            [run, attempt, None if failure else result, failure] for run, attempt in zip(runs, attempts, strict=True)
        ]
        return self.step(ended=ended)

    def commit(self) -> None:
        found = self.player.commit()
        if found is not None:
            self.history["steps"].append({"commit": found})

    def done(self) -> dict[str, Any]:
        self.history["end"] = sorted(key.decode().split(":")[0] for key in self.player.entities)
        return self.history


FAILS = {"type": "ValueError", "message": "no luck", "traceback": "Traceback …"}
