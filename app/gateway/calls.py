"""Starting, resuming, cancelling and retrying runs over HTTP. Each is an event on one of Headgate's own topics, so it
is durable before the answer, and any Kafka client can do the same.
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Any, Final, Protocol
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from app.gateway import events, schemas
from app.gateway.errors import JSON, Problem, not_found
from app.gateway.limits import MOST_WAITING, Body, rate_limited
from app.gateway.patience import patience
from app.kafka.producer import MaybeAccepted, NotAccepted
from topics import codec, fields, keys, reserved
from topics.malformed import Malformed

ROUTE: Final = "/api/v1/workflows/{workflow_id}/call"
_BEFORE, _AFTER = ROUTE.split("{workflow_id}")
USUAL_WAIT: Final = "10s"
LONGEST_SECONDS: Final = 60.0
FIRST_LOOK_SECONDS: Final = 0.1
"""After which a call with an Idempotency-Key asks the read model whether the run ended before. As a rule its result
comes sooner: to look it up for each call cost as much as all else of it."""
SOURCE: Final = "headgate/gateway"
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?", re.ASCII)
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}

router = APIRouter()


class Expected(Protocol):
    """The result that a call waits for; it is heard of once `listening` is set."""

    @property
    def result(self) -> "asyncio.Future[bytes]": ...
    @property
    def listening(self) -> asyncio.Event: ...


class Answers(Protocol):
    """Who hears of results at once (app.kafka.answers)."""

    def expected(self, run_id: str) -> AbstractContextManager[Expected]:
        """Look out for the run's result record within the block."""
        ...


def workflow_of(path: str) -> str | None:
    """Return the workflow that a request on `path` calls, None where it calls none."""
    if path.startswith(_BEFORE) and path.endswith(_AFTER):
        workflow_id = path[len(_BEFORE) : -len(_AFTER)]
        return workflow_id if workflow_id and "/" not in workflow_id else None
    return None


@router.post(
    ROUTE,
    status_code=200,
    responses={200: {"model": schemas.Result}, 202: {"model": schemas.Started}, **schemas.CALL_ERRORS},
)
async def call_workflow(
    request: Request,
    workflow_id: str,
    wait: Annotated[
        str, Query(description="How long to wait for the result: 500ms, 10s, 1m; 0 for not at all.")
    ] = USUAL_WAIT,
) -> Response:
    """Start a run with the body as its event's data, and answer with its result, or with its address when that takes
    longer. Equal Idempotency-Keys are one run.
    """
    seconds = _seconds(wait)
    gateway = request.app.state.gateway
    filtered = _filtered(gateway.workflows.get(workflow_id), workflow_id)
    given, data = await _body(request, empty=False)
    topic = reserved.start_topic(workflow_id)
    event_id = _event_id(given, topic)
    run_id = keys.run_id(workflow_id, keys.event_digest(SOURCE, None, event_id))
    if not seconds or gateway.flight.waiting >= MOST_WAITING:
        await _produce(request, given, topic, data, event_id=event_id)
        return _started(gateway, run_id, event_id, filtered=filtered)
    with (
        gateway.flight.wait(),
        patience(request, seconds=seconds, stopping=gateway.stopping) as over,
        gateway.answers.expected(run_id) as expected,
    ):
        if not expected.listening.is_set():
            listening = asyncio.create_task(expected.listening.wait())
            await asyncio.wait({listening, over}, return_when=asyncio.FIRST_COMPLETED)
            listening.cancel()
        # Whoever listens or not: the run starts before anything is answered. The producer has its own patience.
        await _produce(request, given, topic, data, event_id=event_id)
        result = await _result(gateway, run_id, expected.result, over, again=given.idempotency_key is not None)
    if result is not None:
        return Response(result, media_type=JSON)
    return _started(gateway, run_id, event_id, filtered=filtered)


@router.post(
    "/api/v1/runs/{run_id}/resume/{step_key:path}",
    status_code=202,
    responses={202: {"model": schemas.Taken}, **schemas.CALL_ERRORS},
)
async def resume_run(request: Request, run_id: str, step_key: str) -> Response:
    """Resume a suspended step with the body as its value. The first one counts; one that waits no more ignores it."""
    return await _ask(request, run_id, reserved.resume_topic(run_id, step_key), None, empty=False)


@router.post(
    "/api/v1/runs/{run_id}/cancel",
    status_code=202,
    responses={202: {"model": schemas.Taken}, **schemas.CALL_ERRORS},
)
async def cancel_run(request: Request, run_id: str) -> Response:
    """Cancel a run, wherever it is. One that has ended stays as it is."""
    return await _ask(request, run_id, reserved.CANCEL, run_id, empty=True)


@router.post(
    "/api/v1/runs/{run_id}/retry",
    status_code=202,
    responses={202: {"model": schemas.Taken}, **schemas.CALL_ERRORS},
)
async def retry_run(request: Request, run_id: str) -> Response:
    """Let a stuck run go on, by the code that is loaded now. One that is not stuck stays as it is."""
    return await _ask(request, run_id, reserved.RETRY, run_id, empty=True)


async def _result(
    gateway: Any, run_id: str, heard: "asyncio.Future[bytes]", over: "asyncio.Future[None]", *, again: bool
) -> bytes | None:
    """Return the run's result as soon as it is heard, None when waiting is over. With `again` it may have ended before
    anybody listened: what is not heard soon is looked up, now and then, for the read model may be behind.
    """
    pause = FIRST_LOOK_SECONDS if again else None
    waiting: set[asyncio.Future[Any]] = {heard, over}
    while True:
        done, _ = await asyncio.wait(waiting, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        if heard in done:
            return heard.result()
        if done or pause is None:
            return None
        ended = await gateway.read_model.run(run_id)
        if ended is not None and b'"result":' in ended[0]:
            record: bytes = ended[0]
            return record
        pause *= 4


async def _ask(request: Request, run_id: str, topic: str, key: str | None, *, empty: bool) -> Response:
    """Write the event that asks something of a run; its body may be `empty`. Raises Problem."""
    if not keys.is_run_id(run_id):
        raise Problem(
            422,
            "wrong_parameters",
            f"{run_id!r} is no run id: <workflow id>:<24 hexadecimal digits>.",
            remedy="GET /api/v1/runs lists those of runs.",
            details=[{"pointer": "/path/run_id", "issue": "not a run id"}],
        )
    given, data = await _body(request, empty=empty)
    event_id = _event_id(given, topic, run_id)
    await _produce(request, given, topic, data, event_id=event_id, key=key)
    return Response(orjson.dumps({"event_id": event_id}), 202, media_type=JSON)


def _event_id(given: events.Request, *what: str) -> str:
    """Return a new id, or the one of this Idempotency-Key: equal keys are one event only where `what` is equal too,
    for the engine compares ids whatever the topic.
    """
    if given.idempotency_key is None:
        return next(events.fresh_ids(1))
    return events.derived_id("\n".join((*what, given.idempotency_key)), None)


async def _body(request: Request, *, empty: bool) -> tuple[events.Request, Any]:
    """Return the request's headers and the JSON of its body. Raises Problem."""
    gateway = request.app.state.gateway
    headers = dict(request.scope["headers"])
    given = events.Request.of(headers)
    if given.content_type != events.PLAIN:
        raise Problem(
            415, "unsupported_media_type", f"The body is {given.content_type}.", remedy=f"Send {events.PLAIN}."
        )
    body = Body(request.receive, gateway.flight, gateway.settings.max_body_bytes)
    try:
        raw = await body.read(headers.get(b"content-length"))
    finally:
        body.close()
    if empty and not raw.strip():
        return given, None
    return given, events.parse(raw)


async def _produce(
    request: Request, given: events.Request, topic: str, data: Any, *, event_id: str, key: str | None = None
) -> None:
    """Write one event and return once Kafka has acknowledged it. Raises Problem."""
    gateway, bucket = request.app.state.gateway, request.app.state.bucket
    if bucket is not None and (seconds := bucket.take(1)):
        raise rate_limited(seconds)
    try:
        record_key, value, headers = codec.produce_form(
            topic,
            data,
            event_id=event_id,
            key=fields.checked_key(key, "the run id"),
            source=SOURCE,
            traceparent=given.traceparent,
        )
    except Malformed as wrong:
        raise Problem(
            422,
            "wrong_fields",
            "The body cannot be taken.",
            remedy=wrong.remedy,
            details=[{"pointer": "", "issue": wrong.reason}],
        ) from None
    most = min(gateway.limits.event_bytes, events.MOST_BYTES)
    if len(value) > most:
        raise Problem(
            413,
            "event_too_large",
            f"The body makes an event of {len(value)} bytes, limits.event_bytes allows {most}.",
            remedy="Send the large part elsewhere and its address here, or raise limits.event_bytes.",
        )
    try:
        await gateway.producer.produce([(record_key, event_id, value, headers)])
    except NotAccepted as error:
        raise events.unavailable(
            "kafka_unavailable", f"{error} Nothing of this request was taken.", "", error.retry_after_seconds
        ) from error
    except MaybeAccepted as error:
        remedy = " Repeat it with the same Idempotency-Key: equal keys are one event."
        message = f"{error} The event of this request may or may not have been accepted."
        raise events.unavailable("kafka_no_answer", message, remedy, error.retry_after_seconds) from error


def _filtered(announced: Mapping[str, Any] | None, workflow_id: str) -> bool:
    """Say whether a filter, which only workers have, decides on the call. Raises Problem where it cannot be called."""
    if announced is None:
        remedy = "GET /api/v1/workflows lists those that are known; a worker that loads it announces it."
        raise not_found("workflow", workflow_id, remedy)
    size = announced.get("batch_size")
    if type(size) is int and size > 1:
        raise Problem(
            422,
            "workflow_batched",
            f"Workflow {workflow_id!r} gathers up to {size} events for one run, whose id is that of its first: a call "
            "would wait for a run that there may never be.",
            remedy=f"Send the event to POST /api/v1/events on the topic {reserved.start_topic(workflow_id)!r}, which "
            "joins the batch, or call a workflow of batch_size=1.",
        )
    return bool(announced.get("has_filter"))


def _started(gateway: Any, run_id: str, event_id: str, *, filtered: bool) -> Response:
    if not filtered:  # else there may be none: its address is then 404
        gateway.accepted.note(run_id, event_id)
    address = f"/api/v1/runs/{quote(run_id, safe=':')}"
    said = {"run_id": run_id, "run": address, "event_id": event_id, "filter_decides": filtered}
    return Response(orjson.dumps(said), 202, {"Location": address}, JSON)


def _seconds(text: str) -> float:
    """Return a duration in seconds. Raises Problem."""
    found = _DURATION.fullmatch(text)
    seconds = -1.0 if found is None else float(found[1]) * _UNITS[found[2]]
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise Problem(
            422,
            "wrong_parameters",
            f"wait={text!r} is not a time between 0 and {LONGEST_SECONDS:g} s.",
            remedy="Write it as 500ms, 10s or 1m; a run that takes longer is asked for at the address in the answer.",
            details=[{"pointer": "/query/wait", "issue": "not a time that a request may wait"}],
        )
    return seconds
