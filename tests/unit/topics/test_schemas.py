from dataclasses import replace
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator, ValidationError

from headgate import workflow
from topics import announcement, facts, sources
from topics.catalog import CATALOG
from topics.codec import decode
from topics.letters import dead_letter
from topics.schemas import SCHEMAS

RUN = "charge:0123456789abcdef01234567"
EVENT = decode(b'{"topic": "a", "data": 1}', None, [], partition=3, offset=17, timestamp_ms=1, max_bytes=None)
ERROR = facts.error_of("ValueError", "no stock")


STATUS = sources.Status(
    id="tech-feed",
    kind="rss",
    state=sources.State.BACKING_OFF,
    since_ms=1,
    updated_at_ms=2,
    connected_at_ms=1,
    next_retry_at_ms=3,
    error=sources.Problem(kind="transient", reason="http_503", message="a.example answered 503", at_ms=1),
    last_error=sources.Problem(kind="transient", reason="http_503", message="a.example answered 503", at_ms=1),
    notes={"missed": 2},
    delivery="exactly-once",
)


@workflow(id="charge", trigger_on_event="orders/*", batch_size=10, batch_timeout_seconds=2, timeout=60)
async def charge(ctx: Any, payload: Any) -> None:
    """Charge the card."""


RECORDS = [
    (
        "results",
        facts.result_value(
            run_id=RUN,
            workflow_id="charge",
            workflow_version="1",
            status=facts.RunStatus.REJECTED,
            result_json=b"null",
            error=ERROR,
            events=[EVENT],
            key=None,
            started_at_ms=1,
            finished_at_ms=2,
            attempts=1,
        ),
    ),
    (
        "runs",
        facts.run_started(
            run_id=RUN, workflow_id="charge", workflow_version="1", at_ms=1, key="k", events=[EVENT]
        ).value,
    ),
    (
        "runs",
        facts.run_retried(run_id=RUN, workflow_id="charge", at_ms=1, attempt=1, error=ERROR, retry_at_ms=2).value,
    ),
    (
        "runs",
        facts.run_finished(
            run_id=RUN, workflow_id="charge", at_ms=1, status="completed", attempts=1, key=None, error=None
        ).value,
    ),
    (
        "runs",
        facts.step_started(
            run_id=RUN,
            workflow_id="charge",
            at_ms=1,
            key="call",
            kind="run",
            what="charge",
            attempt=1,
            asked_at_ms=1,
            started_at_ms=1,
        ).value,
    ),
    (
        "runs",
        facts.step_retried(
            run_id=RUN,
            workflow_id="charge",
            at_ms=1,
            key="call",
            attempt=1,
            error=ERROR,
            retry_at_ms=2,
            kind="run",
            what="charge",
            asked_at_ms=1,
        ).value,
    ),
    (
        "runs",
        facts.step_finished(
            run_id=RUN,
            workflow_id="charge",
            at_ms=1,
            key="paid",
            kind="await",
            what="wait_for_event topic='a' event_key=None",
            asked_at_ms=1,
            started_at_ms=1,
            finished_at_ms=2,
            attempts=0,
            error=None,
            received=[EVENT],
            children=facts.Children(101, [RUN]),
        ).value,
    ),
    (
        "dlq",
        dead_letter(
            code="not_json",
            reason="r",
            remedy="m",
            source_topic="t",
            partition=0,
            offset=0,
            timestamp_ms=0,
            key=None,
            value=b"\xff",
            headers=[("a", None), ("b", b"")],
            at_ms=0,
        ).value,
    ),
    ("workflows", b'{"id":"charge","retired_at":"2026-01-31T12:00:00.000Z"}'),
    (
        "triggers",
        sources.configured(
            sources.Spec(id="tech-feed", kind="rss", options={"url": "https://a.example"}, origin="file sources.yaml")
        ).value,
    ),
    (
        "cursors",
        sources.cursor_moved(
            "tech-feed", sources.Cursor(position=[1, None], epoch="7-0-1", kind="rss"), at_ms=1_700_000_000_000
        )[1],
    ),
    (
        "actions",
        sources.asked_to_send(sources.Message(id="m", source="chat", body={"text": "hi"}, expires_ms=1)).value,
    ),
    ("sources", sources.status_told(STATUS).value),
    (
        "workflows",
        announcement.workflows_loaded(
            instance_id="w1", process="p", workflows={"charge": "1"}, every_seconds=10.0, at_ms=0
        ).value,
    ),
    (
        "workflows",
        announcement.workflow_announced(
            workflow_id=charge.id,
            version=charge.version,
            triggers=charge.triggers,
            batch_size=charge.batch_size,
            batch_timeout_seconds=charge.batch_timeout_seconds,
            batch_by=charge.batch_by,
            order=charge.order,
            max_retries=charge.max_retries,
            timeout_seconds=charge.timeout_seconds,
            has_filter=charge.filter is not None,
            description=charge.description,
            schema=charge.schema,
            announced_at_ms=0,
            announced_by="worker-0",
        ).value,
    ),
]


OPTIONAL = {"step_retried": {"kind", "what", "asked_at"}, "step_finished": {"events", "children", "children_count"}}
"""What older records of these facts do not have."""


@pytest.mark.parametrize(("topic", "value"), RECORDS)
def test_what_the_builders_write_is_what_the_schemas_promise(topic: str, value: bytes) -> None:
    validator = Draft202012Validator(SCHEMAS[topic])
    record = orjson.loads(value)
    validator.validate(record)
    for name in record.keys() - OPTIONAL.get(str(record.get("fact")), set()):
        with pytest.raises(ValidationError):
            validator.validate({key: found for key, found in record.items() if key != name})
    with pytest.raises(ValidationError):
        validator.validate({**record, "more": 1})


def test_an_announcement_has_a_schedule_or_does_not_mention_it() -> None:
    validator = Draft202012Validator(SCHEMAS["workflows"])
    record = orjson.loads(dict(RECORDS)["workflows"])
    schedule = {"cron": "0 9 * * MON", "timezone": "Europe/Berlin", "catch_up": "all"}

    validator.validate(record | {"schedule": schedule})
    for name in schedule:
        with pytest.raises(ValidationError):
            validator.validate(record | {"schedule": schedule | {name: 1}})


def test_an_announcement_says_what_cancels_and_what_handles_failures_or_does_not_mention_it() -> None:
    validator = Draft202012Validator(SCHEMAS["workflows"])
    record = orjson.loads(dict(RECORDS)["workflows"])

    validator.validate(record | {"cancel_on": ["orders/cancelled"], "has_cancel_filter": True, "on_failure": "tell"})
    for wrong in ({"cancel_on": "orders/cancelled"}, {"on_failure": None}):
        with pytest.raises(ValidationError):
            validator.validate(record | wrong)


@pytest.mark.parametrize("state", list(sources.State))
def test_a_source_may_be_in_every_state_and_have_no_error(state: sources.State) -> None:
    record = orjson.loads(sources.status_told(replace(STATUS, state=state, error=None)).value)
    Draft202012Validator(SCHEMAS["sources"]).validate(record)
    with pytest.raises(ValidationError):
        Draft202012Validator(SCHEMAS["sources"]).validate(record | {"state": "well"})


def test_each_schema_is_a_schema_and_belongs_to_a_topic() -> None:
    assert set(SCHEMAS) <= set(CATALOG)
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


def test_the_announcement_carries_what_a_workflow_says_about_itself() -> None:
    record = orjson.loads(dict(RECORDS)["workflows"])
    assert record == {
        "id": "charge",
        "version": "1",
        "triggers": ["orders/*"],
        "batch_size": 10,
        "batch_timeout_seconds": 2.0,
        "batch_by": "workflow",
        "order": "key",
        "max_retries": 3,
        "timeout_seconds": 60.0,
        "has_filter": False,
        "description": "Charge the card.",
        "schema": None,
        "announced_at": "1970-01-01T00:00:00.000Z",
        "announced_by": "worker-0",
    }


@pytest.mark.parametrize(
    ("data", "shown"), [(None, {}), (b'{"sum": 7}', {"data": {"sum": 7}}), (b"null", {"data": None})]
)
def test_a_suspended_step_shows_its_data_and_others_have_none(data: bytes | None, shown: dict[str, Any]) -> None:
    told = orjson.loads(
        facts.step_waiting(
            run_id=RUN,
            workflow_id="charge",
            at_ms=1,
            key="ok?",
            kind="suspend",
            what="suspend",
            since_ms=1,
            until_ms=None,
            data_json=data,
        ).value
    )
    Draft202012Validator(SCHEMAS["runs"]).validate(told)
    assert {name: told[name] for name in told if name == "data"} == shown
