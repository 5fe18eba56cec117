"""Slack's Web API, as far as the source needs it: a socket's address, messages, views, answers to response_url.

Slack docs, "Web API" and "Rate limits": errors come as HTTP 200 with `ok: false`, limits as 429 with Retry-After and
apply to each method. Tokens go into the Authorization header and nowhere else.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit
from uuid import NAMESPACE_URL, uuid5

import orjson
from pydantic import SecretStr

from connectors.base.contract import Answer, NotConnected, Refused, Site

CONNECTIONS_OPEN: Final = "apps.connections.open"
POST_MESSAGE: Final = "chat.postMessage"
METHODS: Final = frozenset(
    {
        POST_MESSAGE,
        "chat.postEphemeral",
        "chat.update",
        "chat.delete",
        "reactions.add",
        "views.open",
        "views.push",
        "views.publish",
        "views.update",
    }
)
"""What can be sent through a source with its bot token."""
PAUSE_SECONDS: Final = 30.0
"""How long a limit lasts of which Slack does not say how long."""
ANSWER_BYTES: Final = 4 * 1024 * 1024

_RESPONSE: Final = "response_url"
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,4096}", re.ASCII)
_CODE: Final = re.compile(r"[a-z0-9_.]{1,80}", re.ASCII)
_SCOPES: Final = re.compile(r"[a-z0-9_.:, ]{1,200}", re.ASCII)
_LIMITS: Final = frozenset({"rate_limited", "ratelimited"})
_TRANSIENT: Final = frozenset(
    {
        "external_channel_migrating",
        "fatal_error",
        "internal_error",
        "request_timeout",
        "service_unavailable",
        "team_added_to_org",
    }
)
_DONE: Final = {"reactions.add": "already_reacted", "chat.delete": "message_not_found"}
"""Errors that say that it has been done before: a repetition finds what the first attempt did."""
_REMEDIES: Final = {
    "account_inactive": "the app was removed from the workspace: install it again and give its new tokens",
    "channel_not_found": "name a channel by its id, and invite the app into it if it is private",
    "invalid_auth": "give a token that is valid",
    "missing_scope": "give the app the scope and install it again",
    "not_allowed_token_type": "app_token is the app-level token (xapp-...), bot_token the bot's (xoxb-...)",
    "not_authed": "give a token that is valid",
    "not_in_channel": "invite the app into the channel",
    "token_expired": "give a new token",
    "token_revoked": "give a new token",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """A JSON answer, or none, and its status."""

    status: int
    body: Mapping[str, Any] | None
    retry_after: float | None


class Web:
    """Asks Slack's Web API at `api_url`, which ends in a slash, and keeps to its limits."""

    def __init__(self, site: Site, api_url: str) -> None:
        self._site, self._api_url = site, api_url if api_url.endswith("/") else api_url + "/"
        self._not_before: dict[str, float] = {}

    async def socket_url(self, token: SecretStr) -> str:
        """Return the address of one new socket, which is a secret. Raises NotConnected, Refused."""
        answer = await self.call(CONNECTIONS_OPEN, None, token)
        url = answer.get("url")
        plain = urlsplit(self._api_url).scheme == "http"
        if not isinstance(url, str) or not re.match(r"wss?://[^/]" if plain else r"wss://[^/]", url):
            raise NotConnected(f"Slack gave source {self._id!r} no address of a socket", reason="no_address")
        return url

    async def send(self, message: Mapping[str, Any], token: SecretStr | None, *, key: str) -> Mapping[str, Any] | None:
        """Send what `event.send` says: a method's arguments, or a message to a response_url. Raises as `call`.

        A message that is posted gets an id that is derived from `key`, by which Slack knows a repetition if it looks;
        it does not promise to.
        """
        body = dict(message)
        if "response_url" in body:
            await self._respond(body.pop("response_url"), body)
            return None
        method = body.pop("method", POST_MESSAGE)
        if not isinstance(method, str) or method not in METHODS:
            raise Refused(
                f"source {self._id!r} cannot send by this `method`; there are {', '.join(sorted(METHODS))}",
                reason="unknown_method",
            )
        if token is None:
            raise Refused(
                f"source {self._id!r} has no bot token to send with; give it the option bot_token",
                reason="no_bot_token",
            )
        if method == POST_MESSAGE:
            body.setdefault("client_msg_id", str(uuid5(NAMESPACE_URL, f"headgate/{self._id}/{key}")))
        return await self.call(method, body, token)

    async def call(self, method: str, body: Mapping[str, Any] | None, token: SecretStr) -> Mapping[str, Any]:
        """Ask a method. Raises NotConnected while it may work later, Refused with Slack's word where it will not."""
        self._wait_for(method)
        bare = token.get_secret_value().strip()
        if not _TOKEN.fullmatch(bare):
            raise Refused(
                f"a token of source {self._id!r} has characters that no token has, or none; give it as Slack shows it",
                reason="invalid_auth",
            )
        said = await self._post(self._api_url + method, body, {"Authorization": f"Bearer {bare}"})
        answer = said.body or {}
        if said.status == 200 and answer.get("ok") is True:
            return answer
        error = answer.get("error")
        code = error if isinstance(error, str) and _CODE.fullmatch(error) else ""
        if code and code == _DONE.get(method):
            return answer
        raise self._failure(method, said, code, answer)

    async def _respond(self, url: object, body: Mapping[str, Any]) -> None:
        """Answer an interaction or a command at the address it came with, which is allowed to Slack's hooks alone."""
        if not isinstance(url, str) or not self._is_hook(url):
            raise Refused(
                f"source {self._id!r} answers only at response_urls that Slack gave; use the one of the event as it is",
                reason="response_url_not_allowed",
            )
        self._wait_for(_RESPONSE)
        said = await self._post(url, body, {})
        if said.status == 200:
            return
        error = None if said.body is None else said.body.get("error")
        code = error if isinstance(error, str) and _CODE.fullmatch(error) else ""
        raise self._failure(_RESPONSE, said, code, {})

    def _is_hook(self, url: str) -> bool:
        api = urlsplit(self._api_url)
        try:
            asked = urlsplit(url)
            origins = {("https", "hooks.slack.com", 443), ("https", f"hooks.{api.hostname}", 443), _origin(api)}
            return asked.username is None and asked.password is None and _origin(asked) in origins
        except ValueError:
            return False

    async def _post(self, url: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> _Said:
        """Raises NotConnected, Refused for what is no JSON."""
        try:
            data = b"" if body is None else orjson.dumps(body)
        except TypeError as error:
            raise Refused(f"source {self._id!r} can send JSON only: {error}", reason="not_json") from None
        kind = "application/x-www-form-urlencoded" if body is None else "application/json; charset=utf-8"
        asked = self._site.http.request("POST", url, headers={**headers, "Content-Type": kind}, data=data)
        async with asked as answer:
            return await _said(answer)

    def _wait_for(self, method: str) -> None:
        """Raises NotConnected as long as Slack has asked for patience with this method."""
        left = self._not_before.get(method, 0.0) - self._site.monotonic()
        if left > 0:
            raise NotConnected(
                f"Slack limits {method} of source {self._id!r} for {left:.0f} s more",
                reason="rate_limited",
                retry_after_seconds=left,
            )
        self._not_before.pop(method, None)

    def _failure(self, method: str, said: _Said, code: str, answer: Mapping[str, Any]) -> NotConnected | Refused:
        if said.status == 429 or code in _LIMITS:
            pause = PAUSE_SECONDS if said.retry_after is None else said.retry_after
            self._not_before[method] = self._site.monotonic() + pause
            return NotConnected(
                f"Slack limits {method} of source {self._id!r}; trying again in {pause:.0f} s",
                reason="rate_limited",
                retry_after_seconds=pause,
            )
        if said.status >= 500 or said.status == 408 or code in _TRANSIENT or (said.status == 200 and not code):
            return NotConnected(
                f"{method} of Slack did not work for source {self._id!r}: {code or f'HTTP {said.status}, no answer'}",
                reason=code or f"http_{said.status}",
                retry_after_seconds=said.retry_after,
            )
        remedy = _REMEDIES.get(code, "Slack's documentation of the method tells what this means")
        needed = answer.get("needed")
        if isinstance(needed, str) and _SCOPES.fullmatch(needed):
            remedy = f"{remedy} (needed: {needed})"
        return Refused(
            f"Slack refused {method} of source {self._id!r}: {code or f'HTTP {said.status}'}; {remedy}",
            reason=code or f"http_{said.status}",
        )

    @property
    def _id(self) -> str:
        return self._site.instance_id


async def _said(answer: Answer) -> _Said:
    raw = await answer.body(ANSWER_BYTES)
    try:
        body = orjson.loads(raw)
    except ValueError:
        body = None
    return _Said(status=answer.status, body=body if isinstance(body, dict) else None, retry_after=answer.retry_after())


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or {"https": 443, "http": 80}.get(url.scheme)
