"""Answers of clouds: messages of SQS and Pub/Sub, envelopes of SNS, notifications and listings of S3 and GCS."""

import base64
import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from typing import Any, Final

import orjson

from connectors import gcs, pubsub, s3, sns, sqs
from connectors.base.contract import NotConnected, Refused
from connectors.base.services import google
from connectors.base.services import pubsub as subscriptions
from connectors.base.services import sqs as queues
from connectors.base.services.aws import told
from connectors.base.services.google import Reply
from connectors.base.services.listing import Change, Entry, decode, digest, encode
from connectors.gcs.notifications import NotANotification, parse
from connectors.gcs.source import _Bucket as GcsBucket
from connectors.gcs.source import _object, _said
from connectors.s3.source import _Bucket as S3Bucket
from tests.fuzz.mutation import Mutator
from tests.fuzz.standing import Answering, FuzzSite, outcome
from tests.fuzz.targets import Target, at_once, landed, named, stored

# ---- SQS and SNS -----------------------------------------------------------------------------------------------------

ENVELOPE: Final = {
    "Type": "Notification",
    "MessageId": "m-1",
    "TopicArn": "arn:aws:sns:eu-west-1:1:orders",
    "Subject": "s",
    "Message": '{"n": 1}',
    "Timestamp": "2026-06-01T12:00:00.000Z",
    "MessageAttributes": {"kind": {"Type": "String", "Value": "sold"}, "n": {"Type": "Number", "Value": "1"}},
}
S3_EVENT: Final = {
    "Records": [
        {
            "eventName": "ObjectCreated:Put",
            "eventTime": "2026-06-01T12:00:00.000Z",
            "s3": {
                "bucket": {"name": "uploads"},
                "object": {"key": "in/a+b%C3%BC.csv", "size": 3, "eTag": "e", "versionId": "v", "sequencer": "0055"},
            },
        },
        {"eventName": "s3:ObjectRemoved:Delete", "s3": {"bucket": {"name": "uploads"}, "object": {"key": "x"}}},
        {"eventName": "ObjectTagging:Put", "s3": {"bucket": {"name": "u"}, "object": {"key": "y", "eTag": '"q"'}}},
    ]
}
BRIDGED: Final = {
    "source": "aws.s3",
    "detail-type": "Object Created",
    "time": "2026-06-01T12:00:00Z",
    "detail": {"bucket": {"name": "u"}, "object": {"key": "a b", "size": 1, "etag": "e", "sequencer": "1"}},
}
TEXTS: Final[tuple[Any, ...]] = (ENVELOPE, S3_EVENT, BRIDGED, {"Event": "s3:TestEvent"}, {"a": 1}, [1])
MESSAGE: Final = {
    "MessageId": "m-1",
    "ReceiptHandle": "h-1",
    "Body": "",
    "Attributes": {
        "SentTimestamp": "1780000000000",
        "ApproximateReceiveCount": "2",
        "MessageGroupId": "g",
        "MessageDeduplicationId": "d",
    },
    "MessageAttributes": {"kind": {"DataType": "String", "StringValue": "sold"}, "b": {"BinaryValue": b"\xff"}},
}


def text(draw: Mutator, seeds: Sequence[Any] = TEXTS) -> str:
    """A body as botocore has it: text, of JSON in most cases, which may be in an envelope."""
    made = draw.json(seeds, broken=0.1).decode(errors="replace")
    if draw.happens(0.2):
        made = draw.json([{**ENVELOPE, "Message": made}], broken=0.05).decode(errors="replace")
    return made


def message(draw: Mutator) -> Any:
    """A message of an answer, in the shapes that botocore makes: it knows that names are texts and objects objects."""
    changed = draw.value([{**MESSAGE, "Body": text(draw)}], most=2)
    return changed if draw.happens(0.7) else {**MESSAGE, "Body": text(draw)}


def read_message(given: Any) -> queues.Message | str:
    try:
        return queues._message(given)
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # as in Queue._receive
        return type(error).__name__


SQS: Final = tuple(
    sqs.Config.model_validate({**sqs.EXAMPLE, **options})
    for options in (
        {},
        {"body": "json", "unwrap": "sns"},
        {"body": "base64", "unwrap": "none", "type_attribute": "kind"},
    )
)


def check_sqs(given: Any) -> str:
    read = read_message(given)
    if isinstance(read, str):
        return read
    return min(landed(sqs.Source(config, FuzzSite())._item(read)) for config in SQS)


SNS: Final = sns.Config.model_validate(sns.EXAMPLE)


def check_sns(given: Any) -> str:
    read = read_message(given)
    return read if isinstance(read, str) else landed(sns.Source(SNS, FuzzSite())._item(read))


# ---- S3 --------------------------------------------------------------------------------------------------------------

S3: Final = s3.Config.model_validate({"mode": "queue", "queue_url": "https://sqs.eu-west-1.amazonaws.com/1/q"})
S3_LIST: Final = s3.Config.model_validate({"mode": "list", "bucket": "uploads"})


class OneMessage:
    """A queue with one message."""

    def __init__(self, one: queues.Message) -> None:
        self._one = one

    async def messages(self) -> AsyncIterator[queues.Message]:
        yield self._one


def check_s3_notification(given: Any) -> str:
    read = read_message(given)
    if isinstance(read, str):
        return read
    source = s3.Source(S3, FuzzSite())
    source._queue = OneMessage(read)  # type: ignore[assignment]

    async def items() -> list[Any]:
        return [item async for item in source._notified(None)]

    return outcome(at_once(items()))


LISTED: Final[tuple[Any, ...]] = (
    {
        "Contents": [
            {"Key": "a", "ETag": '"e1"', "Size": 3, "LastModified": datetime(2026, 6, 1, tzinfo=UTC)},
            {"Key": "b/ü", "ETag": '"e2"', "Size": 0, "LastModified": datetime(2026, 6, 1, tzinfo=UTC)},
            {
                "Key": "dir/",
                "ETag": "",
                "Size": 0,
                "LastModified": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
            },
        ],
        "IsTruncated": False,
    },
    {"IsTruncated": True, "NextContinuationToken": "t"},
    {},
)


def s3_page(draw: Mutator) -> list[Any]:
    return [draw.value(LISTED) for _ in range(2)]


class S3Client:
    """Answers as botocore does: always an object."""

    def __init__(self, pages: list[Any]) -> None:
        self._pages = pages

    async def list_objects_v2(self, **how: Any) -> Any:
        page = self._pages.pop(0) if self._pages else {}
        return page if isinstance(page, dict) else {}


def check_s3_page(given: list[Any]) -> str:
    bucket = S3Bucket(client=S3Client(list(given)), config=S3_LIST, name="uploads")
    return listed(bucket)


def listed(bucket: Any) -> str:
    """List a bucket, make events of all that is in it, and a position."""

    async def entries() -> list[Entry]:
        found: list[Entry] = []
        async for page in bucket.pages(None):
            found += page
            if len(found) > 100:
                break
        return found

    async def event(entry: Entry) -> Any:
        return await bucket.event(Change.CREATE, entry)

    try:
        found = at_once(entries())
    except (NotConnected, Refused) as error:
        return named(error)
    known = {one.key: digest(one.version) for one in found}
    position = encode(known, bucket.of)
    stored(position)
    assert decode(orjson.loads(orjson.dumps(position)), bucket.of) == known
    for key in list(known)[:3]:
        landed(bucket.gone(key, "v"))
    return outcome([at_once(event(one)) for one in found[:5]])


# ---- both as AWS sends them ------------------------------------------------------------------------------------------

LISTING: Final = (
    b"""<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<Name>uploads</Name><Prefix></Prefix><KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>
<EncodingType>url</EncodingType><Contents><Key>in/a%2Bb.csv</Key><LastModified>2026-06-01T12:00:00.000Z</LastModified>
<ETag>&quot;e1&quot;</ETag><Size>3</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>b</Key>
<LastModified>2026-06-01T12:00:01.000Z</LastModified><ETag>"e2"</ETag><Size>0</Size></Contents></ListBucketResult>""",
    b"""<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>""",
)
XML_WORDS: Final = (
    *(
        b"<Contents>",
        b"</Contents>",
        b"<Key>",
        b"</Key>",
        b"<Size>",
        b"-1",
        b"9" * 30,
        b"2026-02-30",
        b"0001-01-01T00:00:00+14:00",
    ),
    *(
        b"&#xD800;",
        b"&#0;",
        b"&lt;",
        b"<![CDATA[",
        b"\xff",
        b"\x00",
        b"true",
        b"",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]>",
        b"&a;",
    ),
    *(b"%ff", b"%", b"%00", b"<IsTruncated>true</IsTruncated>", b"<NextContinuationToken>t</NextContinuationToken>"),
)
STATUSES: Final = (*[200] * 8, 301, 400, 403, 404, 500, 503)


@cache
def shapes(service: str, operation: str, protocol: str) -> tuple[Any, Any]:
    """How botocore reads the answers of an operation: its parser, and their shape."""
    from botocore.loaders import Loader
    from botocore.model import ServiceModel
    from botocore.parsers import create_parser

    model = ServiceModel(Loader().load_service_model(service, "service-2"))
    return create_parser(protocol), model.operation_model(operation).output_shape


def parsed(answer: tuple[int, bytes], service: str, operation: str, protocol: str) -> Any:
    """Read an answer as botocore does. Raises NotConnected and Refused, as with a client."""
    from botocore.exceptions import ClientError

    parser, shape = shapes(service, operation, protocol)
    status, body = answer
    media = "application/xml" if protocol == "rest-xml" else "application/x-amz-json-1.0"
    with told("asking"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dateutil warns of zones that it does not know
        found = parser.parse({"status_code": status, "headers": {"content-type": media}, "body": body}, shape)
        if status >= 300:
            raise ClientError(found, operation)
        return found


def xml(draw: Mutator) -> tuple[int, bytes]:
    return draw.pick(STATUSES), draw.raw((*LISTING, LISTING[0], LISTING[0]), XML_WORDS, most=4)


def check_xml(given: tuple[int, bytes]) -> str:
    try:
        page = parsed(given, "s3", "ListObjectsV2", "rest-xml")
    except (NotConnected, Refused) as error:
        return named(error)
    return listed(S3Bucket(client=S3Client([page]), config=S3_LIST, name="uploads"))


RECEIVED: Final[tuple[Any, ...]] = (
    {"Messages": [{**MESSAGE, "MessageAttributes": {"b": {"DataType": "Binary", "BinaryValue": "/w=="}}, "Body": "x"}]},
    {"Messages": [{"MessageId": "m", "ReceiptHandle": "h", "Body": '{"a": 1}', "Attributes": {}}, {}]},
    {"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no"},
    {},
)


def received(draw: Mutator) -> tuple[int, bytes]:
    return draw.pick(STATUSES), draw.json(RECEIVED)


def check_received(given: tuple[int, bytes]) -> str:
    try:
        answer = parsed(given, "sqs", "ReceiveMessage", "json")
    except (NotConnected, Refused) as error:
        return named(error)
    try:
        queues._checked(answer, "q")
    except NotConnected as error:
        return named(error)
    ends = [check_sqs(one) for one in answer.get("Messages", ())]
    return min(ends, default="none")


# ---- Google ----------------------------------------------------------------------------------------------------------

ATTRIBUTES: Final = {
    "eventType": "OBJECT_FINALIZE",
    "bucketId": "uploads",
    "objectId": "in/a.csv",
    "objectGeneration": "1780000000000000",
    "eventTime": "2026-06-01T12:00:00Z",
    "payloadFormat": "JSON_API_V1",
}
OBJECT: Final = {
    "name": "in/a.csv",
    "generation": "1780000000000000",
    "metageneration": "1",
    "size": "3",
    "contentType": "text/csv",
    "md5Hash": "x==",
    "updated": "2026-06-01T12:00:00.000Z",
}
PULLED: Final[tuple[Any, ...]] = (
    {
        "receivedMessages": [
            {
                "ackId": "a-1",
                "message": {
                    "messageId": "1",
                    "data": base64.b64encode(b'{"n": 1}').decode(),
                    "attributes": {"kind": "sold"},
                    "publishTime": "2026-06-01T12:00:00.5Z",
                    "orderingKey": "k",
                },
                "deliveryAttempt": 2,
            }
        ]
    },
    {
        "receivedMessages": [
            {
                "ackId": "a-2",
                "message": {
                    "messageId": "2",
                    "data": base64.b64encode(orjson.dumps(OBJECT)).decode(),
                    "attributes": ATTRIBUTES,
                    "publishTime": "0001-01-01T00:00:00+14:00",
                },
            }
        ]
    },
    {},
)
TYPES: Final = ("OBJECT_FINALIZE", "OBJECT_METADATA_UPDATE", "OBJECT_DELETE", "OBJECT_ARCHIVE", "OBJECT_X", "")


def pulled(draw: Mutator) -> bytes:
    return draw.json(PULLED, broken=0.1)


def read_pulled(given: bytes) -> list[subscriptions.Message] | str:
    answer = google._json(given)
    if not isinstance(answer, dict):
        return "no answer"
    try:
        return [subscriptions._message(one) for one in answer.get("receivedMessages", ())]
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # as in Subscription._pull
        return type(error).__name__


PUBSUB: Final = tuple(
    pubsub.Config.model_validate({**pubsub.EXAMPLE, **options})
    for options in ({}, {"body": "json", "type_attribute": "kind"}, {"body": "base64"})
)


def check_pubsub(given: bytes) -> str:
    read = read_pulled(given)
    if isinstance(read, str):
        return read
    return outcome([pubsub.Source(config, FuzzSite())._item(one) for config in PUBSUB for one in read])


GCS: Final = gcs.Config.model_validate(
    {"mode": "queue", "subscription": "projects/p1/subscriptions/uploads", "anonymous": True}
)
GCS_LIST: Final = gcs.Config.model_validate({"mode": "list", "bucket": "uploads", "anonymous": True})


def notified(draw: Mutator) -> tuple[Any, bytes]:
    attributes = draw.value([{**ATTRIBUTES, "eventType": draw.pick(TYPES)}], most=2, strange=lambda: draw.text(TYPES))
    return attributes, draw.json([OBJECT], broken=0.1)


def check_notified(given: tuple[Any, bytes]) -> str:
    attributes, payload = given
    found: Mapping[str, str] = {}
    if isinstance(attributes, dict):
        found = {name: str(value) for name, value in attributes.items()}
    about = _object(payload)
    try:
        one = parse(found, about)
    except NotANotification as error:
        return named(error)
    if one is None:
        return "none"
    source = gcs.Source(GCS, FuzzSite())
    made = subscriptions.Message(
        handle="h", id="1", data=payload, attributes=found, ordering_key=None, published_at=None,
        delivery_attempt=None, ack=subscriptions._nothing,
    )  # fmt: skip
    _said(about)
    return landed(at_once(source._event(one, about, made)))


GCS_LISTED: Final[tuple[Any, ...]] = (
    {"items": [OBJECT, {**OBJECT, "name": "b/ü", "size": 7}, {"name": "c", "generation": 1}]},
    {"items": [OBJECT], "nextPageToken": "t"},
    {"kind": "storage#objects"},
    {"error": {"code": 503, "status": "UNAVAILABLE", "message": "x", "errors": [{"reason": "backendError"}]}},
)


def gcs_page(draw: Mutator) -> list[tuple[int, bytes, str]]:
    return [
        (
            draw.pick((200, 200, 200, 200, 401, 403, 404, 429, 503)),
            draw.json(GCS_LISTED, broken=0.1),
            draw.text(("5", "")),
        )
        for _ in range(2)
    ]


def check_gcs_page(given: list[tuple[int, bytes, str]]) -> str:
    site = FuzzSite(Answering(*((status, {"Retry-After": after}, body) for status, body, after in given)))
    source = gcs.Source(GCS_LIST, site)
    bucket = GcsBucket(google=source._google, config=GCS_LIST, name="uploads")
    return listed(bucket)


SETTLED: Final[tuple[Any, ...]] = (
    {
        "error": {
            "code": 400,
            "status": "INVALID_ARGUMENT",
            "details": [
                {"reason": "X", "metadata": {"a-1": "PERMANENT_FAILURE_INVALID_ACK_ID", "a-2": "TRANSIENT_FAILURE_X"}}
            ],
            "errors": [{"reason": "badRequest"}],
        }
    },
    {},
)


def settled(draw: Mutator) -> tuple[int, bytes]:
    return draw.pick((200, 400, 403, 404, 429, 500, 503)), draw.json(SETTLED, broken=0.1)


def check_settled(given: tuple[int, bytes]) -> str:
    status, body = given
    reply = Reply(status=status, body=google._json(body), retry_after_seconds=None)
    failed = subscriptions._failed(reply, ["a-1", "a-2"])
    assert failed.keys() <= {"a-1", "a-2"}
    named(reply.failure("acknowledging"))
    return "some" if failed else "all or none"


TARGETS: Final = (
    Target(name="sqs", make=message, check=check_sqs),
    Target(name="sns", make=message, check=check_sns),
    Target(name="s3-notifications", make=message, check=check_s3_notification),
    Target(name="s3-listings", make=s3_page, check=check_s3_page),
    Target(name="s3-answers", make=xml, check=check_xml, cost=4),
    Target(name="sqs-answers", make=received, check=check_received, cost=2),
    Target(name="gcs-notifications", make=notified, check=check_notified),
    Target(name="gcs-listings", make=gcs_page, check=check_gcs_page),
    Target(name="pubsub", make=pulled, check=check_pubsub),
    Target(name="google-errors", make=settled, check=check_settled),
)
