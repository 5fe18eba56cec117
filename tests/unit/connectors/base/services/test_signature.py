"""Signatures: exact in their spelling, and whatever comes is no error."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.services import signature
from connectors.base.services.signature import Algorithm, Spelling


@pytest.mark.parametrize("spelling", Spelling)
@given(value=st.binary(max_size=70))
def test_bytes_come_back_from_each_spelling(spelling: Spelling, value: bytes) -> None:
    assert signature.unspelled(signature.spelled(value, spelling), spelling) == value


@pytest.mark.parametrize("spelling", Spelling)
@given(text=st.one_of(st.binary(max_size=80), st.text("0aA+/=-_ \n", max_size=12).map(str.encode)))
def test_another_spelling_of_the_same_bytes_is_none(spelling: Spelling, text: bytes) -> None:
    value = signature.unspelled(text, spelling)
    assert value is None or signature.spelled(value, spelling) == text


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        (b"AB", Spelling.HEX),
        (b"ab", Spelling.HEX_UPPER),
        (b"a b", Spelling.HEX),
        (b"QR==", Spelling.BASE64),
        (b"QQ", Spelling.BASE64),
        (b"-_-_", Spelling.BASE64),
        (b"+/+/", Spelling.BASE64URL),
    ],
)
def test_what_decoders_let_pass_is_none(text: bytes, spelling: Spelling) -> None:
    assert signature.unspelled(text, spelling) is None


@pytest.mark.parametrize("algorithm", Algorithm)
def test_one_of_several_secrets_and_signatures_suffices(algorithm: Algorithm) -> None:
    right = hmac.digest(b"new", b"body", algorithm.value).hex().encode()
    fits = signature.fits_hmac([b"", b"x", right], b"body", [b"old", b"new"], algorithm, Spelling.HEX)
    misses = signature.fits_hmac([right], b"body", [b"old"], algorithm, Spelling.HEX)
    assert (fits, misses) == (True, False)


def test_without_signatures_secrets_or_keys_nothing_fits() -> None:
    assert not signature.fits_hmac([], b"body", [b"s"], Algorithm.SHA256, Spelling.HEX)
    assert not signature.fits_hmac([b""], b"body", [], Algorithm.SHA256, Spelling.HEX)
    assert not signature.fits_ed25519([b"00" * 64], b"body", [], Spelling.HEX)


def test_more_signatures_than_a_rotation_needs_are_not_looked_at() -> None:
    right = hmac.digest(b"s", b"body", "sha256").hex().encode()
    several = [right] * signature.MOST_SIGNATURES
    assert signature.fits_hmac(several, b"body", [b"s"], Algorithm.SHA256, Spelling.HEX)
    assert not signature.fits_hmac([*several, right], b"body", [b"s"], Algorithm.SHA256, Spelling.HEX)


@given(text=st.binary(max_size=140))
def test_no_text_makes_ed25519_raise(text: bytes) -> None:
    assert not signature.fits_ed25519([text], b"body", [b"\x07" * 32, b"\xff" * 32], Spelling.HEX)


# RFC 8032, 7.1, test 2.
KEY = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
SIGNATURE = (
    b"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    b"085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def test_a_known_signature_of_ed25519_fits() -> None:
    keys = [b"\x07" * 32, bytes.fromhex(KEY)]
    assert signature.fits_ed25519([b"x", SIGNATURE], b"\x72", keys, Spelling.HEX)
    assert not signature.fits_ed25519([SIGNATURE], b"\x73", keys, Spelling.HEX)
    assert not signature.fits_ed25519([SIGNATURE.upper()], b"\x72", keys, Spelling.HEX)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"0", 0.0),
        (b"1780315200", 1780315200.0),
        (b"1780315200123", 1780315200.123),
        (b"", None),
        (b"-1", None),
        (b"1.5", None),
        (b" 1", None),
        (b"1\n", None),
        (b"1e9", None),
        (b"\xd9\xa1", None),
        (b"9" * 15, None),
    ],
)
def test_a_time_is_seconds_or_milliseconds_and_nothing_else(text: bytes, seconds: float | None) -> None:
    assert signature.seconds_of(text) == seconds


def test_equal_bodies_have_equal_ids() -> None:
    empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert signature.digest_of(b"") == empty
    assert signature.digest_of(b"a") != empty
