"""The Faust agents: a chunk of records in, the partition's pump called. They decide nothing and acknowledge nothing:
what was taken is in the journal, with its offset, or it is fetched again.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, cast

from faust.streams import Stream

from app.kafka.faust_app import HeadgateApp
from app.pump.pump import Pump


class Pumps(Protocol):
    """Where the agents find the owner of a partition."""

    def pump(self, partition: int) -> Pump | None: ...


def declare(app: HeadgateApp, pumps: Pumps, failed: Callable[[BaseException], None]) -> None:
    """Declare the agents of `events` and `commands`. `failed` is told of an error that must end the process."""

    async def hand_on(stream: Stream[Any], offer: Callable[[Pump, Sequence[Any], int], Awaitable[None]]) -> None:
        try:
            async for event in stream.noack().events():
                pump = pumps.pump(event.message.partition)
                if pump is not None and event.message.generation_id == app.consumer_generation_id:
                    await offer(pump, event.value.take(), event.value.begin)
        except Exception as error:  # an agent that ended would be a silent stall
            failed(error)
            raise

    async def events(stream: Stream[Any]) -> None:
        await hand_on(stream, Pump.offer_events)

    async def commands(stream: Stream[Any]) -> None:
        await hand_on(stream, Pump.offer_commands)

    for function, topic in ((events, app.events_topic), (commands, app.commands_topic)):
        channel = app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        app.agent(channel, name=function.__name__)(cast(Any, function))
