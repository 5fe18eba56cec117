"""How a delivery proves where it comes from. Each proof is asked with the raw request, before anything is parsed.

Sources: GitHub "Validating webhook deliveries", Stripe "Verify webhook signatures manually", Slack "Verifying requests
from Slack", Standard Webhooks 1.0 ("Signature scheme"), Discord "Security and authorization" of interactions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NoReturn, Protocol
from urllib.parse import parse_qsl

from connectors.base.services.signature import Algorithm, Spelling, fits_ed25519, fits_hmac, same, seconds_of
from connectors.webhook.messages import Denial, Request

MOST_FIELDS: Final = 200
"""Of a query."""


_TOKEN_REMEDY: Final = "Give the sender and the source the same secret."
_SIGNATURE_REMEDY: Final = (
    "Compare the secret of the source with the sender's; the body has to arrive as it was signed."
)


class Proof(Protocol):
    """What a delivery has to show."""

    def check(self, request: Request) -> None:
        """Return when the request is proven. Raises Denial 401."""
        ...


class Nothing:
    """Whoever knows the address is believed."""

    def check(self, request: Request) -> None:
        """Never raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """The secret itself, in a header after a prefix, or in the query."""

    secrets: tuple[bytes, ...]
    header: bytes
    prefix: bytes = b""
    query_parameter: str | None = None

    def check(self, request: Request) -> None:
        """Raises Denial 401."""
        if self.query_parameter is not None:
            given = [value.encode() for name, value in query_of(request) if name == self.query_parameter]
            where = f"query parameter {self.query_parameter!r}"
        else:
            given = request.values(self.header)
            where = f"header {_shown(self.header)}"
        if len(given) != 1:
            fact = f"The {where} with the token {'is missing' if not given else 'comes twice'}."
            _deny("token_missing", fact, remedy=_TOKEN_REMEDY)
        if not same(given, [self.prefix + one for one in self.secrets]):
            _deny("token_wrong", f"The token in the {where} is not the one of this source.", remedy=_TOKEN_REMEDY)


# ---- what is signed --------------------------------------------------------------------------------------------------

BODY: Final = "body"
TIMESTAMP: Final = "timestamp"
ID: Final = "id"
FIELDS: Final = (BODY, TIMESTAMP, ID)


@dataclass(frozen=True, slots=True)
class Signed:
    """The bytes that are signed: texts, and `{body}`, `{timestamp}` and `{id}` between them."""

    parts: tuple[tuple[str, bytes], ...]
    """(name of a field, or "" for a text; the text)."""

    @classmethod
    def parse(cls, template: str) -> "Signed":
        """Raises ValueError with what is wrong."""
        parts: list[tuple[str, bytes]] = []
        rest = template
        while rest:
            text, opened, rest = rest.partition("{")
            if "}" in text:
                raise ValueError("a `}` has no `{` before it")
            if text:
                parts.append(("", text.encode()))
            if opened:
                name, closed, rest = rest.partition("}")
                if not closed or name not in FIELDS:
                    raise ValueError(f"{{{name}}} is not known; there are {{body}}, {{timestamp}} and {{id}}")
                parts.append((name, b""))
        if [name for name, _ in parts].count(BODY) != 1:
            raise ValueError("{body} has to be in it once: what is not signed can be changed by anybody")
        return cls(tuple(parts))

    def has(self, name: str) -> bool:
        """Whether a field is signed."""
        return any(known == name for known, _ in self.parts)

    def of(self, *, body: bytes, timestamp: bytes, message_id: bytes) -> bytes:
        """Return the bytes."""
        values = {BODY: body, TIMESTAMP: timestamp, ID: message_id}
        return b"".join([values[name] if name else text for name, text in self.parts])


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where signatures stand: in a header alone, in a list after blanks, or in a list such as `t=1,v1=ab,v1=cd`."""

    header: bytes
    prefix: bytes = b""
    """What stands before a signature; those of a list that begin otherwise are of schemes that are not asked for."""
    blanks: bool = False
    part: bytes | None = None
    timestamp_part: bytes | None = None

    def read(self, request: Request) -> tuple[list[bytes], bytes | None]:
        """Return the signatures, and the timestamp if it stands there. Raises Denial 401."""
        values = request.values(self.header)
        if len(values) != 1 or not values[0]:
            _deny(
                "signature_missing",
                f"The header {_shown(self.header)} {'comes twice' if len(values) > 1 else 'is missing'}.",
            )
        timestamp: list[bytes] = []
        if self.part is not None:
            pairs = [one.partition(b"=") for one in values[0].split(b",")]
            found = [value for name, _, value in pairs if name == self.part]
            timestamp = [value for name, _, value in pairs if name == self.timestamp_part]
        else:
            found = values[0].split(b" ") if self.blanks else values
        found = [one.removeprefix(self.prefix) for one in found if one.startswith(self.prefix)]
        if self.timestamp_part is not None and len(timestamp) != 1:
            _deny("signature_malformed", f"The header {_shown(self.header)} has no timestamp, or several.")
        return found, timestamp[0] if timestamp else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How old a signed time may be, and how far ahead."""

    tolerance_seconds: float
    header: bytes | None = None
    """Where the time stands; None: where the signatures do."""

    def read(self, request: Request) -> bytes:
        """Return the timestamp of its header. Raises Denial 401."""
        assert self.header is not None
        values = request.values(self.header)
        if len(values) != 1:
            _deny(
                "signature_missing",
                f"The header {_shown(self.header)} {'comes twice' if values else 'is missing'}.",
            )
        return values[0]

    def check(self, timestamp: bytes, now: datetime) -> None:
        """Raises Denial 401."""
        at = seconds_of(timestamp)
        if at is None:
            _deny("signature_malformed", "The signed time is no number of seconds.")
        off = now.timestamp() - at
        if abs(off) > self.tolerance_seconds:
            _deny(
                "timestamp_outside_tolerance",
                f"The delivery was signed {abs(off):.0f} s {'ago' if off > 0 else 'ahead of this clock'}; "
                f"{self.tolerance_seconds:g} s are allowed.",
                remedy="Deliver it again, signed anew; if that is no help, compare the clocks.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Statement:
    """What a request says is signed, and by what."""

    signatures: list[bytes]
    signed: bytes
    timestamp: bytes


def _statement(
    request: Request, place: Place, signed: Signed, freshness: Freshness | None, id_header: bytes | None
) -> _Statement:
    signatures, timestamp = place.read(request)
    if timestamp is None:
        timestamp = b"" if freshness is None or freshness.header is None else freshness.read(request)
    message_id = b""
    if signed.has(ID):
        assert id_header is not None
        values = request.values(id_header)
        if len(values) != 1 or not values[0]:
            _deny("signature_missing", f"The header {_shown(id_header)} is missing, or comes twice.")
        message_id = values[0]
    whole = signed.of(body=request.body, timestamp=timestamp, message_id=message_id)
    return _Statement(signatures=signatures, signed=whole, timestamp=timestamp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hmac:
    """A shared secret, with which what is signed was hashed."""

    secrets: tuple[bytes, ...]
    place: Place
    signed: Signed
    algorithm: Algorithm = Algorithm.SHA256
    spelling: Spelling = Spelling.HEX
    freshness: Freshness | None = None
    id_header: bytes | None = None

    def check(self, request: Request) -> None:
        """Raises Denial 401."""
        said = _statement(request, self.place, self.signed, self.freshness, self.id_header)
        if not fits_hmac(said.signatures, said.signed, self.secrets, self.algorithm, self.spelling):
            _deny_signature(self.place)
        if self.freshness is not None:
            self.freshness.check(said.timestamp, request.now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ed25519:
    """The sender's private key, of which only the public half is known here."""

    public_keys: tuple[bytes, ...]
    place: Place
    signed: Signed
    spelling: Spelling
    freshness: Freshness
    id_header: bytes | None = None

    def check(self, request: Request) -> None:
        """Raises Denial 401."""
        said = _statement(request, self.place, self.signed, self.freshness, self.id_header)
        if not fits_ed25519(said.signatures, said.signed, self.public_keys, self.spelling):
            _deny_signature(self.place)
        self.freshness.check(said.timestamp, request.now)


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of several proofs suffices, as while a sender moves from one to another."""

    proofs: Sequence[Proof]

    def check(self, request: Request) -> None:
        """Raises the Denial of the last one."""
        for proof in self.proofs[:-1]:
            try:
                return proof.check(request)
            except Denial:
                continue
        return self.proofs[-1].check(request)


# ---- helpers ---------------------------------------------------------------------------------------------------------


def query_of(request: Request) -> list[tuple[str, str]]:
    """Return the query's names and values. Raises Denial 400."""
    try:
        return parse_qsl(request.query.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Denial(
            400,
            "wrong_parameters",
            f"The query has more than {MOST_FIELDS} parameters.",
            remedy="Put what belongs to the event into the body.",
        ) from None


def _deny_signature(place: Place) -> NoReturn:
    _deny(
        "signature_wrong",
        f"No signature in the header {_shown(place.header)} fits the body and the secrets of this source.",
    )


def _deny(code: str, message: str, *, remedy: str = _SIGNATURE_REMEDY) -> NoReturn:
    raise Denial(401, code, message, remedy=remedy)


def _shown(header: bytes) -> str:
    return header.decode("latin-1")
