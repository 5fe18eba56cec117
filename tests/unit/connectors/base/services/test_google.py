"""Google's APIs: tokens by hand, under the egress policy, renewed and refused; errors without secrets."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from connectors.base.contract import NotConnected, Refused
from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp
from connectors.base.services import google as module
from connectors.base.services.google import Google, GoogleOptions, Reply
from tests.unit.connectors.serving import serving
from tests.unit.connectors.standing import StandIn

KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2048)


def pem(key: Any) -> str:
    return str(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
    )


class Server:
    """Gives tokens and answers requests."""

    def __init__(self) -> None:
        self.at = ""
        self.forms: list[dict[str, str]] = []
        self.authorizations: list[str | None] = []
        self.paths: list[str] = []
        self.tokens = 0
        self.valid: str | None = None
        self.token_answer: tuple[int, Any] | None = None
        self.answers: list[tuple[int, Any]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path in ("/token", "/computeMetadata/v1/instance/service-accounts/default/token"):
            self.forms.append({name: values[0] for name, values in parse_qs(await request.text()).items()})
            if self.token_answer is not None:
                status, said = self.token_answer
                return web.json_response(said, status=status)
            self.tokens += 1
            self.valid = f"token{self.tokens}"
            return web.json_response({"access_token": self.valid, "expires_in": 3600})
        self.paths.append(request.path_qs)
        self.authorizations.append(request.headers.get("Authorization"))
        status, said = self.answers.pop(0) if self.answers else (200, {"ok": True})
        if isinstance(said, bytes):
            return web.Response(body=said, status=status)
        return web.json_response(said, status=status, headers={"Retry-After": "7"} if status == 503 else None)

    def service_account(self, **changes: Any) -> str:
        account = {
            "type": "service_account",
            "client_email": "reader@project.example",
            "private_key_id": "k1",
            "private_key": pem(KEY),
            "token_uri": f"http://{self.at}/token",
        }
        return json.dumps({name: value for name, value in {**account, **changes}.items() if value is not None})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    one = Server()
    async with serving(one.answer) as at:
        one.at = at
        yield one


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StandIn]:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    async with ClientHttp(Policy(allowed=("127.0.0.0/8",))) as http:
        yield StandIn(http=http)


def api(server: Server, site: StandIn, **options: Any) -> Google:
    return Google(GoogleOptions.model_validate(options), site, scope="scope1", url=f"http://{server.at}/")


async def call(one: Google) -> Any:
    return await one.call("GET", "/v1/thing", doing="looking", query={"a": "b c"})


async def test_a_token_is_asked_for_with_a_signed_assertion(server: Server, site: StandIn) -> None:
    assert await call(api(server, site, credentials=server.service_account())) == {"ok": True}

    (form,) = server.forms
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    header, claims, signature = (base64.urlsafe_b64decode(f"{part}==") for part in form["assertion"].split("."))
    signed = form["assertion"].rpartition(".")[0].encode()
    KEY.public_key().verify(signature, signed, PKCS1v15(), SHA256())
    now = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp())
    assert json.loads(claims) == {
        "iss": "reader@project.example",
        "scope": "scope1",
        "aud": f"http://{server.at}/token",
        "iat": now,
        "exp": now + 3600,
    }
    assert json.loads(header) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    assert server.authorizations == ["Bearer token1"]
    assert server.paths == ["/v1/thing?a=b+c"]


async def test_a_token_is_kept_until_shortly_before_its_end(server: Server, site: StandIn) -> None:
    one = api(server, site, credentials=server.service_account())
    await call(one)
    site.advance(3600 - module.EARLY_SECONDS - 1)
    await call(one)
    site.advance(1)
    await call(one)

    assert server.authorizations == ["Bearer token1", "Bearer token1", "Bearer token2"]


async def test_a_token_that_is_not_taken_any_more_is_renewed_once(server: Server, site: StandIn) -> None:
    one = api(server, site, credentials=server.service_account())
    server.answers = [(401, {}), (200, {"ok": True}), (401, {}), (401, {})]
    await call(one)
    with pytest.raises(Refused, match="looking: Google answered 401; check the credentials"):
        await call(one)

    assert server.authorizations == ["Bearer token1", "Bearer token2", "Bearer token2", "Bearer token3"]


async def test_credentials_that_were_revoked_are_refused_and_restored_ones_go_on(server: Server, site: StandIn) -> None:
    one = api(server, site, credentials=server.service_account())
    server.token_answer = (400, {"error": "invalid_grant", "error_description": "canary"})
    with pytest.raises(Refused, match=r"looking: getting a token: 400 \(invalid_grant\).*revoked") as raised:
        await call(one)
    assert "canary" not in str(raised.value)

    server.token_answer = None
    assert await call(one) == {"ok": True}


async def test_a_token_server_that_is_away_is_asked_again(server: Server, site: StandIn) -> None:
    server.token_answer = (503, {})
    with pytest.raises(NotConnected, match="getting a token: 503"):
        await call(api(server, site, credentials=server.service_account()))
    server.token_answer = (200, {"odd": 1})
    with pytest.raises(NotConnected, match="the answer has none"):
        await call(api(server, site, credentials=server.service_account()))


async def test_a_users_credentials_are_refreshed(server: Server, site: StandIn) -> None:
    user = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    await call(api(server, site, credentials=json.dumps({**user, "token_uri": f"http://{server.at}/token"})))

    assert server.forms == [
        {"grant_type": "refresh_token", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    ]


async def test_the_environment_may_name_a_file(
    server: Server, site: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    with pytest.raises(Refused, match="cannot be read"):
        await call(api(server, site))
    file.write_text(server.service_account())
    assert await call(api(server, site)) == {"ok": True}


async def test_a_file_that_sources_may_not_use_is_not_read(
    server: Server, site: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever sets up a source could have the process's token sent to an endpoint of his own."""
    file = tmp_path / "key.json"
    file.write_text(server.service_account())
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    site.forbidden.add("GOOGLE_APPLICATION_CREDENTIALS")
    with pytest.raises(Refused, match=r"give the option credentials, or name .*connectors\.secret_names"):
        await call(api(server, site))
    assert (server.paths, server.forms) == ([], [])

    assert await call(api(server, site, credentials=server.service_account())) == {"ok": True}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"private_key": "canary"}, "private_key of the credentials is no key"),
        ({"private_key": pem(ec.generate_private_key(ec.SECP256R1()))}, "no RSA key"),
        ({"private_key": None}, "the credentials have no private_key"),
        ({"client_email": None}, "the credentials have no client_email"),
        ({"type": "external_account"}, "neither of a service account nor of a user"),
        ({"token_uri": 7}, "the credentials have no token_uri"),
    ],
)
async def test_odd_credentials_are_refused(server: Server, site: StandIn, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words) as raised:
        await call(api(server, site, credentials=server.service_account(**changes)))
    assert "canary" not in str(raised.value)
    assert server.forms == []


@pytest.mark.parametrize("text", ["canary", "[]"])
async def test_credentials_that_are_none_are_refused(server: Server, site: StandIn, text: str) -> None:
    with pytest.raises(Refused, match="no object of JSON"):
        await call(api(server, site, credentials=text))


async def test_without_credentials_nothing_is_asked(server: Server, site: StandIn) -> None:
    with pytest.raises(Refused, match="give the option credentials"):
        await call(api(server, site))
    assert server.paths == []

    assert await call(api(server, site, anonymous=True)) == {"ok": True}
    assert server.authorizations == [None]


async def test_the_metadata_service_is_asked_where_options_and_policy_allow_it(
    server: Server, site: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refused, match=r"169\.254\.169\.254.*connectors\.allow"):
        await call(api(server, site, instance_role=True))

    monkeypatch.setattr(module, "METADATA_URL", module.METADATA_URL.replace("169.254.169.254", server.at))
    await call(api(server, site, instance_role=True))
    assert server.authorizations == ["Bearer token1"]


async def test_a_key_cannot_send_us_where_the_policy_forbids(server: Server) -> None:
    account = server.service_account(token_uri=f"http://{server.at}/token")
    async with ClientHttp(Policy()) as http:
        with pytest.raises(Refused, match="is not public"):
            await call(api(server, StandIn(http=http), credentials=account))
    assert server.forms == []


@pytest.mark.parametrize(
    ("status", "error", "kind", "words"),
    [
        (403, {"status": "PERMISSION_DENIED"}, Refused, r"403 \(PERMISSION_DENIED\); give the account the role"),
        (403, {"errors": [{"reason": "rateLimitExceeded"}]}, NotConnected, "rateLimitExceeded"),
        (404, {"status": "NOT_FOUND"}, Refused, "check the name and the project"),
        (400, {"status": "FAILED_PRECONDITION"}, Refused, "check the options"),
        (429, {"status": "RESOURCE_EXHAUSTED"}, NotConnected, "answered 429"),
        (503, {"status": "UNAVAILABLE"}, NotConnected, "answered 503"),
        (400, {"status": "canary secret", "details": [{"reason": 7}, 8], "errors": 9}, Refused, "answered 400; check"),
    ],
)
async def test_an_error_is_told_apart_and_says_what_to_do(
    server: Server, site: StandIn, status: int, error: Any, kind: type[Exception], words: str
) -> None:
    server.answers = [(status, {"error": {"message": "canary", **error}})]
    with pytest.raises(kind, match=f"looking: Google answered {words}|{words}") as raised:
        await call(api(server, site, anonymous=True))
    assert "canary" not in str(raised.value)
    if status == 503:
        assert isinstance(raised.value, NotConnected)
        assert raised.value.retry_after_seconds == 7


@pytest.mark.parametrize("body", [b"<html>", b"[]", b""])
async def test_an_answer_that_is_none_is_tried_again(server: Server, site: StandIn, body: bytes) -> None:
    server.answers = [(200, body)]
    with pytest.raises(NotConnected, match="none of Google's"):
        await call(api(server, site, anonymous=True))


async def test_bytes_are_read_up_to_a_size(server: Server, site: StandIn) -> None:
    one = api(server, site, anonymous=True)
    server.answers = [(200, b"abcdef"), (404, {"error": {"errors": [{"reason": "notFound"}]}})]
    assert await one.bytes_of("/o/x", doing="reading", query={"alt": "media"}, most_bytes=3) == b"abc"
    reply = await one.bytes_of("/o/x", doing="reading", query={"alt": "media"}, most_bytes=3)

    assert isinstance(reply, Reply)
    assert (reply.status, reply.reasons) == (404, ["notFound"])


def test_secrets_are_not_shown() -> None:
    options = GoogleOptions.model_validate({"credentials": "canary"})
    assert "canary" not in repr(options) + str(options.shown())
    assert base64.b64encode(b"canary").decode() not in repr(options)
