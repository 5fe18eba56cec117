"""Whether a delivery was signed by who has the secret: over its raw bytes, compared in constant time.

A signature is compared in the spelling that its sender uses, so that no second spelling of the same bytes passes. No
input raises: what is malformed does not fit.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

ED25519_KEY_BYTES: Final = 32
ED25519_SIGNATURE_BYTES: Final = 64
MOST_SIGNATURES: Final = 16
"""Of one delivery: senders repeat it for each secret while they rotate, and each costs work."""
_SECONDS: Final = re.compile(rb"[0-9]{1,14}")
_MILLISECONDS_FROM: Final = 10**11
"""From here on a timestamp counts milliseconds: as seconds it would be in the year 5138."""


class Algorithm(StrEnum):
    """Of an HMAC."""

    SHA1 = "sha1"
    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"


class Spelling(StrEnum):
    """How bytes stand in a header."""

    HEX = "hex"
    HEX_UPPER = "hex-upper"
    BASE64 = "base64"
    BASE64URL = "base64url"


def spelled(value: bytes, spelling: Spelling) -> bytes:
    """Return bytes as a header has them."""
    match spelling:
        case Spelling.HEX:
            return value.hex().encode()
        case Spelling.HEX_UPPER:
            return value.hex().upper().encode()
        case Spelling.BASE64:
            return base64.b64encode(value)
        case Spelling.BASE64URL:
            return base64.urlsafe_b64encode(value)


def unspelled(text: bytes, spelling: Spelling) -> bytes | None:
    """Return the bytes that a header has; None unless they would be spelled just so."""
    try:
        if spelling in (Spelling.HEX, Spelling.HEX_UPPER):
            value = bytes.fromhex(text.decode("ascii"))
        else:
            value = base64.b64decode(text, altchars=b"-_" if spelling is Spelling.BASE64URL else None, validate=True)
    except ValueError:  # also what base64 and decoding raise
        return None
    return value if spelled(value, spelling) == text else None


def same(given: Iterable[bytes], expected: Iterable[bytes]) -> bool:
    """Whether one of those given is one of those expected. Every pair is compared, whatever the others say."""
    found = False
    wanted = tuple(expected)
    for one in given:
        for other in wanted:
            found |= hmac.compare_digest(one, other)
    return found


def fits_hmac(
    given: Sequence[bytes], signed: bytes, secrets: Iterable[bytes], algorithm: Algorithm, spelling: Spelling
) -> bool:
    """Whether one of the signatures was made with one of the secrets."""
    if len(given) > MOST_SIGNATURES:
        return False
    made = (hmac.digest(secret, signed, algorithm.value) for secret in secrets)
    return same(given, [spelled(one, spelling) for one in made])


def fits_ed25519(given: Sequence[bytes], signed: bytes, public_keys: Iterable[bytes], spelling: Spelling) -> bool:
    """Whether one of the signatures was made with the private half of one of the keys (32 bytes each)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if len(given) > MOST_SIGNATURES:
        return False
    keys = [Ed25519PublicKey.from_public_bytes(one) for one in public_keys]
    for text in given:
        value = unspelled(text, spelling)
        if value is None or len(value) != ED25519_SIGNATURE_BYTES:
            continue
        for key in keys:
            try:
                key.verify(value, signed)
            except InvalidSignature:
                continue
            return True
    return False


def seconds_of(timestamp: bytes) -> float | None:
    """Return the seconds since 1970 of a timestamp in seconds or milliseconds; None for what is none."""
    if _SECONDS.fullmatch(timestamp) is None:
        return None
    number = int(timestamp)
    return number / 1000 if number >= _MILLISECONDS_FROM else float(number)


def digest_of(body: bytes) -> str:
    """Return the id of a delivery that has no other: equal bodies are one delivery."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"
