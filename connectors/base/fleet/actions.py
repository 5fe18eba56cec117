"""Messages that runs ask sources to send: read from `actions`, sent in the order of each source, answered by an event.

At least once: a crash between sending and the note of it sends again, with the same idempotency key.
"""

import asyncio
import random
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition, errors

from connectors.base.backoff import Backoff, Reconnect
from connectors.base.batches import guard, say_passed_over
from connectors.base.closing import close, end, start
from connectors.base.contract import NotConnected, Refused
from connectors.base.fleet.refusals import FOR_GOOD
from connectors.base.fleet.turns import Turns
from connectors.base.instance.events import NotAnEvent, Outgoing, TooLargeForKafka, bounded_id, source_of
from connectors.base.instance.runner import Runner
from connectors.base.logs import warn
from connectors.base.metrics import SourceMetrics
from topics import codec
from topics.malformed import Malformed
from topics.sources import Message, Status, Unsuitable, message_of, sent_topic, state_topic

ACTIONS: Final = "/actions"
"""Under this name the position in `actions` is among the positions: no source can have it."""
MOST_BYTES: Final = 512 * 1024
"""Of a reply: a step's result is not to be larger than an event."""
LOOK_SECONDS: Final = 0.5
SEND_SECONDS: Final = 120.0
"""After which a kind that has not said what became of a message is asked again: those behind it wait."""
UNSET_SECONDS: Final = 10.0
"""How long a message waits for a source that is not set up here: its own record may come a moment later."""
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0
_PATIENCE: Final = Reconnect(base_seconds=0.2, max_seconds=5.0)


def told(status: Status, *, asked_at: int | None = None) -> Outgoing:
    """Return the event by which a run hears how its source is: one for each state of each connection.

    `asked_at` tells apart those who asked for the same source, one after the other.
    """
    event_id = f"{status.epoch}/{status.state.value}/{status.since_ms}{'' if asked_at is None else f'/{asked_at}'}"
    return _event(state_topic(status.id), status.to_record(), status.state.value.replace(" ", "_"), event_id, status.id)


class Actions:
    """The messages of one partition."""

    def __init__(
        self,
        partition: int,
        *,
        prefix: str,
        client: Mapping[str, Any],
        runner_of: Callable[[str], Runner | None],
        publish: Callable[[Sequence[Outgoing]], Awaitable[None]],
        metrics: SourceMetrics,
    ) -> None:
        self._where = TopicPartition(f"{prefix}actions", partition)
        self._client, self._runner_of, self._publish, self._metrics = client, runner_of, publish, metrics
        self._open: set[asyncio.Task[None]] = set()
        self._last: dict[str, asyncio.Task[None]] = {}
        self._turns = Turns()
        self._failure: BaseException | None = None

    async def run(self, *, begin: Any, done: Callable[[Any], None]) -> None:
        """Read and send from a position on until cancelled; `done` hears each position from where to go on.

        Raises what Kafka will not forgive, and what publishing answers raises.
        """
        pause = FIRST_PAUSE_SECONDS
        self._turns = Turns(begin)
        try:
            while True:
                consumer = AIOKafkaConsumer(
                    **self._client,
                    enable_auto_commit=False,
                    auto_offset_reset="earliest",
                    isolation_level="read_committed",
                )
                try:
                    await start(consumer.start())
                    guard(consumer, say_passed_over, unreadable="pass over")
                    consumer.assign([self._where])
                    await self._seek(consumer)
                    while True:
                        await self._read(consumer, done)
                        pause = FIRST_PAUSE_SECONDS
                except (errors.KafkaError, OSError) as error:
                    if error is self._failure or isinstance(error, FOR_GOOD):
                        raise
                    warn("actions_retried", partition=self._where.partition, reason=f"{type(error).__name__}: {error}")
                finally:
                    await close(consumer.stop())
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        finally:
            await end(self._open)

    async def _seek(self, consumer: AIOKafkaConsumer) -> None:
        """Begin where reading goes on; what waits is read again where it has room."""
        if not self._turns.is_new and (await consumer.end_offsets([self._where]))[self._where] < self._turns.end:
            warn("actions_begin_anew", partition=self._where.partition, reason="the topic has been made anew")
            self._turns = Turns()
        if self._turns.is_new:
            await consumer.seek_to_beginning(self._where)
        else:
            consumer.seek(self._where, self._turns.end)

    async def _read(self, consumer: AIOKafkaConsumer, done: Callable[[Any], None]) -> None:
        turns = self._turns
        if turns.is_full and await consumer.position(self._where) >= turns.end:
            await asyncio.sleep(LOOK_SECONDS)
        else:
            fetched = await consumer.getmany(timeout_ms=int(LOOK_SECONDS * 1000))
            for record in fetched.get(self._where, []):
                self._begin(record, done)
        if self._failure is not None:
            raise self._failure
        to = turns.turn(await consumer.position(self._where))
        if to is not None:
            consumer.seek(self._where, to)

    def _begin(self, record: Any, done: Callable[[Any], None]) -> None:
        turns, offset = self._turns, record.offset
        try:
            message = message_of(record.value or b"")
        except Unsuitable as error:
            if turns.pass_over(offset):
                warn("action_passed_over", partition=self._where.partition, offset=offset, reason=str(error))
                done(turns.position)
            return
        if not turns.takes(offset, message.source, len(record.value)):
            return
        task = asyncio.create_task(self._send(message, self._last.get(message.source)))
        self._open.add(task)
        self._last[message.source] = task

        def ended(task: "asyncio.Task[None]") -> None:
            self._open.discard(task)
            if self._last.get(message.source) is task:
                del self._last[message.source]
            if task.cancelled():
                return
            if (failure := task.exception()) is not None:
                self._failure = failure
                return
            turns.done(offset)
            if turns is self._turns:
                done(turns.position)

        task.add_done_callback(ended)

    async def _send(self, message: Message, before: "asyncio.Task[None] | None") -> None:
        """Send one message once those before it are done, and tell what became of it."""
        if before is not None:
            await asyncio.wait([before])
        runner, answer = await self._sent(message)
        provider = "none" if runner is None else runner.watched.provider
        self._metrics.sent.labels(provider, answer["status"]).inc()
        if runner is not None and isinstance(answer.get("error"), str):
            answer["error"] = runner.masked(answer["error"])
        # Ids of runs fit as they are; anybody may write others.
        topic, event_id = sent_topic(message.id), bounded_id(message.id) or "none"
        try:
            event = _event(topic, answer, answer["status"], event_id, message.source)
        except NotAnEvent as error:  # an answer of the other side that no event can hold
            answer = {"status": answer["status"], "reply": None, "error": f"the reply cannot be told: {error.reason}"}
            event = _event(topic, answer, answer["status"], event_id, message.source)
        try:
            await self._publish([event])
        except TooLargeForKafka:
            words = "the reply cannot be told: the topic's max.message.bytes is below it"
            await self._publish(
                [_event(topic, answer | {"reply": None, "error": words}, answer["status"], event_id, message.source)]
            )

    async def _sent(self, message: Message) -> tuple[Runner | None, dict[str, Any]]:
        backoff = Backoff(_PATIENCE)
        began = time.monotonic()
        late = "its time was over before it could be sent"
        while True:
            runner = self._runner_of(message.source)
            if time.time() * 1000 > message.expires_ms:
                return runner, _failed(late)
            try:
                if runner is None and time.monotonic() - began > UNSET_SECONDS:
                    raise Refused(f"there is no source {message.source!r}")
                if runner is None:
                    raise NotConnected(f"source {message.source!r} is not set up")
                reply = await self._through(runner, message)
            except Refused as error:
                return runner, _failed(str(error))
            except NotConnected as error:
                late = f"in time it was not sent: {error}"
                pause = backoff.next(random.random(), retry_after_seconds=error.retry_after_seconds)
                if time.time() * 1000 + pause * 1000 > message.expires_ms:
                    return runner, _failed(late)
                await asyncio.sleep(pause)
            else:
                return runner, {"status": "sent", "reply": reply, "error": None}

    async def _through(self, runner: Runner, message: Message) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                reply = await runner.send(message.body, key=message.id)
                return None if reply is None else dict(reply)
        except TimeoutError:
            raise NotConnected(f"source {message.source!r} took longer than {SEND_SECONDS:g} s") from None
        except (NotConnected, Refused):
            raise
        except Exception as error:  # noqa: BLE001 sent again after a crash, it would end one process after the other
            trace = runner.masked("".join(traceback.format_exception(error)))
            warn("action_failed", source=message.source, kind=runner.spec.kind, exception=trace)
            words = f"the kind {runner.spec.kind!r} fails on this message with {type(error).__name__}"
            raise Refused(words, reason="message") from None


def _failed(words: str) -> dict[str, Any]:
    return {"status": "failed", "reply": None, "error": words}


def _event(topic: str, data: Any, event_type: str, event_id: str, instance_id: str) -> Outgoing:
    try:
        key, value, headers = codec.produce_form(
            topic, data, event_type=event_type, event_id=event_id, key=instance_id, source=source_of(instance_id)
        )
    except Malformed as error:
        raise NotAnEvent(code=error.code, reason=error.reason, remedy=error.remedy) from None
    made = Outgoing(home=instance_id, key=key, value=value, headers=headers)
    if made.size_bytes > MOST_BYTES:
        raise NotAnEvent(code="too_large", reason=f"it has {made.size_bytes} bytes", remedy="ask for less")
    return made
