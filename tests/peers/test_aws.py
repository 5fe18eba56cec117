"""SQS, SNS and S3 of moto: what others' servers say is understood, and nothing is lost or told twice under two ids."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession

from connectors import s3, sns, sqs
from connectors.base.contract import Moved, Received, Refused, Unreadable
from tests.peers.programs import free_port, needs, running
from tests.unit.connectors.base.framed import Framed
from tests.unit.connectors.base.framed import running as in_frame
from tests.unit.connectors.standing import Reading, StandIn, reading
from topics.sources import Spec

pytestmark = needs("moto_server")
KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret"}
REGION = "eu-west-1"


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    at = f"http://127.0.0.1:{(port := free_port())}"
    log = tmp_path_factory.mktemp("moto") / "log"
    with running("moto_server", ["-H", "127.0.0.1", "-p", str(port)], log=log, at=f"{at}/moto-api/") as _:
        yield at


@asynccontextmanager
async def client(moto: str, service: str, **keys: str) -> AsyncIterator[Any]:
    from aiobotocore.session import get_session

    made = get_session().create_client(
        service,
        region_name=REGION,
        endpoint_url=moto,
        aws_access_key_id=keys.get("access_key_id", "AKIDEXAMPLE"),
        aws_secret_access_key=keys.get("secret_access_key", "secret"),
    )
    async with made as one:
        yield one


class Place:
    """AWS as one test has it: a queue of its own."""

    def __init__(self, moto: str, queues: Any) -> None:
        self.moto, self.sqs = moto, queues
        self.url = self.arn = ""

    @property
    def config(self) -> dict[str, Any]:
        return {"queue_url": self.url, "region": REGION, **KEYS}

    async def queue(self, name: str, **attributes: str) -> str:
        made = await self.sqs.create_queue(QueueName=name, Attributes=attributes)
        self.url = str(made["QueueUrl"])
        self.arn = (await self.attributes())["QueueArn"]
        return self.url

    async def attributes(self) -> dict[str, str]:
        found = await self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])
        return dict(found["Attributes"])

    async def counts(self) -> tuple[int, int]:
        """How many messages wait, and how many are hidden."""
        found = await self.attributes()
        return int(found["ApproximateNumberOfMessages"]), int(found["ApproximateNumberOfMessagesNotVisible"])

    async def until(self, condition: Callable[[int, int], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition(*await self.counts()):  # noqa: ASYNC110 a server tells nobody
                await asyncio.sleep(0.02)

    async def empties(self) -> None:
        await self.until(lambda waiting, hidden: waiting + hidden == 0)


@pytest.fixture
async def aws(moto: str, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with client(moto, "sqs") as queues:
        place = Place(moto, queues)
        name = "".join(one if one.isalnum() else "-" for one in request.node.name)[:70]
        await place.queue(name)
        yield place


def here() -> StandIn:
    return StandIn(real_time=True)


async def events(one: Reading, count: int) -> list[Received]:
    return [await one.event() for _ in range(count)]


# ---- sqs -------------------------------------------------------------------------------------------------------------


async def test_all_messages_of_a_queue_are_read_and_deleted(aws: Place) -> None:
    sent: set[str] = set()
    for batch in range(10):
        entries = [{"Id": str(n), "MessageBody": json.dumps({"n": 10 * batch + n})} for n in range(10)]
        answer = await aws.sqs.send_message_batch(QueueUrl=aws.url, Entries=entries)
        sent.update(one["MessageId"] for one in answer["Successful"])
    site = here()
    async with reading(sqs.Source(sqs.Config.model_validate(aws.config), site), site) as one:
        found = await events(one, 100)
        await aws.empties()

    assert {event.id for event in found} == sent
    assert sorted(event.data["body"]["n"] for event in found) == list(range(100))
    assert found[0].created_at is not None
    assert site.notes == {}


async def test_attributes_of_a_message_are_read(aws: Place) -> None:
    attributes = {
        "kind": {"DataType": "String", "StringValue": "order"},
        "size": {"DataType": "Number", "StringValue": "3"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    await aws.sqs.send_message(QueueUrl=aws.url, MessageBody="text", MessageAttributes=attributes)
    site = here()
    config = sqs.Config.model_validate({**aws.config, "type_attribute": "kind"})
    async with reading(sqs.Source(config, site), site) as one:
        event = await one.event()

    assert (event.event_type, event.data["body"]) == ("order", "text")
    assert event.data["attributes"] == {"kind": "order", "size": "3", "raw": "AP8="}


async def test_a_message_whose_reader_died_comes_again_under_its_id(aws: Place) -> None:
    await aws.sqs.send_message(QueueUrl=aws.url, MessageBody="a")
    dead = await aws.sqs.receive_message(QueueUrl=aws.url, VisibilityTimeout=1)
    site = here()
    async with reading(sqs.Source(sqs.Config.model_validate(aws.config), site), site) as one:
        event = await one.event()
        await aws.empties()

    assert event.id == dead["Messages"][0]["MessageId"]
    assert event.data["received_count"] == 2
    assert site.notes["redelivered"] == 1


async def test_moto_gives_a_message_to_the_long_poll_of_a_reader_that_has_gone(aws: Place) -> None:
    """So after a kill -9 the next owner waits for a visibility, and for nothing else."""
    form = {"Action": "ReceiveMessage", "QueueUrl": aws.url, "WaitTimeSeconds": "20", "VisibilityTimeout": "2"}
    sign = f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/{REGION}/sqs/aws4_request"
    async with ClientSession(headers={"Authorization": sign}) as gone:
        asked = asyncio.ensure_future(gone.post(aws.url, data=form))
        await asyncio.wait({asked}, timeout=1.0)
        assert not asked.done()
        asked.cancel()
        await asyncio.wait({asked})
    sent = await aws.sqs.send_message(QueueUrl=aws.url, MessageBody="a")
    await aws.until(lambda waiting, hidden: (waiting, hidden) == (0, 1))
    site = here()
    async with reading(sqs.Source(sqs.Config.model_validate(aws.config), site), site) as one:
        event = await one.event()
        await aws.empties()

    assert (event.id, event.data["received_count"]) == (sent["MessageId"], 2)


async def test_a_message_stays_hidden_though_kafka_takes_longer_than_its_visibility(aws: Place) -> None:
    await aws.sqs.send_message(QueueUrl=aws.url, MessageBody="a")
    site = here()
    config = sqs.Config.model_validate({**aws.config, "visibility": 2})
    async with reading(sqs.Source(config, site), site) as one:
        held = await one.next(settle=False)
        others = await aws.sqs.receive_message(QueueUrl=aws.url, WaitTimeSeconds=5)
        assert others.get("Messages", []) == []
        await one.settle(held)
        await aws.empties()

    assert site.notes == {}


async def test_what_a_stopped_reader_had_is_there_for_the_next_at_once(aws: Place) -> None:
    for text in "abc":
        await aws.sqs.send_message(QueueUrl=aws.url, MessageBody=text)
    site = here()
    async with reading(sqs.Source(sqs.Config.model_validate(aws.config), site), site) as one:
        first = await one.event()
    assert await aws.counts() == (2, 0)
    async with reading(sqs.Source(sqs.Config.model_validate(aws.config), site), site) as one:
        rest = await events(one, 2)
        await aws.empties()

    assert len({first.id, *(event.id for event in rest)}) == 3


async def test_a_fifo_queue_keeps_its_order_with_a_poisonous_message_in_it(aws: Place) -> None:
    await aws.queue("orders.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    for number in range(10):  # moto's long poll does not see that a group is free again, so it is one batch
        text = "{poison" if number == 5 else json.dumps({"n": number})
        await aws.sqs.send_message(QueueUrl=aws.url, MessageBody=text, MessageGroupId=f"g{number % 2}")
    site = here()
    config = sqs.Config.model_validate({**aws.config, "body": "json"})
    async with reading(sqs.Source(config, site), site) as one:
        items = [await one.next() for _ in range(10)]
        await aws.empties()

    orders: dict[str | None, list[int]] = {}
    for item in items:
        if isinstance(item, Received):
            orders.setdefault(item.key, []).append(item.data["body"]["n"])
    assert orders == {"g0": [0, 2, 4, 6, 8], "g1": [1, 3, 7, 9]}
    assert [item.raw for item in items if isinstance(item, Unreadable)] == [b"{poison"]


async def test_a_fifo_group_that_was_given_back_begins_where_it_stopped(aws: Place) -> None:
    await aws.queue("again.fifo", FifoQueue="true")
    for number in range(6):
        await aws.sqs.send_message(
            QueueUrl=aws.url, MessageBody=str(number), MessageGroupId="g", MessageDeduplicationId=f"d{number}"
        )
    read: list[Received] = []
    while len(read) < 6:
        site = here()
        async with reading(sqs.Source(sqs.Config.model_validate(aws.config), site), site) as one:
            read += await events(one, 2)

    assert [event.id for event in read] == [f"g/d{number}" for number in range(6)]
    assert [event.data["body"] for event in read] == list("012345")


async def test_a_queue_that_is_not_there_is_refused(aws: Place) -> None:
    site = here()
    config = sqs.Config.model_validate({**aws.config, "queue_url": f"{aws.moto}/123456789012/absent"})
    async with reading(sqs.Source(config, site), site) as one:
        assert isinstance(await one.to_its_end(), Refused)


async def test_a_broker_that_is_away_costs_nothing_and_doubles_nothing(aws: Place) -> None:
    """Through the frame: messages stay hidden for longer than their visibility, and are deleted once Kafka is back."""
    for batch in range(5):
        entries = [{"Id": str(n), "MessageBody": str(10 * batch + n)} for n in range(10)]
        await aws.sqs.send_message_batch(QueueUrl=aws.url, Entries=entries)
    framed = Framed(Spec(id="orders", kind="sqs", options={**aws.config, "visibility": 2}))
    framed.broker.back.clear()
    async with in_frame(framed):
        await aws.until(lambda _, hidden: hidden == 50)
        others = await aws.sqs.receive_message(QueueUrl=aws.url, WaitTimeSeconds=5)
        assert others.get("Messages", []) == []
        assert framed.broker.events == []
        framed.broker.back.set()
        await aws.empties()

    assert sorted(int(json.loads(one.value)["data"]["body"]) for one in framed.broker.events) == list(range(50))


async def test_whoever_takes_over_after_a_stop_repeats_nothing(aws: Place) -> None:
    for batch in range(5):
        entries = [{"Id": str(n), "MessageBody": str(10 * batch + n)} for n in range(10)]
        await aws.sqs.send_message_batch(QueueUrl=aws.url, Entries=entries)
    published: list[str] = []
    while len(published) < 50:
        framed = Framed(Spec(id="orders", kind="sqs", options={**aws.config, "visibility": 2}))
        async with in_frame(framed):
            await framed.broker.told.wait()
            await framed.runner.stop()
        published += [json.loads(one.value)["data"]["body"] for one in framed.broker.events]

        left = 50 - len(published)
        await aws.until(lambda waiting, hidden, left=left: waiting + hidden == left)  # type: ignore[misc]

    assert sorted(map(int, published)) == list(range(50))


# ---- sns -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [False, True])
async def test_a_topic_is_read_with_raw_delivery_on_and_off(aws: Place, raw: bool) -> None:
    async with client(aws.moto, "sns") as topics:
        topic = (await topics.create_topic(Name=f"orders-{raw}"))["TopicArn"]
        await topics.subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=aws.arn, Attributes={"RawMessageDelivery": str(raw).lower()}
        )
        published = await topics.publish(
            TopicArn=topic,
            Message='{"total": 3}',
            Subject="a subject",
            MessageAttributes={"color": {"DataType": "String", "StringValue": "red"}},
        )
    site = here()
    async with reading(sns.Source(sns.Config.model_validate({**aws.config, "topic_arn": topic}), site), site) as one:
        event = await one.event()
        await aws.empties()

    assert (event.data["message"], event.data["attributes"]) == ({"total": 3}, {"color": "red"})
    if not raw:
        assert (event.id, event.data["subject"]) == (published["MessageId"], "a subject")


async def test_a_queue_is_subscribed_once_however_often_the_source_starts(aws: Place) -> None:
    async with client(aws.moto, "sns") as topics:
        topic = (await topics.create_topic(Name="subscribed"))["TopicArn"]
        # moto goes on with a long poll whose client has gone, and hides what comes for as long as that one asked
        config = sns.Config.model_validate({**aws.config, "topic_arn": topic, "subscribe": True, "visibility": 2})
        site = here()
        for text in ("a", "b"):
            async with reading(sns.Source(config, site), site) as one:
                waiting = asyncio.ensure_future(one.event())
                await site.is_connected.wait()
                await topics.publish(TopicArn=topic, Message=text)
                assert (await waiting).data["message"] == text
                await aws.empties()
        found = await topics.list_subscriptions_by_topic(TopicArn=topic)

    assert [one["Endpoint"] for one in found["Subscriptions"]] == [aws.arn]
    assert topic in (await aws.attributes())["Policy"]


# ---- s3 --------------------------------------------------------------------------------------------------------------


async def put(objects: Any, bucket: str, key: str, body: bytes = b"abc") -> None:
    await objects.put_object(Bucket=bucket, Key=key, Body=body)


async def test_notifications_of_a_bucket_come_through_the_queue(aws: Place) -> None:
    async with client(aws.moto, "s3") as objects:
        place = {"LocationConstraint": REGION}
        await objects.create_bucket(Bucket="notifying", CreateBucketConfiguration=place)
        await objects.put_bucket_notification_configuration(
            Bucket="notifying",
            NotificationConfiguration={
                "QueueConfigurations": [{"QueueArn": aws.arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}]
            },
        )
        await put(objects, "notifying", "in/a b+é%2F.txt")
        await put(objects, "notifying", "in/data.json", b'{"total": 3}')
        site = here()
        config = {**aws.config, "mode": "queue", "endpoint_url": aws.moto, "content": "auto"}
        async with reading(s3.Source(s3.Config.model_validate(config), site), site) as one:
            found = await events(one, 2)
            await objects.delete_object(Bucket="notifying", Key="in/data.json")
            found += await events(one, 1)
            await aws.empties()

    assert site.notes == {"skipped": 1}  # the TestEvent
    by_key = {(event.event_type, event.key): event for event in found}
    assert set(by_key) == {("create", "in/a b+é%2F.txt"), ("create", "in/data.json"), ("delete", "in/data.json")}
    assert by_key["create", "in/data.json"].data["content"] == {"total": 3}
    assert by_key["create", "in/a b+é%2F.txt"].data["content"] == "abc"
    assert len({event.id for event in found}) == 3


async def test_a_bucket_of_many_objects_is_listed_and_looked_at_again(aws: Place) -> None:
    async with client(aws.moto, "s3") as objects:
        await objects.create_bucket(Bucket="listed", CreateBucketConfiguration={"LocationConstraint": REGION})
        keys = [f"in/{number:04} ü+&.txt" for number in range(1_010)]
        for key in keys:
            await put(objects, "listed", key)
        await put(objects, "listed", "out/a")
        config = s3.Config.model_validate(
            {
                "mode": "list",
                "emit_existing": True,
                "bucket": "listed",
                "prefix": "in/",
                "interval": 0.05,
                "endpoint_url": aws.moto,
                "region": REGION,
                **KEYS,
            }
        )
        site = here()
        async with reading(s3.Source(config, site), site) as one:
            first = await events(one, len(keys))
            assert isinstance(await one.next(), Moved)
        await put(objects, "listed", keys[5], b"changed")
        await objects.delete_object(Bucket="listed", Key=keys[7])
        await put(objects, "listed", "in/new")
        async with reading(s3.Source(config, site), site) as one:
            second = await events(one, 3)
            assert isinstance(await one.next(), Moved)
            await put(objects, "listed", "in/newer")
            third = await one.event()

    assert [event.key for event in first] == keys
    assert [(event.event_type, event.key) for event in (*second, third)] == [
        ("update", keys[5]),
        ("create", "in/new"),
        ("delete", keys[7]),
        ("create", "in/newer"),
    ]


async def test_a_growing_bucket_goes_on_after_its_last_key(aws: Place) -> None:
    async with client(aws.moto, "s3") as objects:
        await objects.create_bucket(Bucket="growing", CreateBucketConfiguration={"LocationConstraint": REGION})
        config = s3.Config.model_validate(
            {
                "mode": "list",
                "emit_existing": True,
                "order": "growing",
                "bucket": "growing",
                "interval": 0.05,
                "endpoint_url": aws.moto,
                "region": REGION,
                **KEYS,
            }
        )
        site, found = here(), []
        for number in range(3):
            await put(objects, "growing", f"2026-06-0{number}")
            async with reading(s3.Source(config, site), site) as one:
                found.append(await one.event())

    assert [event.key for event in found] == ["2026-06-00", "2026-06-01", "2026-06-02"]


# ---- credentials -----------------------------------------------------------------------------------------------------

ALLOWED = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}]}


@asynccontextmanager
async def authorised(moto: str) -> AsyncIterator[None]:
    """Let moto look at credentials and policies for a while."""

    async def after(count: str) -> None:
        async with ClientSession() as http, http.post(f"{moto}/moto-api/reset-auth", data=count) as answer:
            answer.raise_for_status()

    await after("0")
    try:
        yield
    finally:
        await after("1e9")


async def test_revoked_credentials_refuse_and_restored_ones_go_on(aws: Place) -> None:
    async with client(aws.moto, "iam") as users:
        await users.create_user(UserName="reader")
        await users.put_user_policy(UserName="reader", PolicyName="all", PolicyDocument=json.dumps(ALLOWED))
        key = (await users.create_access_key(UserName="reader"))["AccessKey"]
        keys = {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}
        await aws.sqs.send_message(QueueUrl=aws.url, MessageBody="a")
        await aws.sqs.send_message(QueueUrl=aws.url, MessageBody="b")
        site = here()
        source = sqs.Source(sqs.Config.model_validate({**aws.config, **keys}), site)

        async def ends() -> Exception:
            async with authorised(aws.moto), reading(source, site) as one:
                return await one.to_its_end()

        await users.delete_user_policy(UserName="reader", PolicyName="all")
        denied = await ends()
        await users.put_user_policy(UserName="reader", PolicyName="all", PolicyDocument=json.dumps(ALLOWED))
        async with authorised(aws.moto), reading(source, site) as one:
            found = await events(one, 2)
        await users.delete_access_key(UserName="reader", AccessKeyId=key["AccessKeyId"])
        revoked = await ends()

    assert {event.data["body"] for event in found} == {"a", "b"}
    assert [type(one) for one in (denied, revoked)] == [Refused, Refused]
    assert await aws.counts() == (0, 0)
