"""What is read from clouds, at their emulators: SQS, SNS and S3 of moto, Google's Pub/Sub server, one of GCS."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import ClientSession

from tests.e2e.fleet.world import Place, World
from tests.peers.programs import PEERS, free_port, running
from tests.unit.connectors.gcs.test_notifications import ATTRIBUTES

REGION: Final = "eu-west-1"
KEYS: Final = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret"}
VISIBILITY_SECONDS: Final = 10
MOTO: Final = "moto"
PUBSUB: Final = "Google's in-memory Pub/Sub server (pstest)"
GCS: Final = "gcp-storage-emulator"
_INSTALLED: Final = "is not installed; tools/connector_peers.sh does it"


@asynccontextmanager
async def amazon(at: str, service: str) -> AsyncIterator[Any]:
    """Open a client of moto."""
    from aiobotocore.session import get_session

    made = get_session().create_client(
        service,
        region_name=REGION,
        endpoint_url=at,
        aws_access_key_id=KEYS["access_key_id"],
        aws_secret_access_key=KEYS["secret_access_key"],
    )
    async with made as one:
        yield one


class Queue(World):
    """A queue. moto goes on with the long poll of a reader that has gone, and hides what comes for its visibility."""

    id = "queue"
    kind = "sqs"
    peer = MOTO
    per_second = 4.0
    is_prompt = False

    @classmethod
    def absent(cls, place: Place) -> str | None:
        return None if place.moto else f"moto {_INSTALLED}"

    async def open(self) -> None:
        assert self.place.moto is not None
        self.at = self.place.moto
        self.queues = await self.client("sqs")
        self.url = (await self.queues.create_queue(QueueName=self.id))["QueueUrl"]
        asked = await self.queues.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        self.arn = asked["Attributes"]["QueueArn"]

    async def client(self, service: str) -> Any:
        return await self.opened.enter_async_context(amazon(self.at, service))

    @property
    def options(self) -> Mapping[str, Any]:
        return {"queue_url": self.url, "region": REGION, "visibility": VISIBILITY_SECONDS, **KEYS}

    async def happen(self, number: int) -> None:
        await self.queues.send_message(QueueUrl=self.url, MessageBody=json.dumps({"n": number}))

    def number(self, event: Mapping[str, Any]) -> int:
        return int(event["data"]["body"]["n"])


class Topic(Queue):
    """A topic whose queue the source itself subscribes."""

    id = "topic"
    kind = "sns"
    per_second = 2.0

    async def open(self) -> None:
        await super().open()
        self._topics = await self.client("sns")
        self._arn = (await self._topics.create_topic(Name=self.id))["TopicArn"]

    @property
    def options(self) -> Mapping[str, Any]:
        return {**super().options, "topic_arn": self._arn, "subscribe": True}

    async def happen(self, number: int) -> None:
        await self._topics.publish(TopicArn=self._arn, Message=json.dumps({"n": number}))

    def number(self, event: Mapping[str, Any]) -> int:
        return int(event["data"]["message"]["n"])


class Uploads(Queue):
    """A bucket that tells its queue of objects."""

    id = "uploads"
    kind = "s3"
    per_second = 2.0

    async def open(self) -> None:
        await super().open()
        self.objects = await self.client("s3")
        place = {"LocationConstraint": REGION}
        await self.objects.create_bucket(Bucket=self.id, CreateBucketConfiguration=place)
        await self.announce()

    async def announce(self) -> None:
        """Let the bucket tell of what is put into it."""
        told = {"QueueConfigurations": [{"QueueArn": self.arn, "Events": ["s3:ObjectCreated:*"]}]}
        await self.objects.put_bucket_notification_configuration(Bucket=self.id, NotificationConfiguration=told)

    @property
    def options(self) -> Mapping[str, Any]:
        return {**super().options, "mode": "queue"}

    async def happen(self, number: int) -> None:
        await self.objects.put_object(Bucket=self.id, Key=f"in/{number:06}", Body=b"abc")

    def number(self, event: Mapping[str, Any]) -> int:
        return int(event["data"]["key"].removeprefix("in/"))


class Bucket(Uploads):
    """A bucket that is listed."""

    id = "bucket"
    per_second = 1.0

    async def announce(self) -> None:
        """It tells nobody."""

    @property
    def options(self) -> Mapping[str, Any]:
        place = {"bucket": self.id, "endpoint_url": self.at, "region": REGION}
        return {"mode": "list", "interval": 1, "emit_existing": True, **place, **KEYS}


class Subscription(World):
    id = "subscription"
    kind = "pubsub"
    peer = PUBSUB
    is_prompt = False

    @classmethod
    def absent(cls, place: Place) -> str | None:
        return None if place.pubsub else f"pstest {_INSTALLED}"

    async def open(self) -> None:
        self._http = await self.opened.enter_async_context(ClientSession())
        self._topic, self._name = f"projects/p/topics/{self.id}", f"projects/p/subscriptions/{self.id}"
        await self._ask("PUT", self._topic, {})
        await self._ask("PUT", self._name, {"topic": self._topic, "ackDeadlineSeconds": 10})

    async def _ask(self, method: str, path: str, body: Any) -> None:
        async with self._http.request(method, f"{self.place.pubsub}/v1/{path}", json=body) as answer:
            answer.raise_for_status()

    @property
    def options(self) -> Mapping[str, Any]:
        return {
            "subscription": self._name,
            "endpoint_url": self.place.pubsub,
            "anonymous": True,
            "lease": VISIBILITY_SECONDS,
        }

    async def publish(self, data: bytes, attributes: Mapping[str, str]) -> None:
        """Publish one message."""
        message = {"data": base64.b64encode(data).decode(), "attributes": dict(attributes)}
        await self._ask("POST", f"{self._topic}:publish", {"messages": [message]})

    async def happen(self, number: int) -> None:
        await self.publish(json.dumps({"n": number}).encode(), {})

    def number(self, event: Mapping[str, Any]) -> int:
        return int(event["data"]["body"]["n"])


class Notified(Subscription):
    """The notifications of a bucket, as Cloud Storage words them."""

    id = "notified"
    kind = "gcs"
    per_second = 2.0

    @property
    def options(self) -> Mapping[str, Any]:
        options = dict(super().options)
        place = {"pubsub_endpoint_url": options.pop("endpoint_url")}
        return {**options, **place, "mode": "queue"}

    async def happen(self, number: int) -> None:
        await self.publish(b"", {**ATTRIBUTES, "objectId": f"in/{number}", "objectGeneration": str(number)})

    def number(self, event: Mapping[str, Any]) -> int:
        return int(event["data"]["key"].removeprefix("in/"))


class Listed(World):
    """A bucket of Cloud Storage that is listed."""

    id = "listed"
    kind = "gcs"
    peer = GCS
    per_second = 1.0

    @classmethod
    def absent(cls, place: Place) -> str | None:
        return None if (PEERS / "bin" / GCS).exists() else f"{GCS} {_INSTALLED}"

    async def open(self) -> None:
        port = free_port()
        self._at = f"http://127.0.0.1:{port}"
        arguments = ["start", "--host", "127.0.0.1", "--port", str(port), "--in-memory", "--default-bucket", self.id]
        self.opened.enter_context(running(GCS, arguments, log=self.folder / "log", at=f"{self._at}/"))
        self._http = await self.opened.enter_async_context(ClientSession())

    @property
    def options(self) -> Mapping[str, Any]:
        place = {"bucket": self.id, "endpoint_url": self._at, "anonymous": True}
        return {"mode": "list", "emit_existing": True, "interval": 1, **place}

    async def happen(self, number: int) -> None:
        url = f"{self._at}/upload/storage/v1/b/{self.id}/o?uploadType=media&name=in%2F{number:06}"
        async with self._http.post(url, data=b"abc", headers={"Content-Type": "text/plain"}) as answer:
            answer.raise_for_status()

    def number(self, event: Mapping[str, Any]) -> int:
        return int(event["data"]["key"].removeprefix("in/"))
