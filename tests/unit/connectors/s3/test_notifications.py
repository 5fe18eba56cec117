"""Notifications of S3: the forms in which they come, what they tell, and ids that repetitions share."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base.services.listing import Change
from connectors.s3.notifications import NotANotification, Notification, parse

RECORD: dict[str, Any] = {
    "eventVersion": "2.1",
    "eventSource": "aws:s3",
    "eventTime": "2026-06-01T12:00:00.123Z",
    "eventName": "ObjectCreated:Put",
    "s3": {
        "bucket": {"name": "uploads"},
        "object": {"key": "a+b%2Fc%C3%A9.txt", "size": 3, "eTag": "e1", "sequencer": "0A1"},
    },
}
BRIDGED: dict[str, Any] = {
    "source": "aws.s3",
    "detail-type": "Object Created",
    "time": "2026-06-01T12:00:00Z",
    "detail": {
        "bucket": {"name": "uploads"},
        "object": {"key": "a+b%2F", "size": 3, "etag": "e1", "version-id": "v1", "sequencer": "0A1"},
        "reason": "PutObject",
    },
}
TEST: dict[str, Any] = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "uploads"}


def record(name: str = "ObjectCreated:Put", **about: Any) -> dict[str, Any]:
    return {**RECORD, "eventName": name, "s3": {**RECORD["s3"], "object": {**RECORD["s3"]["object"], **about}}}


def body(*records: Any) -> str:
    return json.dumps({"Records": list(records)})


def test_a_record_tells_of_an_object_whose_key_is_decoded() -> None:
    (one,) = parse(body(RECORD))

    assert one == Notification(
        change=Change.CREATE,
        event="ObjectCreated:Put",
        bucket="uploads",
        key="a b/cé.txt",
        size_bytes=3,
        etag="e1",
        sequencer="0A1",
        at="2026-06-01T12:00:00.123Z",
    )
    assert one.happened_at == datetime(2026, 6, 1, 12, 0, 0, 123_000, tzinfo=UTC)


def test_the_key_of_eventbridge_is_taken_as_it_is() -> None:
    (one,) = parse(json.dumps(BRIDGED))

    assert one == Notification(
        change=Change.CREATE,
        event="Object Created",
        bucket="uploads",
        key="a+b%2F",
        size_bytes=3,
        etag="e1",
        version_id="v1",
        sequencer="0A1",
        at="2026-06-01T12:00:00Z",
    )


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ObjectCreated:CompleteMultipartUpload", Change.CREATE),
        ("s3:ObjectCreated:Put", Change.CREATE),
        ("ObjectRemoved:Delete", Change.DELETE),
        ("ObjectRemoved:DeleteMarkerCreated", Change.DELETE),
        ("LifecycleExpiration:Delete", Change.DELETE),
        ("ObjectTagging:Put", Change.UPDATE),
        ("ObjectRestore:Completed", Change.UPDATE),
        ("ReducedRedundancyLostObject", None),
        ("Replication:OperationFailedReplication", None),
    ],
)
def test_an_event_is_a_change_or_none_of_ours(name: str, change: Change | None) -> None:
    assert [one.change for one in parse(body(record(name)))] == ([] if change is None else [change])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (record(key="k"), "uploads/k@0A1"),
        (record(key="k", versionId="v1"), "uploads/k@v1"),
        (record(key="k", sequencer=None), "uploads/k@e1@2026-06-01T12:00:00.123Z"),
        (record("ObjectRemoved:Delete", key="k"), "uploads/k@0A1!deleted"),
        (record("ObjectRemoved:Delete", key="k", versionId="v1"), "uploads/k@v1!deleted"),
        (record("ObjectRemoved:Delete", key="k", sequencer=None), "uploads/k@2026-06-01T12:00:00.123Z!deleted"),
        (record("ObjectTagging:Put", key="k"), "uploads/k@e1!ObjectTagging:Put@0A1"),
    ],
)
def test_an_id_names_the_version_of_the_object(given: dict[str, Any], expected: str) -> None:
    assert [one.id for one in parse(body(given))] == [expected]


def test_a_test_is_no_notification_and_several_records_are_several() -> None:
    assert parse(json.dumps(TEST)) == ()
    assert [one.key for one in parse(body(record(key="a"), record("Other:X"), record(key="b")))] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello", "no JSON"),
        ("[]", "no object"),
        ("{}", "neither `Records`"),
        ('{"Records": []}', "neither `Records`"),
        (body({}), "eventName is missing"),
        (body(record(key=None)), r"s3\.object\.key is missing"),
        (body(record(key="%FF")), "no UTF-8"),
        (body({**RECORD, "s3": {"object": {"key": "k"}}}), r"s3\.bucket\.name is missing"),
        (json.dumps({"source": "aws.s3"}), "detail-type is missing"),
        (json.dumps({**BRIDGED, "detail": {}}), r"detail\.bucket\.name is missing"),
    ],
)
def test_what_s3_did_not_write_is_told(text: str, words: str) -> None:
    with pytest.raises(NotANotification, match=words):
        parse(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
)


@settings(deadline=None)
@given(
    top=st.dictionaries(st.sampled_from(["Records", "source", "Event", "detail", "detail-type", "time"]), VALUES),
    one=st.dictionaries(st.sampled_from(["eventName", "eventTime", "s3"]), VALUES),
    about=st.dictionaries(st.sampled_from(["key", "size", "eTag", "versionId", "sequencer"]), VALUES),
)
def test_nothing_escapes_as_another_exception(top: dict[str, Any], one: dict[str, Any], about: dict[str, Any]) -> None:
    for found in ({**BRIDGED, **top}, {"Records": [{**record(**about), **one}], **top}):
        try:
            for notification in parse(json.dumps(found)):
                assert notification.id
                assert notification.happened_at is None or notification.happened_at.tzinfo
        except NotANotification:
            pass
