"""Histories that the runtime's own driver wrote, and how the code of today goes on from them.

Such a history holds an author's module as text, and every batch that was appended to any topic, in their order; those
that came from outside are `given`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from unittest import mock

import orjson

from app.kafka.log import Entry, Producer
from app.kafka.memory_cluster import MemoryPartition
from app.wiring.rehearsal import Rehearsal
from headgate.definition import Workflow
from topics import codec, journal

HERE: Final = Path(__file__).parent
_SENT: Final = ("events", "parcels", "triggers", "actions")
_TOLD: Final = ("run_id", "workflow_id", "workflow_version", "status", "key", "attempts", "result")
"""Of a result: what journals stand for. Texts of Headgate's own may get better, and fields may be added."""


class Stage(Rehearsal):
    """A service in memory that begins with the first `appends` appends of a history, and keeps what follows."""

    def __init__(self, history: Mapping[str, Any], appends: int = 0) -> None:
        self.appends: list[dict[str, Any]] = []
        self._there = history["appends"][:appends]
        self._to_come = history["appends"][appends:]
        self._is_given = False
        module = ModuleType("workflows")
        exec(compile("\n".join(history["source"]), "workflows.py", "exec"), vars(module))
        self.called: list[str] = module.CALLED
        """The steps whose functions were called here, as `<run>:<key>`."""
        workflows = [one for one in vars(module).values() if isinstance(one, Workflow)]
        try:
            super().__init__(workflows, partitions=history["partitions"], reply_topics=history["reply_topics"])
        except BaseException:
            self.close()
            raise

    def produce(self, topic: str, key: bytes | None, value: bytes | None, headers: codec.Headers, *, home: int) -> None:
        self._is_given = True
        super().produce(topic, key, value, headers, home=home)

    def go_on(self, end_ms: int) -> None:
        """Give again what was given after the beginning, each at its time; then let time pass until `end_ms`."""
        for one in self._to_come:
            if one.get("given"):
                self._advance_to(one["at"])
                for key, value, headers in map(_entry, one["records"]):
                    self.produce(one["topic"], key, value, [(n, v or b"") for n, v in headers], home=one["partition"])
        self._advance_to(end_ms)

    def _begin(self) -> Any:
        if self._there and not self._lives:
            self._lives = 1
            self._loop.run_to((self._there[-1]["at"] - self.now_ms()) / 1000)
            for one in self._there:
                where = self._cluster.partition(one["topic"], one["partition"])
                while where.end < one["offset"]:  # the marker of a transaction was there
                    where.end_transaction(Producer(0, 0), one["at"], commit=True)
                entries = [_entry(record) for record in one["records"]]
                super()._appended(where, None, entries, where.append(entries, one["at"]))
        return super()._begin()

    def _advance_to(self, at_ms: int) -> None:
        self.advance((at_ms - self.now_ms()) / 1000)

    def _appended(
        self, where: MemoryPartition, producer: Producer | None, entries: Sequence[Entry], offset: int
    ) -> None:
        super()._appended(where, producer, entries, offset)
        made = {"at": self.now_ms(), "topic": where.topic, "partition": where.number, "offset": offset}
        if self._is_given:
            made["given"] = True
            self._is_given = False
        self.appends.append(made | {"records": [_described(one) for one in entries]})


class Recording:
    """A history of this kind in the making. What is recorded of a failure names no file of this machine."""

    def __init__(self, source: str, *, partitions: int = 1, reply_topics: Sequence[str] = ()) -> None:
        self._history: dict[str, Any] = {
            "format": journal.FORMAT,
            "partitions": partitions,
            "reply_topics": list(reply_topics),
            "source": (HERE / source).read_text(encoding="utf-8").splitlines(),
            "appends": [],
        }
        self._stage = Stage(self._history)

    def send(self, topic: str, data: Any, *, after_seconds: float = 1.0, **more: Any) -> None:
        self._advance(after_seconds)
        with _without_files():
            self._stage.send(topic, data, **more)

    def run_of(self, workflow_id: str) -> str:
        """Return the id of the workflow's first run."""
        return next(str(one["run_id"]) for one in self._stage.facts() if one["workflow_id"] == workflow_id)

    def done(self, *, after_seconds: float) -> dict[str, Any]:
        self._advance(after_seconds)
        made = self._history | {"appends": self._stage.appends, "end": self._stage.now_ms()}
        made["called"] = sorted(set(self._stage.called))
        self._stage.close()
        return made

    def _advance(self, seconds: float) -> None:
        with _without_files():
            self._stage.advance(seconds)


def commits(history: Mapping[str, Any]) -> list[int]:
    """Return after how many appends the journal knew more of a run or a step: a worker may have died right then."""
    return [
        number
        for number, one in enumerate(history["appends"], start=1)
        if one["topic"] == "journal" and any(key.startswith(("run:", "step:")) for key, _, _ in one["records"])
    ]


def steps(appends: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the records of steps that the journal has, each with the id of its run."""
    for key, value in _records(appends, "journal"):
        kind, _, name = (key or b"").decode().partition(":")
        if kind == "step" and value is not None:
            yield name.rpartition("#")[0], orjson.loads(value)


def ended(history: Mapping[str, Any], appends: int) -> set[str]:
    """Return the called steps, as `<run>:<key>`, that the journal had as ended, or whose runs it had as ended."""
    there = history["appends"][:appends]
    over = {f"{run}:{step['k']}" for run, step in steps(there) if step["s"] != "open"}
    gone = [key.decode() for key, value in _records(there, "journal") if value is None and key is not None]
    runs = tuple(f"{key.removeprefix('run:')}:" for key in gone if key.startswith("run:"))
    return {one for one in history["called"] if one in over or one.startswith(runs)}


def started(appends: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the ids of the runs that anything was told of."""
    return {orjson.loads(value)["run_id"] for _, value in _records(appends, "runs") if value is not None}


def outcome(appends: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what became of everything: results and errors by run, and what was sent, each record once.

    Headers are left out: some may be added, and those of an event are compared where somebody receives it.
    """
    results = [orjson.loads(value) for _, value in _records(appends, "results") if value is not None]
    errors = {one["run_id"]: one["error"] or {"type": None, "message": None} for one in results}
    return {
        "results": sorted(({name: one[name] for name in _TOLD} for one in results), key=str),
        "errors": {run: (one["type"], one["message"]) for run, one in errors.items()},
        "sent": {topic: set(_records(appends, topic)) for topic in _SENT},
    }


def _records(appends: Sequence[Mapping[str, Any]], topic: str) -> Iterator[tuple[bytes | None, bytes | None]]:
    for one in appends:
        if one["topic"] == topic:
            for record in one["records"]:
                key, value, _ = _entry(record)
                yield key, value


def _without_files() -> Any:
    return mock.patch("traceback.format_exception", return_value=["Traceback …"])


def _entry(record: Sequence[Any]) -> Entry:
    key, value, headers = record
    return Entry(journal.field_bytes(key), journal.field_bytes(value), journal.field_headers(headers))


def _described(one: Entry) -> list[Any]:
    return [journal.bytes_field(one.key), journal.bytes_field(one.value), journal.headers_field(one.headers)]
