"""What can be sent through a bot (`event.send`): a message, a reaction, an answer to an interaction. Pure.

Discord makes a message once for a nonce (`enforce_nonce`, for some minutes); reactions and edits may be repeated as
they are; a second answer to an interaction is refused, which is as good as done.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from pydantic import ConfigDict, Discriminator, Field, StringConstraints, Tag, TypeAdapter, ValidationError

from connectors.base.contract import Refused
from connectors.base.options import Options
from connectors.discord.limits import Route
from connectors.discord.rest import Ask

ALREADY_ANSWERED: Final = 40060
"""Discord's code: the interaction has been acknowledged."""
NONCE_LENGTH: Final = 25

Snowflake = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}$")]
Token = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~-]{1,1024}$")]


class _Sent(Options):
    model_config = ConfigDict(hide_input_in_errors=True)


class _Body(_Sent):
    """What a message consists of; Discord decides about the contents."""

    content: str | None = Field(default=None, max_length=2000)
    embeds: list[dict[str, Any]] | None = Field(default=None, max_length=10)
    components: list[dict[str, Any]] | None = None
    allowed_mentions: dict[str, Any] | None = None
    flags: int | None = None

    def body(self) -> dict[str, Any]:
        shown = ("content", "embeds", "components", "allowed_mentions", "flags")
        return {name: value for name in shown if (value := getattr(self, name)) is not None}


class Message(_Body):
    """A message into a channel, as an answer to another one when `reply_to` is given."""

    action: Literal["message"] = "message"
    channel: Snowflake
    reply_to: Snowflake | None = None
    tts: bool | None = None

    def ask(self, key: str) -> Ask:
        body = {**self.body(), "nonce": nonce(key), "enforce_nonce": True}
        if self.tts is not None:
            body["tts"] = self.tts
        if self.reply_to is not None:
            body["message_reference"] = {"message_id": self.reply_to, "fail_if_not_exists": False}
        route = Route(form="POST /channels/messages", major=self.channel)
        return Ask(method="POST", path=f"/channels/{self.channel}/messages", route=route, json=body)


class Reaction(_Sent):
    """A reaction to a message: an emoji, or `name:id` for one of a guild."""

    action: Literal["reaction"]
    channel: Snowflake
    message: Snowflake
    emoji: str = Field(min_length=1, max_length=100)

    def ask(self, key: str) -> Ask:  # noqa: ARG002 the same for all
        emoji = quote(self.emoji, safe="")
        path = f"/channels/{self.channel}/messages/{self.message}/reactions/{emoji}/@me"
        return Ask(method="PUT", path=path, route=Route(form="PUT /channels/messages/reactions", major=self.channel))


class Answer(_Body):
    """The first answer to an interaction, within 3 s of it; type 4 is a message, 5 says that one will come."""

    action: Literal["answer"]
    interaction: Snowflake
    token: Token
    type: int = Field(default=4, ge=1, le=99)
    data: dict[str, Any] | None = None

    def ask(self, key: str) -> Ask:  # noqa: ARG002 the same for all
        data = {**(self.data or {}), **self.body()}
        json: dict[str, Any] = {"type": self.type, **({"data": data} if data else {})}
        path = f"/interactions/{self.interaction}/{self.token}/callback"
        route = Route(form="POST /interactions/callback", major=self.interaction, globally=False)
        return Ask(method="POST", path=path, route=route, json=json, authorized=False)


class Edit(_Body):
    """Another text for the first answer to an interaction, within 15 minutes of it."""

    action: Literal["edit_answer"]
    application: Snowflake
    token: Token

    def ask(self, key: str) -> Ask:  # noqa: ARG002 the same for all
        path = f"/webhooks/{self.application}/{self.token}/messages/@original"
        digest = hashlib.sha256(self.token.encode()).hexdigest()[:16]  # limits are kept by it, and it is a secret
        route = Route(form="PATCH /webhooks/messages", major=f"{self.application}/{digest}", globally=False)
        return Ask(method="PATCH", path=path, route=route, json=self.body(), authorized=False)


def _action(message: Any) -> str:
    return str(message.get("action", "message")) if isinstance(message, Mapping) else ""


Sent = Annotated[
    Annotated[Message, Tag("message")]
    | Annotated[Reaction, Tag("reaction")]
    | Annotated[Answer, Tag("answer")]
    | Annotated[Edit, Tag("edit_answer")],
    Discriminator(_action),
]
_SENT: Final[TypeAdapter[Message | Reaction | Answer | Edit]] = TypeAdapter(Sent)


def ask(message: Mapping[str, Any], *, key: str) -> Ask:
    """Return the request that sends `message`. Raises Refused with what is wrong with it, without its values."""
    try:
        return _SENT.validate_python(dict(message)).ask(key)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'][1:])) or 'message'}: {one['msg']}" for one in found[:5])
        raise Refused(f"this cannot be sent to Discord: {wrong}", reason="invalid_message") from None


def nonce(key: str) -> str:
    """Return what stands for an idempotency key with Discord."""
    return base64.b32encode(hashlib.sha256(key.encode()).digest()).decode().lower()[:NONCE_LENGTH]
