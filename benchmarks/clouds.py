"""The calls of AWS and Google that sources of queues and buckets make, and nothing beyond them.

Served by `benchmarks.outside`: each message of a run is one of a queue (SQS, SNS, Pub/Sub, notifications of buckets)
and an object of a bucket (S3, Cloud Storage), whichever a source asks for. A queue lends each message once, and counts
those that are settled; leases do not run out.
"""

import asyncio
import base64
import itertools
import zlib
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from benchmarks import events

PAGE: Final = 1_000
TOPIC_ARN: Final = "arn:aws:sns:eu-west-1:123456789012:orders"
SUBSCRIPTIONS: Final = "/v1/projects/p/subscriptions/"
S3_BUCKET: Final = "/uploads"
GCS_BUCKET: Final = "/storage/v1/b/uploads/o"
_AT: Final = "2026-01-01T00:00:00.000Z"
_SIZE: Final = events.SIZE_BYTES
_JSON: Final = b"application/json"
_AMZ_JSON: Final = b"application/x-amz-json-1.0"
_XML: Final = b"application/xml"

Answer = tuple[bytes, bytes]
"""Type and body."""


class Queue:
    """Messages in their order."""

    def __init__(self) -> None:
        self._waiting: deque[Iterator[bytes]] = deque()
        self._some = asyncio.Event()
        self.settled = 0

    def add(self, messages: Iterator[bytes]) -> None:
        """Put messages in; they are made when they are taken."""
        self._waiting.append(messages)
        self._some.set()

    async def take(self, most: int, *, wait_seconds: float) -> list[bytes]:
        """Return the next messages; nothing if none has come for so long."""
        while not (found := self._next(most)):
            self._some.clear()
            try:
                await asyncio.wait_for(self._some.wait(), wait_seconds)
            except TimeoutError:
                return []
        return found

    def _next(self, most: int) -> list[bytes]:
        while self._waiting:
            if found := list(itertools.islice(self._waiting[0], most)):
                return found
            self._waiting.popleft()
        return []


class Bucket:
    """Objects by their keys, each with the event of a run."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[str, int]] = {}
        self._keys: list[str] = []

    def add(self, objects: Mapping[str, tuple[str, int]]) -> None:
        """Put objects in: run and number of each."""
        self._objects |= objects
        self._keys = sorted(self._objects)

    def page(self, *, after: str = "", begin: str = "") -> tuple[Sequence[str], bool]:
        """Return the keys after one, or from one on, at most PAGE of them, and whether there are more."""
        first = bisect_right(self._keys, after) if after else bisect_left(self._keys, begin)
        return self._keys[first : first + PAGE], len(self._keys) > first + PAGE

    def content(self, key: str) -> bytes:
        """Return what is in an object."""
        run, number = self._objects[key]
        return next(events.events(run, number, 1))[1]


# ---- SQS, and what comes through it ----------------------------------------------------------------------------------


async def sqs(queue: Queue, action: str, asked: Mapping[str, Any]) -> Answer:
    """Answer a call of SQS; the last part of a queue's URL says what its messages are (`BODIES`)."""
    if action != "ReceiveMessage":
        entries = asked["Entries"]
        queue.settled += len(entries) * (action == "DeleteMessageBatch")
        return _AMZ_JSON, orjson.dumps({"Successful": [{"Id": one["Id"]} for one in entries], "Failed": []})
    body = BODIES[asked["QueueUrl"].rpartition("/")[2]]
    found = await queue.take(asked["MaxNumberOfMessages"], wait_seconds=asked.get("WaitTimeSeconds", 0))
    return _AMZ_JSON, orjson.dumps({"Messages": [_lent(one, body(one)) for one in found]})


def _lent(payload: bytes, body: str) -> dict[str, Any]:
    name = events.identity_of(payload).decode()
    times = {"SentTimestamp": "1760000000000", "ApproximateFirstReceiveTimestamp": "1760000000001"}
    system = {"SenderId": "AIDAEXAMPLE", "ApproximateReceiveCount": "1", **times}
    return {"MessageId": name, "ReceiptHandle": f"AQEB{name}", "Body": body, "Attributes": system}


def _envelope(payload: bytes) -> str:
    """Return a message as SNS wraps it."""
    envelope = {
        "Type": "Notification",
        "MessageId": events.identity_of(payload).decode(),
        "TopicArn": TOPIC_ARN,
        "Message": payload.decode(),
        "Timestamp": _AT,
        "SignatureVersion": "1",
        "Signature": "c2lnbmF0dXJl" * 28,
        "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService.pem",
        "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=" + TOPIC_ARN,
    }
    return orjson.dumps(envelope).decode()


def _s3_notification(payload: bytes) -> str:
    """Return the notification of an object that was created."""
    name = events.identity_of(payload).decode()
    made = {"key": f"{name}.json", "size": _SIZE, "eTag": _etag(f"{name}.json"), "sequencer": name[-10:]}
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "eu-west-1",
        "eventTime": _AT,
        "eventName": "ObjectCreated:Put",
        "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": "uploads", "arn": "arn:aws:s3:::uploads"}, "object": made},
    }
    return orjson.dumps({"Records": [record]}).decode()


BODIES: Final[Mapping[str, Callable[[bytes], str]]] = {
    "orders": bytes.decode,
    "topic": _envelope,
    "uploads": _s3_notification,
}


# ---- Pub/Sub ---------------------------------------------------------------------------------------------------------


async def pubsub(queue: Queue, path: str, asked: Mapping[str, Any]) -> Answer:
    """Answer a call of a subscription, `orders`, or `uploads` with notifications of a bucket."""
    name, _, verb = path.removeprefix(SUBSCRIPTIONS).partition(":")
    if verb != "pull":
        queue.settled += len(asked["ackIds"]) * (verb == "acknowledge")
        return _JSON, b"{}"
    wait_seconds = 0 if asked.get("returnImmediately") else 90
    found = await queue.take(asked["maxMessages"], wait_seconds=wait_seconds)
    message = _gcs_notification if name == "uploads" else _published
    return _JSON, orjson.dumps({"receivedMessages": [_pulled(one, message(one)) for one in found]} if found else {})


def _pulled(payload: bytes, message: dict[str, Any]) -> dict[str, Any]:
    name = events.identity_of(payload).decode()
    return {"ackId": "U0RQBhYsXUZIUTcZCGhRDk9eIz81IChF" * 5 + name, "message": {"messageId": name, **message}}


def _published(payload: bytes) -> dict[str, Any]:
    return {"data": base64.b64encode(payload).decode(), "publishTime": _AT}


def _gcs_notification(payload: bytes) -> dict[str, Any]:
    name = events.identity_of(payload).decode()
    attributes = {
        "eventType": "OBJECT_FINALIZE",
        "payloadFormat": "JSON_API_V1",
        "bucketId": "uploads",
        "objectId": f"{name}.json",
        "objectGeneration": "1760000000000000",
        "eventTime": _AT,
        "notificationConfig": "projects/_/buckets/uploads/notificationConfigs/1",
    }
    about = base64.b64encode(orjson.dumps(_gcs_object(f"{name}.json"))).decode()
    return {"data": about, "attributes": attributes, "publishTime": _AT}


# ---- buckets ---------------------------------------------------------------------------------------------------------


def s3(bucket: Bucket, path: str, query: Mapping[str, str]) -> Answer:
    """Answer ListObjectsV2 and GetObject."""
    if key := path.removeprefix(S3_BUCKET).strip("/"):
        return b"application/octet-stream", bucket.content(key)
    page, more = bucket.page(after=query.get("continuation-token") or query.get("start-after") or "")
    found = "".join(
        f"<Contents><Key>{key}</Key><LastModified>{_AT}</LastModified><ETag>&quot;{_etag(key)}&quot;</ETag>"
        f"<Size>{_SIZE}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for key in page
    )
    token = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if more else ""
    about = f"<EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
    return _XML, f"<ListBucketResult>{about}{found}</ListBucketResult>".encode()


def gcs(bucket: Bucket, path: str, query: Mapping[str, str]) -> Answer:
    """Answer objects.list and objects.get."""
    if key := path.removeprefix(GCS_BUCKET).strip("/"):
        return b"application/octet-stream", bucket.content(key)
    page, more = bucket.page(after=query.get("pageToken", ""), begin=query.get("startOffset", ""))
    answer: dict[str, Any] = {"items": [_gcs_object(key) for key in page]}
    return _JSON, orjson.dumps(answer | ({"nextPageToken": page[-1]} if more else {}))


def _gcs_object(key: str) -> dict[str, Any]:
    return {
        "name": key,
        "generation": "1760000000000000",
        "metageneration": "1",
        "size": str(_SIZE),
        "contentType": "application/json",
        "md5Hash": "CY9rzUYh03PK3k6DJie09g==",
        "updated": _AT,
    }


def _etag(key: str) -> str:
    return f"{zlib.crc32(key.encode()):032x}"
