"""Notifications of Cloud Storage: what they tell, and ids that repetitions share."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base.services.listing import Change
from connectors.gcs.notifications import NotANotification, Notification, parse

ATTRIBUTES = {
    "eventType": "OBJECT_FINALIZE",
    "bucketId": "uploads",
    "objectId": "in/a b.txt",
    "objectGeneration": "17",
    "eventTime": "2026-06-01T12:00:00Z",
}


def test_a_new_object_is_told() -> None:
    found = parse(ATTRIBUTES, {})

    assert found == Notification(
        change=Change.CREATE, event="OBJECT_FINALIZE", bucket="uploads", key="in/a b.txt", generation="17", which=""
    )


@pytest.mark.parametrize(
    ("event", "more", "change", "identity"),
    [
        ("OBJECT_FINALIZE", {}, Change.CREATE, "uploads/in/a b.txt#17"),
        ("OBJECT_FINALIZE", {"overwroteGeneration": "16"}, Change.UPDATE, "uploads/in/a b.txt#17"),
        ("OBJECT_METADATA_UPDATE", {}, Change.UPDATE, "uploads/in/a b.txt#17.2"),
        ("OBJECT_DELETE", {}, Change.DELETE, "uploads/in/a b.txt#17!deleted"),
        ("OBJECT_ARCHIVE", {}, Change.DELETE, "uploads/in/a b.txt#17!deleted.archived"),
    ],
)
def test_an_event_is_a_change_with_an_id(event: str, more: dict[str, str], change: Change, identity: str) -> None:
    found = parse({**ATTRIBUTES, "eventType": event, **more}, {"metageneration": "2"})

    assert found is not None
    assert (found.change, found.id, found.event) == (change, identity, event)


@pytest.mark.parametrize("event", ["OBJECT_DELETE", "OBJECT_ARCHIVE"])
def test_an_object_that_is_overwritten_is_not_deleted(event: str) -> None:
    assert parse({**ATTRIBUTES, "eventType": event, "overwrittenByGeneration": "18"}, {}) is None


def test_a_metadata_update_without_payload_is_told_apart_by_its_time() -> None:
    found = parse({**ATTRIBUTES, "eventType": "OBJECT_METADATA_UPDATE"}, {})
    assert found is not None
    assert found.id == "uploads/in/a b.txt#17.2026-06-01T12:00:00Z"


def test_a_metageneration_that_is_none_counts_as_missing() -> None:
    attributes = ATTRIBUTES | {"eventType": "OBJECT_METADATA_UPDATE"}
    expected = parse(attributes, {})
    odd: Any
    for odd in ([], {}, 1.5, json.loads("[" * 900 + "]" * 900)):
        assert parse(attributes, {"metageneration": odd}) == expected


def test_an_event_that_is_not_known_is_no_change() -> None:
    assert parse({**ATTRIBUTES, "eventType": "OBJECT_PAINTED"}, {}) is None


@pytest.mark.parametrize("name", ["eventType", "bucketId", "objectId", "objectGeneration"])
def test_a_message_without_its_attributes_is_no_notification(name: str) -> None:
    with pytest.raises(NotANotification, match=name):
        parse({one: value for one, value in ATTRIBUTES.items() if one != name}, {})


@settings(deadline=None)
@given(changes=st.dictionaries(st.sampled_from([*ATTRIBUTES, "overwroteGeneration"]), st.text(max_size=5)))
def test_nothing_escapes_as_another_exception(changes: dict[str, str]) -> None:
    try:
        found = parse({**ATTRIBUTES, **changes}, changes)
    except NotANotification:
        return
    assert found is None or found.id
