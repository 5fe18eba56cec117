from typing import Any

import orjson
import pytest

from topics import facts, keys
from topics.codec import decode
from topics.envelope import Envelope

RUN = "charge:0123456789abcdef01234567"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-0123456789abcdef-01"
AT = 1_769_860_800_123
AT_TEXT = "2026-01-31T12:00:00.123Z"


def event(offset: int = 17) -> Envelope:
    value = b'{"topic": "orders/created", "data": 1}'
    return decode(value, None, [], partition=3, offset=offset, timestamp_ms=AT, max_bytes=None)


FIELDS: dict[str, Any] = {
    "run_id": RUN,
    "workflow_id": "charge",
    "workflow_version": "2",
    "status": facts.RunStatus.COMPLETED,
    "result_json": b'{"ok": true}',
    "error": None,
    "events": [event()],
    "key": "c-7",
    "started_at_ms": AT,
    "finished_at_ms": AT + 1000,
    "attempts": 1,
}


def result(**given: Any) -> Any:
    return orjson.loads(facts.result_value(**(FIELDS | given)))


def test_a_result_has_the_promised_fields() -> None:
    assert result() == {
        "run_id": RUN,
        "workflow_id": "charge",
        "workflow_version": "2",
        "status": "completed",
        "result": {"ok": True},
        "error": None,
        "events": [{"id": "3-17", "topic": "orders/created", "partition": 3, "offset": 17}],
        "key": "c-7",
        "started_at": AT_TEXT,
        "finished_at": "2026-01-31T12:00:01.123Z",
        "attempts": 1,
    }


@pytest.mark.parametrize("text", ["c-7", "", 'a "quoted" \\ one', "caf\u00e9 \u540d\n\x00", "%b %d {} 100%"])
def test_the_result_of_one_event_is_written_as_json_is_whatever_its_texts_are(text: str) -> None:
    one = event()._replace(id=text or "x", topic=text or "x", partition=-1, offset=2**40)
    given = {"workflow_id": text, "workflow_version": text, "key": text or None, "attempts": 3}
    written = facts.result_value(**(FIELDS | given | {"events": [one], "result_json": b'{"a": "%b"}'}))
    assert written == orjson.dumps(
        {
            "run_id": RUN,
            "workflow_id": text,
            "workflow_version": text,
            "status": "completed",
            "result": orjson.Fragment(b'{"a": "%b"}'),
            "error": None,
            "events": [{"id": one.id, "topic": one.topic, "partition": -1, "offset": 2**40}],
            "key": text or None,
            "started_at": AT_TEXT,
            "finished_at": "2026-01-31T12:00:01.123Z",
            "attempts": 3,
        }
    )


def test_the_result_of_a_batch_names_each_of_its_events() -> None:
    assert [found["offset"] for found in result(events=[event(1), event(5)])["events"]] == [1, 5]


def test_a_failed_run_has_its_error_and_a_null_result() -> None:
    error = facts.error_of("ValueError", "no stock", "Traceback …")
    found = result(status=facts.RunStatus.FAILED, result_json=b"null", error=error)
    assert (found["status"], found["result"]) == ("failed", None)
    assert found["error"] == {"type": "ValueError", "message": "no stock", "traceback": "Traceback …"}


def test_the_headers_of_a_result_make_it_a_cloud_event() -> None:
    headers = facts.result_headers(RUN.encode(), facts.shared_headers("charge", "completed", AT), PARENT)
    assert len(headers) == 7
    assert dict(headers) == {
        "ce_specversion": b"1.0",
        "ce_id": RUN.encode(),
        "ce_source": b"headgate/charge",
        "ce_type": b"headgate.run.completed",
        "ce_time": AT_TEXT.encode(),
        "content-type": b"application/json",
        "traceparent": TRACE.encode(),
    }


def test_a_result_without_a_parent_begins_a_trace_of_its_own() -> None:
    assert facts.result_trace(RUN.encode(), None) == keys.traceparent_of(None, "0123456789abcdef01234567").encode()


def test_a_result_can_be_sent_on_as_an_event_once_it_has_a_topic() -> None:
    headers = facts.result_headers(RUN.encode(), facts.shared_headers("charge", "completed", AT), PARENT)
    found = decode(
        b"{}", RUN.encode(), [*headers, ("topic", b"runs/done")], partition=0, offset=0, timestamp_ms=0, max_bytes=None
    )
    assert (found.id, found.source, found.event_type) == (RUN, "headgate/charge", "headgate.run.completed")


def test_facts_of_runs_are_in_the_past_tense_and_keyed_by_run() -> None:
    error = facts.error_of("ValueError", "no stock")
    records = [
        facts.run_started(run_id=RUN, workflow_id="charge", workflow_version="2", at_ms=AT, key=None, events=[event()]),
        facts.run_retried(run_id=RUN, workflow_id="charge", at_ms=AT, attempt=1, error=error, retry_at_ms=AT + 1000),
        facts.run_finished(
            run_id=RUN, workflow_id="charge", at_ms=AT, status=facts.RunStatus.FAILED, attempts=4, key=None, error=error
        ),
    ]
    head = {"run_id": RUN, "workflow_id": "charge", "at": AT_TEXT}
    assert {record.key for record in records} == {RUN.encode()}
    assert [orjson.loads(record.value) for record in records] == [
        {
            "fact": "run_started",
            **head,
            "workflow_version": "2",
            "key": None,
            "events": [{"id": "3-17", "topic": "orders/created", "partition": 3, "offset": 17}],
        },
        {"fact": "run_retried", **head, "attempt": 1, "error": error, "retry_at": "2026-01-31T12:00:01.123Z"},
        {"fact": "run_finished", **head, "status": "failed", "attempts": 4, "key": None, "error": error},
    ]


def test_a_step_is_told_with_the_events_that_it_received_if_there_are_any() -> None:
    fields: dict[str, Any] = {"run_id": RUN, "workflow_id": "charge", "at_ms": AT, "key": "paid", "kind": "await"}
    fields |= {"what": "w", "asked_at_ms": AT, "started_at_ms": AT, "finished_at_ms": AT, "attempts": 0, "error": None}
    told = [orjson.loads(facts.step_finished(**fields, received=given).value) for given in ([], [event()])]
    assert "events" not in told[0]
    assert told[1]["events"] == [{"id": "3-17", "topic": "orders/created", "partition": 3, "offset": 17}]


def test_a_step_whose_function_takes_its_time_is_told_with_when_it_began() -> None:
    record = facts.step_started(
        run_id=RUN,
        workflow_id="charge",
        at_ms=AT,
        key="call",
        kind="run",
        what="charge_card",
        attempt=2,
        asked_at_ms=AT - 2_000,
        started_at_ms=AT - 1_000,
    )
    assert orjson.loads(record.value) == {
        "fact": "step_started",
        "run_id": RUN,
        "workflow_id": "charge",
        "at": AT_TEXT,
        "step": "call",
        "kind": "run",
        "what": "charge_card",
        "attempt": 2,
        "asked_at": "2026-01-31T11:59:58.123Z",
        "started_at": "2026-01-31T11:59:59.123Z",
    }


def test_a_step_that_failed_once_is_told_as_what_it_is() -> None:
    record = facts.step_retried(
        run_id=RUN,
        workflow_id="charge",
        at_ms=AT,
        key="call",
        attempt=1,
        error=facts.error_of("ValueError", "no stock"),
        retry_at_ms=AT + 1000,
        kind="run",
        what="charge_card",
        asked_at_ms=AT,
    )
    assert orjson.loads(record.value) == {
        "fact": "step_retried",
        "run_id": RUN,
        "workflow_id": "charge",
        "at": AT_TEXT,
        "step": "call",
        "attempt": 1,
        "error": {"type": "ValueError", "message": "no stock", "traceback": None},
        "retry_at": "2026-01-31T12:00:01.123Z",
        "kind": "run",
        "what": "charge_card",
        "asked_at": AT_TEXT,
    }
