"""Which proof each provider asks for: a row each, in the words of `connectors.webhook.proofs`."""

from collections.abc import Callable, Mapping
from typing import Final

from connectors.base.services.signature import Spelling
from connectors.webhook.config import Config, Provider
from connectors.webhook.proofs import Ed25519, Freshness, Hmac, Nothing, OneOf, Place, Proof, Signed, Token

AUTHORIZATION: Final = "authorization"
HUB_SIGNATURE: Final = "x-hub-signature-256"


def proof_of(config: Config) -> Proof:
    """Return what deliveries of a source have to show."""
    return _PROOFS[config.provider](config)


def secret_names(config: Config) -> tuple[frozenset[str], frozenset[str]]:
    """Return the headers and the parameters of the query that hold a secret, by the options."""
    headers = {config.header or AUTHORIZATION} if config.provider == Provider.TOKEN else set()
    return frozenset(headers), frozenset({config.query_parameter or ""} - {""})


def _nothing(_config: Config) -> Proof:
    return Nothing()


def _token(config: Config) -> Proof:
    prefix = config.prefix if config.prefix is not None or config.header is not None else "Bearer "
    return Token(
        secrets=config.secrets(),
        header=(config.header or AUTHORIZATION).encode(),
        prefix=b"" if config.query_parameter is not None else (prefix or "").encode(),
        query_parameter=config.query_parameter,
    )


def _hmac(config: Config) -> Proof:
    prefix = config.prefix if config.prefix is not None or config.header is not None else "sha256="
    timed = config.timestamp_header is not None or config.timestamp_part is not None
    return Hmac(
        secrets=config.secrets(),
        place=Place(
            header=(config.header or HUB_SIGNATURE).encode(),
            prefix=(prefix or "").encode(),
            part=_bytes(config.signature_part),
            timestamp_part=_bytes(config.timestamp_part),
        ),
        signed=Signed.parse(config.signed),
        algorithm=config.algorithm,
        spelling=config.spelling,
        freshness=Freshness(tolerance_seconds=config.tolerance, header=_bytes(config.timestamp_header))
        if timed
        else None,
        id_header=_bytes(config.id_header),
    )


def _github(config: Config) -> Proof:
    return Hmac(
        secrets=config.secrets(),
        place=Place(header=HUB_SIGNATURE.encode(), prefix=b"sha256="),
        signed=Signed.parse("{body}"),
    )


def _stripe(config: Config) -> Proof:
    return Hmac(
        secrets=config.secrets(),
        place=Place(header=b"stripe-signature", part=b"v1", timestamp_part=b"t"),
        signed=Signed.parse("{timestamp}.{body}"),
        freshness=Freshness(tolerance_seconds=config.tolerance),
    )


def _slack(config: Config) -> Proof:
    return Hmac(
        secrets=config.secrets(),
        place=Place(header=b"x-slack-signature", prefix=b"v0="),
        signed=Signed.parse("v0:{timestamp}:{body}"),
        freshness=Freshness(tolerance_seconds=config.tolerance, header=b"x-slack-request-timestamp"),
    )


def _standard(config: Config) -> Proof:
    signed = Signed.parse("{id}.{timestamp}.{body}")
    freshness = Freshness(tolerance_seconds=config.tolerance, header=b"webhook-timestamp")
    proofs: list[Proof] = []
    if config.public_key:
        proofs.append(
            Ed25519(
                public_keys=config.public_keys(),
                place=Place(header=b"webhook-signature", prefix=b"v1a,", blanks=True),
                signed=signed,
                spelling=Spelling.BASE64,
                freshness=freshness,
                id_header=b"webhook-id",
            )
        )
    if config.secret:
        proofs.append(
            Hmac(
                secrets=config.standard_secrets(),
                place=Place(header=b"webhook-signature", prefix=b"v1,", blanks=True),
                signed=signed,
                spelling=Spelling.BASE64,
                freshness=freshness,
                id_header=b"webhook-id",
            )
        )
    return proofs[0] if len(proofs) == 1 else OneOf(proofs)


def _discord(config: Config) -> Proof:
    return Ed25519(
        public_keys=config.public_keys(),
        place=Place(header=b"x-signature-ed25519"),
        signed=Signed.parse("{timestamp}{body}"),
        spelling=Spelling.HEX,
        freshness=Freshness(tolerance_seconds=config.tolerance, header=b"x-signature-timestamp"),
    )


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


_PROOFS: Final[Mapping[Provider, Callable[[Config], Proof]]] = {
    Provider.NONE: _nothing,
    Provider.TOKEN: _token,
    Provider.HMAC: _hmac,
    Provider.GITHUB: _github,
    Provider.STRIPE: _stripe,
    Provider.SLACK: _slack,
    Provider.STANDARD: _standard,
    Provider.DISCORD: _discord,
}
