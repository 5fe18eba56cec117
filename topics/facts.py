"""What happened, as the public records of `results`, `runs` and `workflows`. Schemas: `topics.schemas`.

Builders return the value, or a `Record` with key and headers as well; `result_value` and `result_trace` are hot.
"""

from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from topics import keys
from topics.envelope import Envelope
from topics.timestamps import rfc3339

# What orjson writes has room for 4 KB, however little it is. Copied, it is as large as it is, in the same time.
_dumps = orjson.dumps
_Fragment = orjson.Fragment
MOST_CHILDREN: Final = 100
"""Run ids of a step's children that its facts name; all of them are counted."""


class RunStatus(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    """The function returned."""
    FAILED = "failed"
    """Its retries are used up, its time is over, or a limit was exceeded."""
    REJECTED = "rejected"
    """The function, or the type of its payload, refused the input."""
    CANCELLED = "cancelled"
    """Somebody asked for it."""


class RunFact(StrEnum):
    """What happened to a run that outlives one batch."""

    STARTED = "run_started"
    RETRIED = "run_retried"
    """An attempt failed; another one follows at `retry_at`."""
    FINISHED = "run_finished"
    STUCK = "run_stuck"
    """Its function no longer matches its steps; somebody has to decide."""
    RESUMED = "run_resumed"
    """A stuck run goes on."""
    STEP_WAITING = "step_waiting"
    """A step waits for something: time, an event, somebody's decision."""
    STEP_STARTED = "step_started"
    """A step's function has been executed for a second, and goes on. Of most steps their end is all that is told."""
    STEP_REFUSED = "step_refused"
    """The filter of a step's wait refused an event. Of each step the first few are told."""
    STEP_RETRIED = "step_retried"
    """An attempt of a step's function failed; another one follows at `retry_at`."""
    STEP_FINISHED = "step_finished"


class Record(NamedTuple):
    """A record to produce."""

    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]


class Children(NamedTuple):
    """The runs that a step started: how many, and the ids of the first `MOST_CHILDREN`, in their order."""

    total: int
    run_ids: Sequence[str]


def result_value(
    *,
    run_id: str,
    workflow_id: str,
    workflow_version: str,
    status: str,
    result_json: bytes,
    error: dict[str, Any] | None,
    events: Sequence[Envelope],
    key: str | None,
    started_at_ms: int,
    finished_at_ms: int,
    attempts: int,
) -> bytes:
    """Return the value of a result record; `result_json` is what the function returned, as JSON (b"null" for none)."""
    if error is None and len(events) == 1:  # nearly always, and in half the time
        event = events[0]
        before, place = _frame(workflow_id, workflow_version, status, event[3], event[11])
        after = _ends(started_at_ms, finished_at_ms, attempts)
        known = (_dumps(run_id), before, result_json, _dumps(event[0]), place, event[12], _dumps(key), after)
        return b'{"run_id":%b%b%b,"error":null,"events":[{"id":%b%b%d}],"key":%b%b' % known
    return b"%b" % _dumps(
        {
            "run_id": run_id,
            "workflow_id": workflow_id,
            "workflow_version": workflow_version,
            "status": status,
            "result": _Fragment(result_json),
            "error": error,
            "events": _positions(events),
            "key": key,
            "started_at": rfc3339(started_at_ms),
            "finished_at": rfc3339(finished_at_ms),
            "attempts": attempts,
        }
    )


@lru_cache(maxsize=4096)
def _frame(workflow_id: str, version: str, status: str, topic: str, partition: int) -> tuple[bytes, bytes]:
    """Return what stands in a result between the run's id and what the function returned, and behind an event's id."""
    about = _dumps({"workflow_id": workflow_id, "workflow_version": version, "status": status})
    place = _dumps({"topic": topic, "partition": partition})
    return b',%b,"result":' % about[1:-1], b',%b,"offset":' % place[1:-1]


@lru_cache(maxsize=4096)
def _ends(started_at_ms: int, finished_at_ms: int, attempts: int) -> bytes:
    times = {"started_at": rfc3339(started_at_ms), "finished_at": rfc3339(finished_at_ms), "attempts": attempts}
    return b",%b" % _dumps(times)[1:]


class SharedHeaders(NamedTuple):
    """Headers that all results of one workflow, status and millisecond share."""

    first: tuple[tuple[str, bytes], ...]
    time: tuple[str, bytes]


@lru_cache(maxsize=4096)
def shared_headers(workflow_id: str, status: str, finished_at_ms: int) -> SharedHeaders:
    """Return the shared headers of results, always the same object for the same arguments as long as they are used."""
    first = (
        ("ce_specversion", b"1.0"),
        ("ce_source", f"headgate/{workflow_id}".encode()),
        ("ce_type", f"headgate.run.{status}".encode()),
        ("content-type", b"application/json"),
    )
    return SharedHeaders(first, ("ce_time", rfc3339(finished_at_ms).encode()))


def result_headers(run_id: bytes, shared: SharedHeaders, parent: str | None) -> list[tuple[str, bytes]]:
    """Return the headers of a result record, which make it a CloudEvent in binary mode.

    `parent`: the `traceparent` of the run's first event. `app.kafka.encoder` writes the same ones, and encodes those
    that many results share once.
    """
    return [*shared.first, ("ce_id", run_id), shared.time, ("traceparent", result_trace(run_id, parent))]


def result_trace(run_id: bytes, parent: str | None) -> bytes:
    """Return the `traceparent` of a result."""
    digest = run_id[-2 * keys.DIGEST_BYTES :]
    if parent is None:  # nearly always, and a third of the time
        return b"00-%b%b-%b-01" % (digest, digest[:8], digest[:16])
    return keys.traceparent_of(parent, digest.decode()).encode()


def error_of(kind: str, message: str, traceback: str | None = None) -> dict[str, Any]:
    """Return the `error` of a result or a fact."""
    return {"type": kind, "message": message, "traceback": traceback}


def _positions(events: Sequence[Envelope]) -> list[dict[str, Any]]:
    return [{"id": e.id, "topic": e.topic, "partition": e.partition, "offset": e.offset} for e in events]


def _run_fact(fact: RunFact, run_id: str, workflow_id: str, at_ms: int, details: dict[str, Any]) -> Record:
    head = {"fact": fact.value, "run_id": run_id, "workflow_id": workflow_id, "at": rfc3339(at_ms)}
    return Record(run_id.encode(), b"%b" % _dumps(head | details), [("content-type", b"application/json")])


def run_started(
    *, run_id: str, workflow_id: str, workflow_version: str, at_ms: int, key: str | None, events: Sequence[Envelope]
) -> Record:
    """Return the fact that a run has started and did not finish at once."""
    details = {"workflow_version": workflow_version, "key": key, "events": _positions(events)}
    return _run_fact(RunFact.STARTED, run_id, workflow_id, at_ms, details)


def run_retried(
    *, run_id: str, workflow_id: str, at_ms: int, attempt: int, error: dict[str, Any], retry_at_ms: int
) -> Record:
    """Return the fact that attempt number `attempt` has failed and that another one follows."""
    details = {"attempt": attempt, "error": error, "retry_at": rfc3339(retry_at_ms)}
    return _run_fact(RunFact.RETRIED, run_id, workflow_id, at_ms, details)


def run_finished(
    *,
    run_id: str,
    workflow_id: str,
    at_ms: int,
    status: str,
    attempts: int,
    key: str | None,
    error: dict[str, Any] | None,
) -> Record:
    """Return the fact that a run has finished; its result is in `results`."""
    details = {"status": str(status), "attempts": attempts, "key": key, "error": error}
    return _run_fact(RunFact.FINISHED, run_id, workflow_id, at_ms, details)


def run_stuck(*, run_id: str, workflow_id: str, at_ms: int, attempt: int, error: dict[str, Any]) -> Record:
    """Return the fact that a run's function no longer matches its steps; `error` says where."""
    return _run_fact(RunFact.STUCK, run_id, workflow_id, at_ms, {"attempt": attempt, "error": error})


def run_resumed(*, run_id: str, workflow_id: str, at_ms: int) -> Record:
    """Return the fact that a stuck run goes on."""
    return _run_fact(RunFact.RESUMED, run_id, workflow_id, at_ms, {})


def step_waiting(
    *,
    run_id: str,
    workflow_id: str,
    at_ms: int,
    key: str,
    kind: str,
    what: str,
    since_ms: int,
    until_ms: int | None,
    data_json: bytes | None = None,
    events_since_ms: Sequence[int] = (),
    children: Children | None = None,
) -> Record:
    """Return the fact that step `key` waits for `what`; `until_ms` None for as long as it takes.

    `data_json` is what the author shows to whoever decides. `events_since_ms`: of each event that it waits for, in
    their order, from which append time on it counts. `children` are the runs that it started.
    """
    until = None if until_ms is None else rfc3339(until_ms)
    details: dict[str, Any] = {"step": key, "kind": kind, "what": what, "since": rfc3339(since_ms), "until": until}
    if data_json is not None:
        details["data"] = _Fragment(data_json)
    if events_since_ms:
        details["events_since"] = [rfc3339(one) for one in events_since_ms]
    if children is not None:
        details |= _shown_children(children)
    return _run_fact(RunFact.STEP_WAITING, run_id, workflow_id, at_ms, details)


def step_started(
    *,
    run_id: str,
    workflow_id: str,
    at_ms: int,
    key: str,
    kind: str,
    what: str,
    attempt: int,
    asked_at_ms: int,
    started_at_ms: int,
) -> Record:
    """Return the fact that attempt number `attempt` of a step's function began at `started_at_ms` and goes on."""
    details = {
        "step": key,
        "kind": kind,
        "what": what,
        "attempt": attempt,
        "asked_at": rfc3339(asked_at_ms),
        "started_at": rfc3339(started_at_ms),
    }
    return _run_fact(RunFact.STEP_STARTED, run_id, workflow_id, at_ms, details)


def step_refused(*, run_id: str, workflow_id: str, at_ms: int, key: str, refused: Sequence[Envelope]) -> Record:
    """Return the fact that the filter of step `key` refused these events."""
    return _run_fact(RunFact.STEP_REFUSED, run_id, workflow_id, at_ms, {"step": key, "events": _positions(refused)})


def step_retried(
    *,
    run_id: str,
    workflow_id: str,
    at_ms: int,
    key: str,
    attempt: int,
    error: dict[str, Any],
    retry_at_ms: int,
    kind: str,
    what: str,
    asked_at_ms: int,
) -> Record:
    """Return the fact that attempt number `attempt` of a step's function has failed and that another one follows."""
    details = {
        "step": key,
        "attempt": attempt,
        "error": error,
        "retry_at": rfc3339(retry_at_ms),
        "kind": kind,
        "what": what,
        "asked_at": rfc3339(asked_at_ms),
    }
    return _run_fact(RunFact.STEP_RETRIED, run_id, workflow_id, at_ms, details)


def step_finished(
    *,
    run_id: str,
    workflow_id: str,
    at_ms: int,
    key: str,
    kind: str,
    what: str,
    asked_at_ms: int,
    started_at_ms: int,
    finished_at_ms: int,
    attempts: int,
    error: dict[str, Any] | None,
    received: Sequence[Envelope] = (),
    children: Children | None = None,
) -> Record:
    """Return the fact that a step has come to something: a value, or `error`; `received` are the events it waited for.

    One that received none, or started no runs (`children`), does not mention them.
    """
    details: dict[str, Any] = {
        "step": key,
        "kind": kind,
        "what": what,
        "asked_at": rfc3339(asked_at_ms),
        "started_at": rfc3339(started_at_ms),
        "finished_at": rfc3339(finished_at_ms),
        "attempts": attempts,
        "error": error,
    }
    if received:
        details["events"] = _positions(received)
    if children is not None:
        details |= _shown_children(children)
    return _run_fact(RunFact.STEP_FINISHED, run_id, workflow_id, at_ms, details)


def _shown_children(children: Children) -> dict[str, Any]:
    return {"children": list(children.run_ids), "children_count": children.total}
