"""The options of kind `websocket`."""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Secret, field_validator, model_validator

from connectors.base.options import Field, Options, Seconds, SecretStr, SocketUrl, Url
from connectors.base.services.bodies import Form
from connectors.base.texts.filters import Filter, FilterError
from connectors.websocket import messages, places
from connectors.websocket.inbox import Overflow

TOKEN, POSITION = "token", "position"

Message = Secret[Any]
"""JSON, or a text that is sent as it is. It may hold keys to the other side, so that it is shown nowhere."""


def _is_filter(conditions: dict[str, Any]) -> dict[str, Any]:
    try:
        Filter(conditions)
    except FilterError as error:
        raise ValueError(str(error)) from None
    return conditions


def _is_pointer(text: str) -> str:
    messages.pointer(text)
    return text


Matcher = Annotated[dict[str, Any], AfterValidator(_is_filter)]
Pointer = Annotated[str, AfterValidator(_is_pointer), Field(max_length=500)]


class Binary(StrEnum):
    """How frames of binary data are read."""

    BASE64 = "base64"
    RAW = "raw"
    """As if they were text."""


class Place(StrEnum):
    """Where a token goes."""

    HEADER = "header"
    QUERY = "query"
    MESSAGE = "message"
    """Where `{{ token }}` stands in messages of `subscribe`."""


class SendAs(StrEnum):
    """What `event.send` sends."""

    JSON = "json"
    TEXT = "text"


class Subscribe(Options):
    """A message that is sent after connecting."""

    message: Message = Field(
        description="JSON, or a text that is sent as it is. `{{ token }}` and `{{ position }}` are replaced; what has "
        "a place for which there is nothing is left out."
    )
    answer: Matcher | None = Field(
        default=None,
        description="What answers it, in the form of `filter` over `type` and `data`, such as {data.result: ok}. The "
        "next message is sent after the answer, which is no event.",
    )
    timeout: Seconds = Field(default=10.0, description="Longest wait for the answer; then it connects again.")

    @field_validator("message")
    @classmethod
    def _places(cls, message: Message) -> Message:
        places.check(message.get_secret_value(), {TOKEN, POSITION})
        return message


class Ping(Options):
    """A message that keeps the connection open, for services that do not count the pings of the protocol."""

    message: Any = Field(description="JSON, or a text that is sent as it is.")
    interval: Seconds = Field(default=30.0, description="Time between two of them.")
    pong: Matcher | None = Field(
        default=None, description="What answers it, in the form of `filter`; such messages are no events."
    )


class Token(Options):
    """A token that is fetched before each connection."""

    url: Url = Field(description="Where a token is asked for.")
    method: str = Field(default="POST", pattern="^(GET|POST|PUT)$", description="Method of the request.")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="Headers of the request.")
    body: Message | None = Field(default=None, description="JSON of the request.")
    pointer: Pointer = Field(default="/token", description="JSON pointer to the token in the answer.")
    put: Place = Field(default=Place.HEADER, description="Where the token goes: `header`, `query` or `message`.")
    name: str = Field(default="Authorization", description="Name of the header or of the parameter of the query.")
    prefix: str = Field(default="Bearer ", description="What stands before it in the header.")


class Resume(Options):
    """Going on where the last connection ended, for services that can. What they send twice needs an id_pointer."""

    pointer: Pointer = Field(
        description="JSON pointer to the value in messages that is sent back: in `subscribe` as `{{ position }}`."
    )
    query: str | None = Field(default=None, description="Parameter of the url's query that it is put into as well.")


class Config(Options):
    """Options of kind `websocket`."""

    url: SocketUrl = Field(description="Where to connect: ws:// or wss://.")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="Headers of the handshake.")
    subprotocols: list[str] = Field(default_factory=list, max_length=20, description="Subprotocols to offer.")
    token: Token | None = Field(default=None, description="A token that is fetched before each connection.")
    subscribe: list[Subscribe] = Field(
        default_factory=list, max_length=1000, description="Messages to send after connecting, one after the other."
    )
    resume: Resume | None = Field(default=None, description="A value of the last message that is sent back.")
    form: Form = Field(
        default=Form.AUTO,
        description="Messages: `auto` is JSON if it is an object or a list, else text; `json`, `text` or `base64`.",
    )
    binary: Binary = Field(
        default=Binary.BASE64, description="Frames of binary data: `base64`, or `raw` to read them like text."
    )
    type_pointer: Pointer | None = Field(
        default=None, description="JSON pointer to the event's type. Default: `type`, else `event`, else `message`."
    )
    id_pointer: Pointer | None = Field(
        default=None,
        description="JSON pointer to what names the message, in every delivery of it. Default: connection and number.",
    )
    ack: Any = Field(
        default=None,
        description="Message to send once the broker has an event, such as {ack: '{{ data.id }}'}; its places are "
        "`id`, `type` and `data`. For services that repeat what is not acknowledged; it needs id_pointer.",
    )
    ping: Ping | None = Field(default=None, description="A message that keeps the connection open.")
    ping_interval: Seconds | None = Field(
        default=20.0, description="Time between pings of the protocol; null for none."
    )
    idle_timeout: Seconds | None = Field(
        default=60.0, description="Connect again when no byte came for so long, not even a pong; null for never."
    )
    connect_timeout: Seconds = Field(default=30.0, description="Longest wait for the handshake.")
    max_message_bytes: int = Field(
        default=4 * 1024 * 1024, ge=1, le=256 * 1024 * 1024, description="Largest message that is taken."
    )
    compress: bool = Field(default=False, description="Offer permessage-deflate.")
    fatal_close_codes: list[int] = Field(
        default_factory=list,
        max_length=1000,
        description="Close codes after which the source has failed until somebody mends it, such as 4001.",
    )
    overflow: Overflow = Field(
        default=Overflow.BLOCK,
        description="When events come faster than the broker takes them: `block` slows the other side down, "
        "`drop_oldest` drops and counts, `disconnect` connects anew.",
    )
    buffer_messages: int = Field(default=1000, ge=1, le=1_000_000, description="Messages that may wait for the broker.")
    buffer_bytes: int = Field(
        default=16 * 1024 * 1024, ge=1, le=1 << 30, description="Bytes of messages that may wait for the broker."
    )
    send_as: SendAs = Field(
        default=SendAs.JSON, description="What event.send sends: its message as `json`, or its member `text` as `text`."
    )

    @field_validator("ack")
    @classmethod
    def _ack_places(cls, ack: Any) -> Any:
        places.check(ack, {"id", "type", "data"})
        return ack

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.ack is not None and self.id_pointer is None:
            raise ValueError("ack needs id_pointer: what is repeated has to have the same id")
        sent = [one.message.get_secret_value() for one in self.subscribe]
        used = places.check(sent, {TOKEN, POSITION})
        if POSITION in used and self.resume is None:
            raise ValueError("subscribe has a place {{ position }}, which needs resume")
        if TOKEN in used and self.token is None:
            raise ValueError("subscribe has a place {{ token }}, which needs token")
        if self.token is not None and self.token.put is Place.MESSAGE and TOKEN not in used:
            raise ValueError("token.put is message, and no message of subscribe has the place {{ token }}")
        return self
