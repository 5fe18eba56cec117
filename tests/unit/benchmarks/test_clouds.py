"""Queues and buckets of the world outside; that sources read them is in `test_sources`."""

import asyncio
import json

from benchmarks import clouds, events
from benchmarks.clouds import Bucket, Queue


def messages(run: str, count: int) -> list[bytes]:
    return [value for _, value in events.events(run, 0, count)]


async def test_a_queue_lends_each_message_once_in_the_order_of_the_runs() -> None:
    queue = Queue()
    queue.add(iter(messages("a-", 3)))
    queue.add(iter(messages("b-", 1)))

    found = [await queue.take(2, wait_seconds=0) for _ in range(4)]

    assert found == [messages("a-", 2), messages("a-", 3)[2:], messages("b-", 1), []]


async def test_who_waits_for_a_message_gets_it_once_it_is_there() -> None:
    queue = Queue()
    waiting = asyncio.create_task(queue.take(10, wait_seconds=20))
    await asyncio.sleep(0)
    queue.add(iter(messages("a-", 1)))

    assert await waiting == messages("a-", 1)


async def test_only_what_is_deleted_counts_as_settled() -> None:
    queue = Queue()
    entries = {"Entries": [{"Id": "0"}, {"Id": "1"}]}

    await clouds.sqs(queue, "ChangeMessageVisibilityBatch", entries)
    assert queue.settled == 0
    _, answer = await clouds.sqs(queue, "DeleteMessageBatch", entries)
    await clouds.pubsub(queue, f"{clouds.SUBSCRIPTIONS}orders:modifyAckDeadline", {"ackIds": ["a"]})
    await clouds.pubsub(queue, f"{clouds.SUBSCRIPTIONS}orders:acknowledge", {"ackIds": ["a"]})

    assert json.loads(answer) == {"Successful": [{"Id": "0"}, {"Id": "1"}], "Failed": []}
    assert queue.settled == 3


def test_pages_of_a_bucket_follow_each_other() -> None:
    bucket = Bucket()
    bucket.add({f"{number:05}": ("a-", number) for number in range(clouds.PAGE + 2)})

    first, more = bucket.page()
    last, none = bucket.page(after=first[-1])

    assert (len(first), more, list(last), none) == (clouds.PAGE, True, ["01000", "01001"], False)
    assert bucket.page(begin="01001") == (["01001"], False)
    assert bucket.content("00002") == messages("a-", 3)[2]
