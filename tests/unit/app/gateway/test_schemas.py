"""The described shapes have the fields of the records that they describe."""

import orjson

from app.gateway import fields, schemas
from topics import announcement


def test_a_workflow_has_the_fields_of_its_announcement() -> None:
    announced = announcement.workflow_announced(
        workflow_id="w",
        version="1",
        triggers=["a"],
        batch_size=1,
        batch_timeout_seconds=None,
        batch_by="workflow",
        order="key",
        max_retries=3,
        timeout_seconds=None,
        has_filter=False,
        description="",
        schema=None,
        announced_at_ms=0,
        announced_by="a",
        schedule={"cron": "@daily", "timezone": "UTC", "catch_up": "once"},
    )
    described = {info.alias or name for name, info in schemas.Workflow.model_fields.items()}
    found = orjson.loads(announced.value)
    assert described == set(found)
    assert set(schemas.Schedule.model_fields) == set(found["schedule"])


def test_the_events_have_the_fields_that_are_taken() -> None:
    assert set(schemas.Event.model_fields) == fields.FORM
    assert set(schemas.NamedEvent.model_fields) == fields.NAMED_FORM
