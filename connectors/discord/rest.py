"""Discord's HTTP API, within its rate limits: for the address of the gateway, the history, and whatever is sent."""

from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from connectors.base.contract import NotConnected, Refused, Site
from connectors.base.options import SecretStr
from connectors.discord.budget import DEFAULT_TOTAL, Allowance
from connectors.discord.limits import Limits, Route

PATIENCE_SECONDS: Final = 60.0
"""A limit that lasts longer is handed on: the frame tries again."""
TRIES: Final = 5
_MAX_BODY_BYTES: Final = 8 * 1024 * 1024
_USER_AGENT: Final = "DiscordBot (headgate, 1)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request. Its path may hold a secret (the token of an interaction), so it is in no message."""

    method: str
    path: str = field(repr=False)
    route: Route
    json: Any = None
    authorized: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    status: int
    data: Any

    @property
    def code(self) -> int | None:
        """Discord's own code of an error, such as 50013."""
        code = self.data.get("code") if isinstance(self.data, dict) else None
        return code if type(code) is int else None

    def problem(self) -> str:
        """Say what Discord said."""
        said = self.data.get("message") if isinstance(self.data, dict) else None
        code = "" if self.code is None else f", code {self.code}"
        return f"HTTP {self.status}{code}{f' ({said[:200]})' if isinstance(said, str) and said else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What GET /gateway/bot tells."""

    url: str
    shards: int
    allowance: Allowance


class Rest:
    """Asks, one request at a time or several. What is known of limits lives as long as this object."""

    def __init__(self, site: Site, *, token: SecretStr, api_url: str) -> None:
        self._site, self._token, self._api_url = site, token, api_url.rstrip("/")
        self._limits = Limits()

    async def ask(self, ask: Ask) -> Reply:
        """Return what Discord answers, whatever the status, but for those that mean the same everywhere.

        Raises Refused for 401; NotConnected for 5xx, for limits that outlast the patience, and where nothing answers.
        """
        for _ in range(TRIES):
            await self._turn(ask.route)
            reply, wait = await self._once(ask)
            if reply is not None:
                return reply
            self._site.note("rate_limited")
            if wait > PATIENCE_SECONDS:
                raise self._limited(wait)
            await self._site.sleep(wait)
        raise self._limited(wait)

    async def gateway(self) -> Gateway:
        """Return where the gateway is, and how often a session may begin. Raises Refused, NotConnected."""
        reply = await self.ask(Ask(method="GET", path="/gateway/bot", route=Route(form="GET /gateway/bot")))
        data = reply.data if isinstance(reply.data, dict) else {}
        if 400 <= reply.status < 500:
            raise Refused(
                f"Discord does not tell source {self._site.instance_id!r} where the gateway is: {reply.problem()}; "
                "check `token` and `api_url`",
                reason=f"http_{reply.status}",
            )
        url, limit = data.get("url"), data.get("session_start_limit")
        if not isinstance(url, str) or not url:
            raise NotConnected(
                f"Discord did not tell source {self._site.instance_id!r} where the gateway is; check `api_url`",
                reason="protocol",
            )
        limit = limit if isinstance(limit, dict) else {}
        return Gateway(
            url=url,
            shards=_count(data.get("shards"), 1),
            allowance=Allowance(
                total=_count(limit.get("total"), DEFAULT_TOTAL),
                remaining=_count(limit.get("remaining"), DEFAULT_TOTAL),
                reset_after_seconds=_count(limit.get("reset_after"), 0) / 1000,
                max_concurrency=_count(limit.get("max_concurrency"), 1),
            ),
        )

    async def _turn(self, route: Route) -> None:
        while (wait := self._limits.take(route, now=self._site.monotonic())) > 0:
            if wait > PATIENCE_SECONDS:
                raise self._limited(wait)
            await self._site.sleep(wait)

    async def _once(self, ask: Ask) -> tuple[Reply | None, float]:
        headers = {"User-Agent": _USER_AGENT}
        if ask.authorized:
            headers["Authorization"] = f"Bot {self._token.get_secret_value()}"
        url = f"{self._api_url}{ask.path}"
        async with self._site.http.request(ask.method, url, headers=headers, json=ask.json) as answer:
            raw = await answer.body(_MAX_BODY_BYTES)
            status, answered, later = answer.status, answer.headers, answer.retry_after()
        data, now = _json(raw), self._site.monotonic()
        if status == 429:
            return None, self._limits.refused(ask.route, answered, data, now=now)
        self._limits.learn(ask.route, answered, now=now)
        if status == 401 and ask.authorized:
            raise Refused(
                f"Discord does not know the token of source {self._site.instance_id!r}; give the bot's token of today "
                "as `token`",
                reason="unauthorized",
            )
        if status >= 500:
            raise NotConnected(
                f"Discord's API answers source {self._site.instance_id!r} with HTTP {status}",
                reason=f"http_{status}",
                retry_after_seconds=later,
            )
        return Reply(status=status, data=data), 0.0

    def _limited(self, wait: float) -> NotConnected:
        return NotConnected(
            f"Discord limits the requests of source {self._site.instance_id!r} for {wait:.0f} s",
            reason="rate_limited",
            retry_after_seconds=wait,
        )


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError:
        return None


def _count(value: Any, otherwise: int) -> int:
    return value if type(value) is int and 0 <= value < 1 << 53 else otherwise
