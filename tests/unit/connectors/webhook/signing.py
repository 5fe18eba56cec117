"""Senders of webhooks, by the words of their documentation, and requests as the gateway hands them over."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from connectors.webhook import Config, Receiver, Request

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
AT = str(int(NOW.timestamp()))
SECRET = "a-secret-of-the-sender"
OTHER = "another-secret-of-it"
RAW_KEY = b"0123456789abcdef01234567"
WHSEC = "whsec_" + base64.b64encode(RAW_KEY).decode()
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"7" * 32)
PUBLIC = PRIVATE.public_key().public_bytes_raw()
WHPK = "whpk_" + base64.b64encode(PUBLIC).decode()

Headers = Mapping[str, str | bytes]


def request(
    body: bytes = b"{}", headers: Headers | None = None, *, method: str = "POST", query: str = "", now: datetime = NOW
) -> Request:
    """A request; without headers it is JSON."""
    given = {"content-type": "application/json"} | dict(headers or {})
    pairs = tuple(
        (name.lower().encode(), value.encode("latin-1") if isinstance(value, str) else value)
        for name, value in given.items()
        if value != ""
    )
    return Request(method=method, headers=pairs, query=query.encode(), body=body, now=now)


def config(**options: Any) -> Config:
    return Config(**options)


def receiver(**options: Any) -> Receiver:
    """Of the source `src`."""
    return Receiver(config(**options), instance_id="src")


def mac(signed: bytes, secret: bytes = SECRET.encode(), algorithm: str = "sha256") -> bytes:
    return hmac.new(secret, signed, getattr(hashlib, algorithm)).digest()


@dataclass(frozen=True)
class Sender:
    """One provider: the options of a source for it, and its headers for a body."""

    options: Mapping[str, Any]
    sign: Callable[[bytes], dict[str, str]]
    signature: str
    """The header with the signature."""
    timestamp: str | None = None
    """The header with the time, if it has one."""

    def request(self, body: bytes, **more: Any) -> Request:
        return request(body, self.sign(body), **more)

    def receiver(self, **options: Any) -> Receiver:
        return receiver(**{**self.options, **options})


def github(body: bytes) -> dict[str, str]:
    return {
        "x-hub-signature-256": "sha256=" + mac(body).hex(),
        "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "x-github-event": "issues",
    }


def stripe(body: bytes) -> dict[str, str]:
    return {"stripe-signature": f"t={AT},v1={mac(AT.encode() + b'.' + body).hex()},v0=00"}


def slack(body: bytes) -> dict[str, str]:
    signed = b"v0:" + AT.encode() + b":" + body
    return {"x-slack-signature": "v0=" + mac(signed).hex(), "x-slack-request-timestamp": AT}


def standard(body: bytes) -> dict[str, str]:
    signed = b"msg_1." + AT.encode() + b"." + body
    signature = "v1," + base64.b64encode(mac(signed, RAW_KEY)).decode()
    return {"webhook-id": "msg_1", "webhook-timestamp": AT, "webhook-signature": signature}


def standard_asymmetric(body: bytes) -> dict[str, str]:
    signed = b"msg_1." + AT.encode() + b"." + body
    signature = "v1a," + base64.b64encode(PRIVATE.sign(signed)).decode()
    return {"webhook-id": "msg_1", "webhook-timestamp": AT, "webhook-signature": signature}


def discord(body: bytes) -> dict[str, str]:
    return {"x-signature-ed25519": PRIVATE.sign(AT.encode() + body).hex(), "x-signature-timestamp": AT}


def generic(body: bytes) -> dict[str, str]:
    signed = AT.encode() + b"." + body
    signature = base64.b64encode(mac(signed, algorithm="sha512")).decode()
    return {"x-signature": signature, "x-time": AT}


def parts(body: bytes) -> dict[str, str]:
    return {"x-signature": f"ts={AT},sig={mac(AT.encode() + body).hex().upper()}"}


SENDERS: dict[str, Sender] = {
    "github": Sender({"provider": "github", "secret": SECRET}, github, "x-hub-signature-256"),
    "stripe": Sender({"provider": "stripe", "secret": SECRET}, stripe, "stripe-signature", "stripe-signature"),
    "slack": Sender({"provider": "slack", "secret": SECRET}, slack, "x-slack-signature", "x-slack-request-timestamp"),
    "standard": Sender({"provider": "standard", "secret": WHSEC}, standard, "webhook-signature", "webhook-timestamp"),
    "standard v1a": Sender(
        {"provider": "standard", "public_key": WHPK}, standard_asymmetric, "webhook-signature", "webhook-timestamp"
    ),
    "discord": Sender(
        {"provider": "discord", "public_key": PUBLIC.hex()}, discord, "x-signature-ed25519", "x-signature-timestamp"
    ),
    "hmac": Sender(
        {
            "provider": "hmac",
            "secret": SECRET,
            "header": "X-Signature",
            "algorithm": "sha512",
            "spelling": "base64",
            "signed": "{timestamp}.{body}",
            "timestamp_header": "X-Time",
        },
        generic,
        "x-signature",
        "x-time",
    ),
    "hmac in parts": Sender(
        {
            "provider": "hmac",
            "secret": SECRET,
            "header": "x-signature",
            "spelling": "hex-upper",
            "signed": "{timestamp}{body}",
            "signature_part": "sig",
            "timestamp_part": "ts",
        },
        parts,
        "x-signature",
        "x-signature",
    ),
}


def changed(of: Request, name: str, value: bytes | None) -> Request:
    """The request with another header; None: without it."""
    rest = tuple(pair for pair in of.headers if pair[0] != name.encode())
    return replace(of, headers=rest if value is None else (*rest, (name.encode(), value)))
