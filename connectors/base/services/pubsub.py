"""Reads a subscription of Google Pub/Sub over REST: pull, leases that are extended, acknowledgement after the broker.

For `pubsub` and `gcs`. A loop of our own: Google's client runs threads and gRPC, and would keep the flow to itself.
"""

import base64
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final
from urllib.parse import quote

from connectors.base.contract import Ack, NotConnected, Site
from connectors.base.options import Field, Seconds
from connectors.base.services.google import Google, GoogleOptions, Reply
from connectors.base.services.leases import Failed, Lease, Leases

SCOPE: Final = "https://www.googleapis.com/auth/pubsub"
URL: Final = "https://pubsub.googleapis.com"
AT_ONCE: Final = 500
"""Messages in one request: ids of 200 characters stay far below the 512 KiB that a request may have."""
PULL_SECONDS: Final = 120.0
"""Longer than Google holds a pull that finds nothing (90 s seen)."""
_SLOWEST_EMPTY_SECONDS: Final = 0.2
_PAUSE_SECONDS: Final = 1.0


SubscriptionName = Annotated[
    str, Field(pattern=r"^projects/[a-z0-9:.-]+/subscriptions/[A-Za-z][A-Za-z0-9._~+%-]{2,254}$")
]


class SubscriptionOptions(GoogleOptions):
    """How a subscription is read."""

    lease: Seconds = Field(
        default=20,
        ge=10,
        le=600,
        description="How long Pub/Sub lends a message; extended in time while it waits for Kafka, so it is how long "
        "others wait for the messages of a process that died.",
    )
    max_in_flight: int = Field(
        default=1000, ge=1, le=100_000, description="Most messages that are read and not acknowledged yet."
    )
    max_in_flight_bytes: int = Field(
        default=100 * 1024 * 1024, ge=1024, description="Most bytes that are read and not acknowledged yet."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message of the subscription, lent to us until `ack` is called."""

    handle: str
    """Its ackId, of this delivery."""
    id: str
    data: bytes
    attributes: Mapping[str, str]
    ordering_key: str | None
    published_at: datetime | None
    delivery_attempt: int | None
    """Of a subscription with a dead letter topic alone."""
    ack: Ack


class Subscription:
    """One subscription, as long as its source lives."""

    def __init__(self, options: SubscriptionOptions, name: str, site: Site, *, endpoint_url: str | None) -> None:
        self._options, self._site = options, site
        self._google = Google(options, site, scope=SCOPE, url=endpoint_url or URL)
        self._path = f"/v1/{quote(name, safe='/:')}"
        self._name = f"{name} at {self._google.host}"

    async def messages(self) -> AsyncGenerator[Message, None]:
        """Connect and yield what comes, in each key's order. Raises NotConnected and Refused; to be closed."""
        options, lender = self._options, _Lender(self._google, self._path, self._name)
        async with (
            Leases(
                lender,
                self._site,
                seconds=int(options.lease),
                most=options.max_in_flight,
                most_bytes=options.max_in_flight_bytes,
            ) as leases,
            aclosing(leases.ahead(partial(self._receive, lender, leases))) as messages,
        ):
            async for message in messages:
                yield message

    async def _receive(self, lender: "_Lender", leases: Leases, *, first: bool) -> list[tuple[Message, Lease]]:
        """Pull, and wait for messages, but the first time: it tells whether the subscription can be read."""
        await leases.room()
        asked_at = self._site.monotonic()
        asked: dict[str, Any] = {"maxMessages": min(AT_ONCE, leases.free)}
        if first:
            asked["returnImmediately"] = True
        received = await self._pull(asked)
        if not received:
            if not first and self._site.monotonic() - asked_at < _SLOWEST_EMPTY_SECONDS:
                await self._site.sleep(_PAUSE_SECONDS)
            return []
        # The subscription's own deadline is not known to us, and may be 10 s: this one is.
        since = self._site.monotonic()
        failed = await lender.extend([one.handle for one in received], int(self._options.lease))
        taken = []
        for one in received:
            if one.handle in failed:
                self._site.note("lease_lost")
            else:
                lease = leases.take(one.handle, since=since, group=one.ordering_key, size_bytes=len(one.data))
                taken.append((replace(one, ack=partial(leases.done, lease)), lease))
        again = sum((one.delivery_attempt or 1) > 1 for one in received)
        if again:
            self._site.note("redelivered", again)
        return taken

    async def _pull(self, asked: Mapping[str, Any]) -> Sequence["Message"]:
        doing = f"pulling from subscription {self._name}"
        try:
            answer = await self._google.call(
                "POST", f"{self._path}:pull", json=asked, timeout_seconds=PULL_SECONDS, doing=doing
            )
        except NotConnected as error:
            if error.reason == "timeout" and "returnImmediately" not in asked:
                return ()  # there was nothing all the while
            raise
        try:
            return [_message(one) for one in answer.get("receivedMessages", ())]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NotConnected(f"{doing}: the answer is none of Pub/Sub's", reason="protocol") from error


class _Lender:
    """Pub/Sub, as base.services.leases asks it. With exactly-once delivery it says what became of each message."""

    at_once = AT_ONCE

    def __init__(self, google: Google, path: str, name: str) -> None:
        self._google, self._path, self._name = google, path, name

    async def settle(self, handles: Sequence[str]) -> Mapping[str, Failed]:
        doing = f"acknowledging to subscription {self._name}"
        return await self._all("acknowledge", handles, {}, doing)

    async def extend(self, handles: Sequence[str], seconds: int) -> Mapping[str, Failed]:
        doing = f"extending leases of subscription {self._name}"
        return await self._all("modifyAckDeadline", handles, {"ackDeadlineSeconds": seconds}, doing)

    async def _all(
        self, verb: str, handles: Sequence[str], more: Mapping[str, Any], doing: str
    ) -> Mapping[str, Failed]:
        body = {"ackIds": list(handles), **more}
        reply = await self._google.ask("POST", f"{self._path}:{verb}", json=body, doing=doing)
        if 200 <= reply.status < 300:
            return {}
        failed = _failed(reply, handles)
        if failed:
            return failed
        if reply.status == 400 and "INVALID_ARGUMENT" in reply.reasons:
            return dict.fromkeys(handles, Failed.LOST)
        raise reply.failure(doing)


def _failed(reply: Reply, handles: Sequence[str]) -> Mapping[str, Failed]:
    """What google.rpc.ErrorInfo says of single messages; all others of the request are done."""
    known, found = set(handles), {}
    details = reply.error.get("details")
    for detail in details if isinstance(details, list) else ():
        metadata = detail.get("metadata") if isinstance(detail, dict) else None
        for handle, word in (metadata if isinstance(metadata, dict) else {}).items():
            if handle in known:
                passes = isinstance(word, str) and word.startswith("TRANSIENT_")
                found[handle] = Failed.AGAIN if passes else Failed.LOST
    return found


def _message(received: Mapping[str, Any]) -> Message:
    """Read one message. Raises KeyError, TypeError, ValueError or AttributeError for what is none."""
    message = received["message"]
    handle, identity = received["ackId"], message["messageId"]
    if not (isinstance(handle, str) and isinstance(identity, str)):
        raise TypeError
    return Message(
        handle=handle,
        id=identity,
        data=base64.b64decode(message.get("data", ""), validate=True),
        attributes={name: _text(value) for name, value in message.get("attributes", {}).items()},
        ordering_key=message.get("orderingKey") or None,
        published_at=_moment(message.get("publishTime")),
        delivery_attempt=int(received.get("deliveryAttempt", 0)) or None,
        ack=_nothing,
    )


async def _nothing() -> None:
    """The acknowledgement of a message without a lease."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _moment(text: str | None) -> datetime | None:
    """Return a time; None at the ends of all time. Raises TypeError and ValueError for what is none."""
    try:
        return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError:
        return None
