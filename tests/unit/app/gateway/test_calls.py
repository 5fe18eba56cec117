"""app.gateway.calls: runs that are started, resumed, cancelled and retried over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest

from app.gateway import calls, server
from app.gateway.limits import MOST_WAITING
from app.kafka.producer import MaybeAccepted, NotAccepted
from app.settings import GatewaySettings
from topics import codec, keys

JSON = {"content-type": "application/json"}
RUN = "charge:0123456789abcdef01234567"
RESULT = orjson.dumps({"run_id": "charge:1", "status": "completed", "result": {"charged": 7}})


def decoded(served: Any) -> Any:
    """The one event that was produced, as its reader sees it."""
    ((key, _, value, headers),) = served.producer.written
    return codec.decode(value, key, headers, partition=0, offset=0, timestamp_ms=0, max_bytes=None)


async def test_a_call_starts_a_run_and_answers_with_its_result(serve: Any, announced: Callable[..., Any]) -> None:
    async with serve() as served:
        await served.workflows.take([announced("charge")])
        served.answers.results["charge"] = RESULT
        answer = await served.client.post("/api/v1/workflows/charge/call?wait=5s", content=b'{"id": 7}', headers=JSON)
        assert (answer.status_code, answer.content) == (200, RESULT)
        event = decoded(served)
        assert (event.topic, event.data, event.source) == ("headgate/start/charge", {"id": 7}, "headgate/gateway")
        assert served.answers.waiting == []


async def test_a_run_that_takes_longer_is_told_by_its_address(serve: Any, announced: Callable[..., Any]) -> None:
    async with serve() as served:
        await served.workflows.take([announced("charge")])
        answer = await served.client.post("/api/v1/workflows/charge/call?wait=10ms", content=b"null", headers=JSON)
        run_id = keys.run_id("charge", keys.digest_of(decoded(served)))
        address = f"/api/v1/runs/{run_id}"
        assert answer.status_code == 202
        event_id = decoded(served).id
        assert answer.json() == {"run_id": run_id, "run": address, "event_id": event_id, "filter_decides": False}
        assert answer.headers["location"] == address
        assert served.answers.waiting == []


@pytest.mark.parametrize("wait", ["0", "10ms"])
async def test_a_call_whose_run_a_filter_may_refuse_says_so_and_names_its_event(
    serve: Any, announced: Callable[..., Any], wait: str
) -> None:
    async with serve() as served:
        await served.workflows.take([announced("charge", has_filter=True)])
        answer = await served.client.post(f"/api/v1/workflows/charge/call?wait={wait}", content=b"1", headers=JSON)
        assert answer.status_code == 202
        assert (answer.json()["filter_decides"], answer.json()["event_id"]) == (True, decoded(served).id)


@pytest.mark.parametrize("wait", ["0", "10ms"])
async def test_the_address_of_a_run_that_nothing_is_told_of_yet_is_there(
    serve: Any, announced: Callable[..., Any], wait: str
) -> None:
    async with serve() as served:
        await served.workflows.take([announced("charge")])
        called = await served.client.post(f"/api/v1/workflows/charge/call?wait={wait}", content=b"1", headers=JSON)
        shown = await served.client.get(called.headers["location"])
        assert (shown.status_code, shown.json()["run"]["status"]) == (200, "accepted")
        assert (shown.json()["run"]["run_id"], shown.json()["run"]["event_id"]) == (
            called.json()["run_id"],
            decoded(served).id,
        )
        assert (shown.json()["steps"], shown.json()["facts"]) == ([], [])


async def test_the_address_of_a_run_that_a_filter_may_refuse_is_404_and_says_who_knows(
    serve: Any, announced: Callable[..., Any]
) -> None:
    async with serve() as served:
        await served.workflows.take([announced("charge", has_filter=True)])
        called = await served.client.post("/api/v1/workflows/charge/call?wait=0", content=b"1", headers=JSON)
        shown = await served.client.get(called.headers["location"])
        assert (shown.status_code, shown.json()["error"]["code"]) == (404, "run_not_found")
        assert "a filter refused it" in shown.json()["error"]["remedy"]


@pytest.mark.parametrize("wait", ["0", "10ms"])
async def test_a_workflow_that_gathers_batches_is_not_called(
    serve: Any, announced: Callable[..., Any], wait: str
) -> None:
    async with serve() as served:
        await served.workflows.take([announced("charge", batch_size=2)])
        answer = await served.client.post(f"/api/v1/workflows/charge/call?wait={wait}", content=b"1", headers=JSON)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (422, "workflow_batched")
        assert "'charge' gathers up to 2 events" in error["message"]
        assert "'headgate/start/charge'" in error["remedy"]
        assert served.producer.written == []


async def test_a_call_that_waits_for_nothing_asks_nobody(serve: Any, announced: Callable[..., Any]) -> None:
    async with serve() as served:
        await served.workflows.take([announced("charge")])
        served.answers.results["charge"] = RESULT
        answer = await served.client.post("/api/v1/workflows/charge/call?wait=0", content=b"1", headers=JSON)
        assert answer.status_code == 202


async def test_equal_idempotency_keys_are_one_run_of_one_workflow(serve: Any, announced: Callable[..., Any]) -> None:
    async with serve() as served:
        await served.workflows.take([announced("charge"), announced("mail")])
        given = JSON | {"idempotency-key": "order-7"}
        runs = [
            (await served.client.post(f"/api/v1/workflows/{one}/call?wait=0", content=b"1", headers=given)).json()
            for one in ("charge", "charge", "mail")
        ]
        assert runs[0] == runs[1]
        assert runs[2]["run_id"].partition(":")[2] != runs[0]["run_id"].partition(":")[2]


async def test_a_repeated_call_of_a_run_that_has_ended_gets_its_result(serve: Any, announced: Any) -> None:
    async with serve() as served:
        await served.workflows.take([announced("charge")])
        given = JSON | {"idempotency-key": "order-7"}
        first = await served.client.post("/api/v1/workflows/charge/call?wait=0", content=b"1", headers=given)
        served.read_model.records[first.json()["run_id"]] = (RESULT, [])
        again = await served.client.post("/api/v1/workflows/charge/call", content=b"1", headers=given)
        assert (again.status_code, again.content) == (200, RESULT)


async def test_a_repeated_call_is_answered_once_the_read_model_has_the_result(
    serve: Any, announced: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "FIRST_LOOK_SECONDS", 0.001)
    async with serve() as served, asyncio.timeout(10):
        await served.workflows.take([announced("charge")])
        given = JSON | {"idempotency-key": "order-7"}
        asked = asyncio.create_task(
            served.client.post("/api/v1/workflows/charge/call?wait=60s", content=b"1", headers=given)
        )
        while len(served.read_model.looked) < 2:  # noqa: ASYNC110 nobody tells
            await asyncio.sleep(0)
        served.read_model.records[served.read_model.looked[0]] = (RESULT, [])
        answer = await asked
        assert (answer.status_code, answer.content) == (200, RESULT)


async def test_a_call_whose_result_is_heard_asks_no_read_model(serve: Any, announced: Any) -> None:
    async with serve() as served:
        await served.workflows.take([announced("charge")])
        served.answers.results["charge"] = RESULT
        given = JSON | {"idempotency-key": "order-7"}
        answer = await served.client.post("/api/v1/workflows/charge/call", content=b"1", headers=given)
        assert (answer.status_code, served.read_model.looked) == (200, [])


async def test_a_workflow_that_nobody_announced_is_not_called(serve: Any) -> None:
    async with serve() as served:
        answer = await served.client.post("/api/v1/workflows/charge/call", content=b"1", headers=JSON)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "workflow_not_found")
        assert served.producer.written == []


@pytest.mark.parametrize("wait", ["soon", "-1s", "61s", "2h", "1e3", ""])
async def test_a_wait_that_is_no_time_is_refused(serve: Any, announced: Callable[..., Any], wait: str) -> None:
    async with serve() as served:
        await served.workflows.take([announced("charge")])
        answer = await served.client.post(f"/api/v1/workflows/charge/call?wait={wait}", content=b"1", headers=JSON)
        assert (answer.status_code, answer.json()["error"]["details"][0]["pointer"]) == (422, "/query/wait")
        assert served.producer.written == []


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"no json", {}, 400),
        (b"1", {"content-type": "text/plain"}, 415),
        (b"1", {"content-type": "application/cloudevents+json"}, 415),
        (b"1", {"idempotency-key": ""}, 400),
        (b"[" * 300 + b"]" * 300, {}, 422),
        (b'"' + b"x" * 2_000_000 + b'"', {}, 413),
        (b"1", {"authorization": "Bearer wrong"}, 401),
    ],
)
async def test_a_call_that_cannot_be_taken_says_why(
    serve: Any, announced: Callable[..., Any], content: bytes, headers: dict[str, str], status: int
) -> None:
    async with serve(max_body_bytes=4_000_000) as served:
        await served.workflows.take([announced("charge")])
        answer = await served.client.post("/api/v1/workflows/charge/call", content=content, headers=JSON | headers)
        assert answer.status_code == status
        assert answer.json()["error"]["remedy"]
        assert served.producer.written == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotAccepted("Kafka is away.", retry_after_seconds=3), "kafka_unavailable"),
        (MaybeAccepted("No answer.", retry_after_seconds=3), "kafka_no_answer"),
    ],
)
async def test_a_call_while_kafka_is_away_may_be_repeated(
    serve: Any, announced: Callable[..., Any], error: Exception, code: str
) -> None:
    async with serve() as served:
        await served.workflows.take([announced("charge")])
        served.producer.error = error
        answer = await served.client.post("/api/v1/workflows/charge/call", content=b"1", headers=JSON)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, code)
        assert answer.headers["retry-after"] == "3"
        assert served.answers.waiting == []


async def test_a_call_for_which_nobody_listens_in_time_is_started_all_the_same(serve: Any, announced: Any) -> None:
    async with serve() as served:
        await served.workflows.take([announced("charge")])
        served.answers.deaf = True
        answer = await served.client.post("/api/v1/workflows/charge/call?wait=1ms", content=b"1", headers=JSON)
        assert answer.status_code == 202
        assert answer.json()["run_id"] == keys.run_id("charge", keys.digest_of(decoded(served)))


async def test_a_call_for_which_nobody_listens_says_that_kafka_is_away(serve: Any, announced: Any) -> None:
    async with serve() as served:
        await served.workflows.take([announced("charge")])
        served.answers.deaf, served.producer.error = True, NotAccepted("Kafka is away.", retry_after_seconds=3)
        answer = await served.client.post("/api/v1/workflows/charge/call?wait=1ms", content=b"1", headers=JSON)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "kafka_unavailable")


async def test_calls_count_against_the_rate_limit(serve: Any, announced: Callable[..., Any]) -> None:
    async with serve(rate_limit_per_second=1) as served:
        await served.workflows.take([announced("charge")])
        statuses = [
            (await served.client.post("/api/v1/workflows/charge/call?wait=0", content=b"1", headers=JSON)).status_code
            for _ in range(2)
        ]
        assert statuses == [202, 429]


async def test_a_suspended_step_is_resumed_by_an_event(serve: Any) -> None:
    async with serve() as served:
        path = f"/api/v1/runs/{RUN}/resume/approval"
        answer = await served.client.post(path, content=b'{"by": "kim"}', headers=JSON)
        event = decoded(served)
        assert answer.status_code == 202
        assert answer.json() == {"event_id": event.id}
        assert (event.topic, event.data, event.key) == (f"headgate/resume/{RUN}/approval", {"by": "kim"}, None)


async def test_a_stuck_run_is_retried_by_an_event_with_its_id_as_key(serve: Any) -> None:
    async with serve() as served:
        answer = await served.client.post(f"/api/v1/runs/{RUN}/retry")
        event = decoded(served)
        assert (answer.status_code, event.topic, event.key) == (202, "headgate/retry", RUN)
        assert answer.json() == {"event_id": event.id}


async def test_a_run_is_cancelled_by_an_event_with_its_id_as_key(serve: Any) -> None:
    async with serve() as served:
        answer = await served.client.post(f"/api/v1/runs/{RUN}/cancel")
        event = decoded(served)
        assert (answer.status_code, event.topic, event.key) == (202, "headgate/cancel", RUN)


OTHER = "charge:0123456789abcdef00000000"
ASKED = [
    f"/api/v1/runs/{RUN}/cancel",
    f"/api/v1/runs/{RUN}/retry",
    f"/api/v1/runs/{RUN}/resume/a",
    f"/api/v1/runs/{RUN}/resume/b",
    f"/api/v1/runs/{OTHER}/cancel",
    f"/api/v1/runs/{OTHER}/retry",
    f"/api/v1/runs/{OTHER}/resume/a",
    "/api/v1/workflows/charge/call?wait=0",
]


async def test_an_idempotency_key_is_one_event_of_what_is_asked_of_a_run(serve: Any, announced: Any) -> None:
    async with serve() as served:
        await served.workflows.take([announced("charge")])
        for path in ASKED * 2:
            await served.client.post(path, content=b"1", headers=JSON | {"idempotency-key": "k"})
        written = [event_id for _, event_id, _, _ in served.producer.written]
        assert len(set(written)) == len(ASKED)
        assert written == written[: len(ASKED)] * 2


@pytest.mark.parametrize("what", ["cancel", "retry", "resume/approval"])
@pytest.mark.parametrize("run_id", ["charge", "charge:abc", "x%0D%0Ay:0123456789abcdef01234567", "*"])
async def test_what_is_no_run_id_is_refused(serve: Any, what: str, run_id: str) -> None:
    async with serve() as served:
        answer = await served.client.post(f"/api/v1/runs/{run_id}/{what}", content=b"1", headers=JSON)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "wrong_parameters")
        assert answer.json()["error"]["details"] == [{"pointer": "/path/run_id", "issue": "not a run id"}]
        assert served.producer.written == []


async def test_a_strange_id_that_somebody_announced_writes_no_header(serve: Any, announced: Any) -> None:
    async with serve() as served:
        await served.workflows.take([announced("a\r\nX-Mine: 1")])
        answer = await served.client.post("/api/v1/workflows/a%0D%0AX-Mine:%201/call?wait=0", content=b"1")
        assert answer.status_code == 404
        assert "x-mine" not in answer.headers


async def test_above_a_bound_a_call_is_told_at_once_where_its_result_will_be(serve: Any, announced: Any) -> None:
    async with serve() as served:
        await served.workflows.take([announced("charge")])
        served.gateway.flight.waiting = MOST_WAITING
        answer = await served.client.post("/api/v1/workflows/charge/call?wait=60s", content=b"1", headers=JSON)
        assert (answer.status_code, len(served.producer.written)) == (202, 1)
        assert served.gateway.flight.waiting == MOST_WAITING


@asynccontextmanager
async def listening(served: Any) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The gateway behind a socket: its address, and what stops it."""
    stop = asyncio.Event()
    async with asyncio.timeout(10):
        with server.bind(GatewaySettings(port=0)) as listener:
            serving = asyncio.create_task(server.serve(served.app, listener, stop=stop))
            try:
                yield "http://{}:{}".format(*listener.getsockname()), stop
            finally:
                stop.set()
                await serving


@pytest.mark.parametrize("deaf", [False, True])
async def test_a_caller_that_leaves_is_forgotten(serve: Any, announced: Any, *, deaf: bool) -> None:
    async with serve() as served:
        await served.workflows.take([announced("charge")])
        served.answers.deaf = deaf
        async with listening(served) as (url, _), httpx.AsyncClient(headers=served.client.headers) as client:
            call = client.post(f"{url}/api/v1/workflows/charge/call?wait=60s", content=b"1", headers=JSON)
            asked = asyncio.create_task(call)
            while not served.answers.waiting:  # noqa: ASYNC110 nobody tells
                await asyncio.sleep(0.01)
            assert served.gateway.flight.waiting == 1
            asked.cancel()  # its connection is closed
            while served.gateway.flight.requests:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert (served.answers.waiting, served.gateway.flight.waiting) == ([], 0)


@pytest.mark.parametrize("deaf", [False, True])
async def test_calls_that_wait_when_the_gateway_stops_are_told_their_runs(
    serve: Any, announced: Any, *, deaf: bool
) -> None:
    async with serve() as served:
        await served.workflows.take([announced("charge")])
        served.answers.deaf = deaf
        async with listening(served) as (url, stop), httpx.AsyncClient(headers=served.client.headers) as client:
            call = client.post(f"{url}/api/v1/workflows/charge/call?wait=60s", content=b"1", headers=JSON)
            asked = asyncio.create_task(call)
            while not served.answers.waiting:  # noqa: ASYNC110 nobody tells
                await asyncio.sleep(0.01)
            stop.set()
            answer = await asked
        assert answer.status_code == 202
        assert answer.json()["run_id"] == keys.run_id("charge", keys.digest_of(decoded(served)))


@pytest.mark.parametrize(
    ("path", "workflow_id"),
    [
        ("/api/v1/workflows/charge/call", "charge"),
        ("/api/v1/workflows/call/call", "call"),
        ("/api/v1/workflows//call", None),
        ("/api/v1/workflows/call", None),
        ("/api/v1/workflows/a/b/call", None),
        ("/api/v1/workflows/charge/calls", None),
    ],
)
def test_a_path_calls_a_workflow_or_none(path: str, workflow_id: str | None) -> None:
    assert calls.workflow_of(path) == workflow_id
