"""Google's REST APIs for `pubsub` and `gcs`: tokens, requests under the egress policy, and errors in our words.

Tokens are made by hand of a service account's key (RFC 7523) or of a user's refresh token (RFC 6749): it is one
request, and libraries would send it outside the egress policy, to whatever address the key names. Credentials are those
of the options, else the file of GOOGLE_APPLICATION_CREDENTIALS, if sources may use that variable. The metadata service
of a machine or a pod is asked only where the options say `instance_role` and the egress policy allows its address.
"""

import base64
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import orjson
from pydantic import SecretStr

from connectors.base.contract import NotConnected, Refused, Site
from connectors.base.options import Field, Options, Url

OF_ENVIRONMENT: Final = "GOOGLE_APPLICATION_CREDENTIALS"
METADATA_URL: Final = "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token"
TOKEN_URL: Final = "https://oauth2.googleapis.com/token"
TOKEN_SECONDS: Final = 3600
"""As long as Google lets a token live that is asked for with a key."""
EARLY_SECONDS: Final = 120
"""Before its end a token is made anew."""
MOST_BYTES: Final = 128 * 1024 * 1024
_ASSERTION: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_WORD: Final = re.compile(r"[A-Za-z0-9_]{1,60}", re.ASCII)
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_BUSY: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "backendError", "RESOURCE_EXHAUSTED"})
_REMEDIES: Final = {
    401: "check the credentials: they may be wrong, expired or revoked",
    403: "give the account the role that the kind needs",
    404: "check the name and the project",
}


class GoogleOptions(Options):
    """What all kinds of Google share."""

    credentials: SecretStr | None = Field(
        default=None,
        description="Key of a service account as JSON, as Google gives it, or credentials of a user; by default the "
        f"file that the environment names ({OF_ENVIRONMENT}), which all sources share, unless the setting "
        "connectors.secret_names leaves it out.",
    )
    instance_role: bool = Field(
        default=False,
        description="Ask the metadata service of the machine or pod, where there are no other credentials; "
        "the setting connectors.allow must name 169.254.169.254.",
    )
    anonymous: bool = Field(default=False, description="Send no credentials: for emulators and public buckets.")
    endpoint_url: Url | None = Field(default=None, description="Another address than Google's, of an emulator, say.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What Google answered."""

    status: int
    body: Any
    """JSON; None where it is none."""
    retry_after_seconds: float | None

    @property
    def error(self) -> Mapping[str, Any]:
        """What it says of an error; empty where it says nothing."""
        found = self.body.get("error") if isinstance(self.body, dict) else None
        return found if isinstance(found, dict) else {}

    @property
    def reasons(self) -> Sequence[str]:
        """The words for its reason, most particular first. Only words: they get into messages."""
        errors, details = self.error.get("errors"), self.error.get("details")
        particular = [
            one.get("reason")
            for found in (details, errors)
            for one in (found if isinstance(found, list) else ())
            if isinstance(one, dict)
        ]
        words = [*particular, self.error.get("status")]
        return [word for word in words if isinstance(word, str) and _WORD.fullmatch(word)]

    def failure(self, doing: str) -> NotConnected | Refused:
        """Return what an answer that is no success means."""
        said = f"{doing}: Google answered {self.status}{f' ({self.reasons[0]})' if self.reasons else ''}"
        if self.status in _PASSING or _BUSY & set(self.reasons):
            return NotConnected(said, reason=f"http_{self.status}", retry_after_seconds=self.retry_after_seconds)
        return Refused(f"{said}; {_REMEDIES.get(self.status, 'check the options')}", reason=f"http_{self.status}")


class Google:
    """One API, for one source."""

    def __init__(self, options: GoogleOptions, site: Site, *, scope: str, url: str) -> None:
        self._options, self._site, self._scope = options, site, scope
        self._url = url.rstrip("/")
        self.host = urlsplit(self._url).hostname
        self._token: str | None = None
        self._until = 0.0

    async def call(self, method: str, path: str, *, doing: str, **how: Any) -> Any:
        """Ask for JSON, and return it. Raises NotConnected and Refused, which begin with what was being done."""
        reply = await self.ask(method, path, doing=doing, **how)
        if not 200 <= reply.status < 300:
            raise reply.failure(doing)
        if not isinstance(reply.body, dict):
            raise NotConnected(f"{doing}: the answer is none of Google's", reason="protocol")
        return reply.body

    async def ask(
        self,
        method: str,
        path: str,
        *,
        doing: str,
        query: Mapping[str, str] | None = None,
        json: Any = None,
        timeout_seconds: float = 60.0,
    ) -> Reply:
        """Ask, with a new token if the old one is not taken any more. Raises NotConnected, Refused without a token."""
        reply = await self._asked(method, path, query, json, timeout_seconds, doing)
        if reply.status == 401 and self._token is not None:
            self._token = None
            reply = await self._asked(method, path, query, json, timeout_seconds, doing)
        return reply

    async def bytes_of(self, path: str, *, doing: str, query: Mapping[str, str], most_bytes: int) -> bytes | Reply:
        """Return what is at a path, so many bytes at most; a reply where it is no success."""
        found = b""
        async with self._site.http.request("GET", self._at(path, query), headers=await self._headers(doing)) as answer:
            if answer.status != 200:
                body = await answer.body(MOST_BYTES)
                return Reply(status=answer.status, body=_json(body), retry_after_seconds=answer.retry_after())
            async for chunk in answer.chunks():
                found += chunk
                if len(found) >= most_bytes:
                    break
        return found[:most_bytes]

    async def _asked(
        self, method: str, path: str, query: Mapping[str, str] | None, json: Any, timeout_seconds: float, doing: str
    ) -> Reply:
        headers = await self._headers(doing)
        async with self._site.http.request(
            method, self._at(path, query), headers=headers, json=json, timeout_seconds=timeout_seconds
        ) as answer:
            body = await answer.body(MOST_BYTES)
            return Reply(status=answer.status, body=_json(body), retry_after_seconds=answer.retry_after())

    def _at(self, path: str, query: Mapping[str, str] | None) -> str:
        return f"{self._url}{path}{f'?{urlencode(query)}' if query else ''}"

    # ---- tokens ----------------------------------------------------------------------------------------------------

    async def _headers(self, doing: str) -> dict[str, str]:
        if self._options.anonymous:
            return {}
        if self._token is None or self._site.monotonic() >= self._until:
            asked_at = self._site.monotonic()
            reply = await self._new_token(f"{doing}: getting a token")
            token, seconds = reply.get("access_token"), reply.get("expires_in")
            if not isinstance(token, str) or not isinstance(seconds, int | float):
                raise NotConnected(f"{doing}: getting a token: the answer has none", reason="protocol")
            self._token, self._until = token, asked_at + max(0.0, seconds - EARLY_SECONDS)
        return {"Authorization": f"Bearer {self._token}"}

    async def _new_token(self, doing: str) -> Mapping[str, Any]:
        found = await self._credentials(doing)
        if found is None:
            if not self._options.instance_role:
                message = (
                    f"{doing}: there are no credentials; give the option credentials, let the environment name a file "
                    "(GOOGLE_APPLICATION_CREDENTIALS), or set anonymous for an emulator"
                )
                raise Refused(message, reason="credentials")
            query = urlencode({"scopes": self._scope})
            return await self._token_of("GET", f"{METADATA_URL}?{query}", {"Metadata-Flavor": "Google"}, None, doing)
        found = {"token_uri": TOKEN_URL, **found}
        url = _text(found, "token_uri", doing)
        match found.get("type"):
            case "service_account":
                assertion = await self._site.in_thread(self._assertion, found, doing)
                form = {"grant_type": _ASSERTION, "assertion": assertion}
            case "authorized_user":
                names = ("client_id", "client_secret", "refresh_token")
                form = {"grant_type": "refresh_token", **{name: _text(found, name, doing) for name in names}}
            case _:
                message = f"{doing}: the credentials are neither of a service account nor of a user (type)"
                raise Refused(message, reason="credentials")
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self._token_of("POST", url, headers, urlencode(form).encode(), doing)

    async def _token_of(
        self, method: str, url: str, headers: Mapping[str, str], data: bytes | None, doing: str
    ) -> Mapping[str, Any]:
        async with self._site.http.request(method, url, headers=headers, data=data) as answer:
            body = _json(await answer.body(1024 * 1024))
            if answer.status in _PASSING:
                message = f"{doing}: {answer.status} was the answer"
                raise NotConnected(message, reason=f"http_{answer.status}", retry_after_seconds=answer.retry_after())
            if answer.status != 200:
                word = body.get("error") if isinstance(body, dict) else None
                said = f" ({word})" if isinstance(word, str) and _WORD.fullmatch(word) else ""
                raise Refused(f"{doing}: {answer.status}{said} was the answer; {_REMEDIES[401]}", reason="credentials")
        return body if isinstance(body, dict) else {}

    async def _credentials(self, doing: str) -> Mapping[str, Any] | None:
        if self._options.credentials is not None:
            text = self._options.credentials.get_secret_value().encode()
        elif path := os.environ.get(OF_ENVIRONMENT):
            if not self._site.may_use(OF_ENVIRONMENT):
                if self._options.instance_role:
                    return None
                raise Refused(
                    f"{doing}: sources may not use the file of {OF_ENVIRONMENT}; give the option credentials, or name "
                    "the variable in the setting connectors.secret_names",
                    reason="credentials",
                )
            try:
                text = await self._site.in_thread(Path(path).read_bytes)
            except OSError as error:
                message = f"{doing}: the file of GOOGLE_APPLICATION_CREDENTIALS cannot be read ({error.strerror})"
                raise Refused(message, reason="credentials") from None
        else:
            return None
        found = _json(text)
        if not isinstance(found, dict):
            raise Refused(f"{doing}: the credentials are no object of JSON", reason="credentials")
        return found

    def _assertion(self, found: Mapping[str, Any], doing: str) -> str:
        """Sign who we are, for whom, and until when (RFC 7523)."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(_text(found, "private_key", doing).encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise Refused(f"{doing}: private_key of the credentials is no key", reason="credentials") from None
        if not isinstance(key, RSAPrivateKey):
            raise Refused(f"{doing}: private_key of the credentials is no RSA key", reason="credentials")
        now = int(self._site.now().timestamp())
        header = {"alg": "RS256", "typ": "JWT", "kid": found.get("private_key_id")}
        claims = {
            "iss": _text(found, "client_email", doing),
            "scope": self._scope,
            "aud": _text(found, "token_uri", doing),
            "iat": now,
            "exp": now + TOKEN_SECONDS,
        }
        signed = b".".join(_base64url(orjson.dumps(part)) for part in (header, claims))
        return b".".join([signed, _base64url(key.sign(signed, PKCS1v15(), SHA256()))]).decode("ascii")


def _text(found: Mapping[str, Any], name: str, doing: str) -> str:
    value = found.get(name)
    if not isinstance(value, str):
        raise Refused(f"{doing}: the credentials have no {name}", reason="credentials")
    return value


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
