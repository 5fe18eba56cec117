"""The options of a webhook, and which of them each provider has."""

import base64
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, StringConstraints, model_validator

from connectors.base.options import Field, Options, Seconds, SecretStr
from connectors.base.services import signature
from connectors.webhook import proofs

TOLERANCE_SECONDS: Final = 300.0
SHORTEST_KEY_BYTES: Final = 16
_PATH: Final = r"^[A-Za-z0-9_$@:-]+(\.[A-Za-z0-9_$@:-]+)*$"


class Provider(StrEnum):
    """Who sends; also the part of the address before the id."""

    NONE = "none"
    TOKEN = "token"
    HMAC = "hmac"
    GITHUB = "github"
    STRIPE = "stripe"
    SLACK = "slack"
    STANDARD = "standard"
    DISCORD = "discord"


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str | SecretStr) else value


Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(_several), Field(max_length=8)]
Keys = Annotated[tuple[str, ...], BeforeValidator(_several), Field(max_length=8)]
Header = Annotated[str, StringConstraints(to_lower=True, pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]
FieldPath = Annotated[str, Field(pattern=_PATH, max_length=300)]
MediaType = Annotated[
    str, StringConstraints(to_lower=True, pattern=r"^[A-Za-z0-9!#$&^_.+-]+/([A-Za-z0-9!#$&^_.+-]+|\*)$")
]


class Config(Options):
    """Which deliveries are believed, and what becomes of them."""

    provider: Provider = Field(
        description="Who sends, and so how deliveries prove it: `github`, `stripe`, `slack`, `discord`, `standard` "
        "(Standard Webhooks), `hmac` for any other signature of that kind, `token` for a secret in a header or the "
        "query, `none` for no proof at all. Deliveries go to `/webhooks/<provider>/<id>`."
    )
    secret: Secrets = Field(
        default=(),
        description="The shared secret, or a list of those that are valid at the same time, as during a rotation.",
    )
    public_key: Keys = Field(
        default=(),
        description="Of `discord` the application's public key in hex, of `standard` a key `whpk_…` for signatures "
        "`v1a`; or a list of them.",
    )
    tolerance: Seconds = Field(
        default=TOLERANCE_SECONDS,
        description="How far the time that was signed may be from now, in both directions.",
    )

    # -- token, hmac
    header: Header | None = Field(
        default=None,
        description="Header with the token (`authorization`) or the signature (`x-hub-signature-256`).",
    )
    query_parameter: str | None = Field(
        default=None, min_length=1, max_length=100, description="Parameter of the query with the token, not a header."
    )
    prefix: str | None = Field(
        default=None,
        max_length=100,
        description="What stands before the token (`Bearer `, none with another header) or the signature (`sha256=`, "
        "none with another header).",
    )
    algorithm: signature.Algorithm = Field(default=signature.Algorithm.SHA256, description="Hash of the HMAC.")
    spelling: signature.Spelling = Field(
        default=signature.Spelling.HEX, description="How the signature is written in its header."
    )
    signed: str = Field(
        default="{body}",
        max_length=1000,
        description="The text that is signed, with `{body}`, `{timestamp}` and `{id}` in their places, such as "
        "`{timestamp}.{body}`.",
    )
    signature_part: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="Name of the signature in a header such as `t=…,v1=…`; it may come several times.",
    )
    timestamp_part: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_-]+$", description="Name of the time in such a header."
    )
    timestamp_header: Header | None = Field(
        default=None, description="Header with the time, in seconds or milliseconds since 1970."
    )

    # -- none, token, hmac
    id_header: Header | None = Field(
        default=None, description="Header with the id of a delivery, which is the same when it is repeated."
    )
    id_field: FieldPath | None = Field(
        default=None,
        description="Path of that id in the body, such as `event.id`. Without either the id is a hash of the body: "
        "equal bodies are one event.",
    )
    type_header: Header | None = Field(default=None, description="Header with the type of the event.")
    type_field: FieldPath | None = Field(
        default=None, description="Path of the type in the body; without either it is `received`."
    )
    challenge: Literal["meta", "microsoft", "cloudevents"] | None = Field(
        default=None,
        description="How the sender makes sure of the address: `meta` (GET with hub.challenge), `microsoft` "
        "(validationToken), `cloudevents` (OPTIONS with WebHook-Request-Origin). Those of Slack and Discord are "
        "answered by themselves.",
    )
    verify_token: SecretStr | None = Field(default=None, description="The hub.verify_token of `challenge: meta`.")
    allowed_origins: tuple[str, ...] = Field(
        default=(), max_length=100, description="Origins that `challenge: cloudevents` allows; none: every one."
    )

    # -- all
    publish: Literal["request", "body"] = Field(
        default="request",
        description="What the event's data is: `request` is an object with `body`, `headers` (without secret ones), "
        "`query` and `encoding`, `body` is the body alone.",
    )
    content_types: tuple[MediaType, ...] = Field(
        default=(),
        max_length=50,
        description="Content types that are taken, such as `application/json` or `text/*`; none: every one.",
    )
    max_body_bytes: int | None = Field(
        default=None, ge=1, description="Largest body in bytes; none: the gateway's own limit."
    )
    rate_per_second: float | None = Field(
        default=None, gt=0, description="Proven deliveries that are taken per second; none: no limit of its own."
    )
    answer_status: int = Field(
        default=202, ge=200, le=299, description="Status of the answer once the broker has the event."
    )
    answer_body: str | None = Field(
        default=None, max_length=10_000, description="Body of that answer, as text; none: the event's id as JSON."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self._each_option_has_a_use()
        for name in _NEEDED[self.provider]:
            if not any(getattr(self, one) for one in name.split(" or ")):
                raise ValueError(f"provider {self.provider} needs {name}")
        if any(not one.get_secret_value() for one in self.secret):
            raise ValueError("secret is empty; an empty secret proves nothing")
        if self.verify_token is not None and not self.verify_token.get_secret_value():
            raise ValueError("verify_token is empty; an empty one proves nothing")
        if (self.challenge == "meta") != (self.verify_token is not None):
            raise ValueError("challenge meta needs verify_token, and nothing else has one")
        if self.allowed_origins and self.challenge != "cloudevents":
            raise ValueError("allowed_origins are of challenge cloudevents")
        if self.provider == Provider.HMAC:
            self._hmac_fits()
        if self.query_parameter is not None and (self.header is not None or self.prefix is not None):
            raise ValueError("query_parameter stands instead of header and prefix")
        # What cannot be decoded is told when the source is set up, not at its first delivery.
        if self.provider == Provider.STANDARD:
            self.standard_secrets()
        self.public_keys()
        return self

    def _each_option_has_a_use(self) -> None:
        useless = sorted((self.model_fields_set & _SPECIAL) - _OPTIONS[self.provider])
        if useless:
            raise ValueError(f"provider {self.provider} has no use for {', '.join(useless)}")

    def _hmac_fits(self) -> None:
        try:
            signed = proofs.Signed.parse(self.signed)
        except ValueError as error:
            raise ValueError(f"signed: {error}") from None
        if self.timestamp_part is not None and (self.signature_part is None or self.timestamp_header is not None):
            raise ValueError("timestamp_part goes with signature_part, and not with timestamp_header")
        has_time = self.timestamp_part is not None or self.timestamp_header is not None
        if signed.has(proofs.TIMESTAMP) != has_time:
            raise ValueError(
                "signed has {timestamp} exactly when timestamp_header or timestamp_part says where it stands: a time "
                "that is not signed proves nothing"
            )
        if signed.has(proofs.ID) and self.id_header is None:
            raise ValueError("signed has {id}: id_header has to say where it stands")

    def secrets(self) -> tuple[bytes, ...]:
        """Return the secrets as bytes."""
        return tuple(one.get_secret_value().encode() for one in self.secret)

    def standard_secrets(self) -> tuple[bytes, ...]:
        """Return the keys in secrets of Standard Webhooks. Raises ValueError."""
        return tuple(_decoded(one.get_secret_value(), "whsec_", "secret") for one in self.secret)

    def public_keys(self) -> tuple[bytes, ...]:
        """Return the public keys. Raises ValueError."""
        found = []
        for one in self.public_key:
            if self.provider == Provider.DISCORD:
                key = bytes.fromhex(one) if re.fullmatch("[0-9A-Fa-f]*", one) and len(one) % 2 == 0 else b""
            else:
                key = _decoded(one, "whpk_", "public_key")
            if len(key) != signature.ED25519_KEY_BYTES:
                raise ValueError(
                    f"public_key has to be {signature.ED25519_KEY_BYTES} bytes: hex of discord, else whpk_…"
                )
            found.append(key)
        return tuple(found)


def _decoded(text: str, prefix: str, name: str) -> bytes:
    if text.startswith(("whsk_", "whpk_", "whsec_")) and not text.startswith(prefix):
        kind = {"whsk_": "a private key, which only the sender has", "whpk_": "a public_key", "whsec_": "a secret"}
        raise ValueError(f"{name} is {kind[text.partition('_')[0] + '_']}")
    digits = text.removeprefix(prefix).rstrip("=")
    try:
        key = base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)  # many leave the padding out
    except ValueError:
        key = b""
    if len(key) < SHORTEST_KEY_BYTES:
        raise ValueError(f"{name} has to be {prefix}… with at least {SHORTEST_KEY_BYTES} bytes in base64")
    return key


_NAMING: Final = frozenset({"id_header", "id_field", "type_header", "type_field"})
_HANDSHAKE: Final = frozenset({"challenge", "verify_token", "allowed_origins"})
_OPEN: Final = _NAMING | _HANDSHAKE
_OPTIONS: Final[Mapping[Provider, frozenset[str]]] = {
    Provider.NONE: _OPEN,
    Provider.TOKEN: _OPEN | {"secret", "header", "prefix", "query_parameter"},
    Provider.HMAC: _OPEN
    | {"secret", "tolerance", "header", "prefix", "algorithm", "spelling", "signed"}
    | {"signature_part", "timestamp_part", "timestamp_header"},
    Provider.GITHUB: frozenset({"secret"}),
    Provider.STRIPE: frozenset({"secret", "tolerance"}),
    Provider.SLACK: frozenset({"secret", "tolerance"}),
    Provider.STANDARD: frozenset({"secret", "public_key", "tolerance"}),
    Provider.DISCORD: frozenset({"public_key", "tolerance"}),
}
_SPECIAL: Final = frozenset[str]().union(*_OPTIONS.values())
"""Options that some providers have; the others are of all."""
_NEEDED: Final[Mapping[Provider, tuple[str, ...]]] = {
    Provider.NONE: (),
    Provider.TOKEN: ("secret",),
    Provider.HMAC: ("secret",),
    Provider.GITHUB: ("secret",),
    Provider.STRIPE: ("secret",),
    Provider.SLACK: ("secret",),
    Provider.STANDARD: ("secret or public_key",),
    Provider.DISCORD: ("public_key",),
}
