"""The options of a `kafka` source."""

import ssl
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import field_validator, model_validator

from connectors.base.contract import Delivery, Refused
from connectors.base.options import Field, Options, Seconds, SecretStr
from connectors.base.texts import templates
from topics.timestamps import milliseconds

EXAMPLE: Final[dict[str, Any]] = {
    "bootstrap": ["kafka.example.com:9093"],
    "topics": ["shop.orders"],
    "start": "earliest",
    "security": "SASL_SSL",
    "sasl_mechanism": "SCRAM-SHA-512",
    "username": "headgate",
    "password": "{{ env.SHOP_KAFKA_PASSWORD }}",
    "type": "{{ value.kind }}",
    "key": "{{ value.customer.id }}",
}
DELIVERY: Final = Delivery.EXACTLY_ONCE

FIELDS: Final = frozenset({"topic", "partition", "offset", "timestamp", "key", "headers", "value"})
"""What templates of `type` and `key` may ask of a record."""
Server = Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):[0-9]{1,5}$", max_length=300)]
TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=249)]


class Config(Options):
    """The options of a `kafka` source."""

    bootstrap: list[Server] = Field(min_length=1, description="Brokers to ask first, each as `host:port`.")
    topics: list[TopicName] | None = Field(
        default=None, min_length=1, description="Topics to read. One that is not there yet is read once it is."
    )
    pattern: str | None = Field(
        default=None,
        min_length=1,
        max_length=249,
        description="Instead of topics: all whose names fit, `*` being any text and `?` any character; also those that "
        "are made later. Kafka's own topics never fit.",
    )
    start: str = Field(
        default="latest",
        description="Where to begin without a position: `latest` (with what comes from now on), `earliest`, or an RFC "
        "3339 time. Topics and partitions that are made later are always read from their beginning.",
    )
    group: str | None = Field(
        default=None,
        min_length=1,
        max_length=249,
        description="Consumer group to which the durable offsets are written, so that tools of Kafka show the lag. It "
        "is never read: the position of the source counts.",
    )
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="How the brokers are spoken to, in Kafka's own words."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512",
        description="How user and password are proven, with SASL; not OAUTHBEARER, GSSAPI or the IAM of AWS.",
    )
    username: str | None = Field(default=None, description="User, with SASL.")
    password: SecretStr | None = Field(default=None, description="Password, with SASL.")
    tls_ca: SecretStr | None = Field(
        default=None, description="Certificates that are trusted, as PEM text. None: those of this machine."
    )
    tls_certificate: SecretStr | None = Field(
        default=None, description="Our own certificate as PEM text, where brokers ask for one."
    )
    tls_key: SecretStr | None = Field(default=None, description="Its private key as PEM text, without a password.")
    type: str = Field(
        default="{{ topic }}",
        min_length=1,
        max_length=templates.MOST_CHARS,
        description="Type of the events, a template over the record: `topic`, `partition`, `offset`, `timestamp`, "
        "`key`, `headers.…`, `value.…`. A record without such a field becomes a dead letter.",
    )
    key: str | None = Field(
        default=None,
        min_length=1,
        max_length=templates.MOST_CHARS,
        description="Key of the events, a template as for `type`. None: the key of the record.",
    )
    value: Literal["auto", "json", "text", "base64"] = Field(
        default="auto",
        description='How values are read: `auto`: as JSON, else as text, else as `{"base64": …}`; `json`, `text`: what '
        "is none becomes a dead letter; `base64`: always. A record without a value is null.",
    )
    data: Literal["value", "record"] = Field(
        default="value",
        description="What the data of an event is: the `value` alone, or the `record`: an object of topic, partition, "
        "offset, timestamp, key, headers and value.",
    )
    own_events: Literal["skip", "take"] = Field(
        default="skip",
        description="Records that a source of Headgate has written, here or elsewhere, are left out, for they would go "
        "in circles; `take` takes those of other sources.",
    )
    idle_timeout: Seconds = Field(
        default=60.0, description="So long no broker may answer before all is connected anew. They answer all the time."
    )

    @field_validator("start")
    @classmethod
    def _is_a_place(cls, start: str) -> str:
        if start not in ("latest", "earliest"):
            try:
                milliseconds(start)
            except ValueError as error:
                raise ValueError(f"it is `latest`, `earliest` or a time: {error}") from None
        return start

    @field_validator("type", "key")
    @classmethod
    def _is_a_template(cls, text: str | None) -> str | None:
        if text is not None:
            templates.Template.parse(text, roots=FIELDS)
        return text

    @model_validator(mode="after")
    def _fits(self) -> "Config":
        if (self.topics is None) == (self.pattern is None):
            raise ValueError("give either `topics` or a `pattern`")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together; give both, or none")
        if self.uses_sasl != (self.username is not None):
            raise ValueError("`security` with SASL needs username and password, and they need `security` with SASL")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together; give both, or none")
        if not self.uses_tls and (self.tls_ca or self.tls_key):
            raise ValueError("options of TLS mean nothing without it; set `security` to SSL or SASL_SSL")
        return self

    @property
    def uses_sasl(self) -> bool:
        return self.security.startswith("SASL")

    @property
    def uses_tls(self) -> bool:
        return self.security.endswith("SSL")

    @property
    def start_ms(self) -> int | None:
        """The time from which on to begin; None for an end of the log."""
        return None if self.start in ("latest", "earliest") else milliseconds(self.start)


def tls_context(config: Config) -> ssl.SSLContext:
    """Return TLS as the options say. Raises Refused for what is no certificate or key. Blocks a little."""
    try:
        context = ssl.create_default_context(cadata=_text(config.tls_ca))
    except (ssl.SSLError, ValueError) as error:
        raise Refused(f"tls_ca has no certificate in PEM that can be used: {_why(error)}", reason="options") from None
    if config.tls_certificate is not None and config.tls_key is not None:
        try:
            # Python reads them from a file only; one file may have both.
            with tempfile.TemporaryDirectory(prefix="headgate-") as folder:
                file = Path(folder) / "client.pem"
                file.touch(mode=0o600)
                file.write_text(f"{_text(config.tls_key)}\n{_text(config.tls_certificate)}\n", encoding="utf-8")
                context.load_cert_chain(file, password="")
        except (ssl.SSLError, ValueError) as error:
            problem = "tls_certificate and tls_key cannot be used together"
            raise Refused(f"{problem}: {_why(error)}", reason="options") from None
    return context


def _text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _why(error: Exception) -> str:
    return (error.reason if isinstance(error, ssl.SSLError) else None) or type(error).__name__
