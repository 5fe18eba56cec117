"""Which proof each provider asks for."""

import pytest

from connectors.webhook import Provider, schemes
from connectors.webhook.proofs import Hmac, Nothing, OneOf, Token
from tests.unit.connectors.webhook.signing import PUBLIC, SECRET, WHPK, WHSEC, config


def test_every_provider_has_a_proof() -> None:
    assert set(schemes._PROOFS) == set(Provider)
    assert isinstance(schemes.proof_of(config(provider="none")), Nothing)


def test_defaults_of_the_open_providers_are_those_most_senders_have() -> None:
    token = schemes.proof_of(config(provider="token", secret=SECRET))
    assert token == Token(secrets=(SECRET.encode(),), header=b"authorization", prefix=b"Bearer ")
    hub = schemes.proof_of(config(provider="hmac", secret=SECRET))
    assert hub == schemes.proof_of(config(provider="github", secret=SECRET))


def test_another_header_has_no_prefix_unless_it_is_said() -> None:
    token = schemes.proof_of(config(provider="token", secret=SECRET, header="X-Token"))
    assert token == Token(secrets=(SECRET.encode(),), header=b"x-token")
    signed = schemes.proof_of(config(provider="hmac", secret=SECRET, header="x-sig", prefix="v1:"))
    assert isinstance(signed, Hmac)
    assert (signed.place.header, signed.place.prefix) == (b"x-sig", b"v1:")


def test_both_kinds_of_keys_of_standard_webhooks_are_valid_side_by_side() -> None:
    proof = schemes.proof_of(config(provider="standard", secret=WHSEC, public_key=WHPK))
    assert isinstance(proof, OneOf)
    assert len(proof.proofs) == 2


@pytest.mark.parametrize("key", [PUBLIC.hex(), PUBLIC.hex().upper()])
def test_a_key_of_discord_is_read_in_any_case(key: str) -> None:
    proof = schemes.proof_of(config(provider="discord", public_key=key))
    assert proof == schemes.proof_of(config(provider="discord", public_key=PUBLIC.hex()))


@pytest.mark.parametrize(
    ("options", "headers", "parameters"),
    [
        ({"provider": "token", "secret": SECRET, "header": "X-Odd"}, ["x-odd"], []),
        ({"provider": "token", "secret": SECRET, "query_parameter": "k"}, ["authorization"], ["k"]),
        ({"provider": "github", "secret": SECRET}, [], []),
    ],
)
def test_where_tokens_stand_is_known_so_that_they_are_not_published(
    options: dict[str, str], headers: list[str], parameters: list[str]
) -> None:
    assert schemes.secret_names(config(**options)) == (frozenset(headers), frozenset(parameters))
