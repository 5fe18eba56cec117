"""Asks the gateway's HTTP API, with the standard library alone: a command waits for one answer."""

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

import orjson

from app.settings import DEV_TOKEN, Settings, is_loopback

_TIMEOUT_SECONDS: Final = 10
_MOST_BYTES: Final = 64 * 1024 * 1024


class NoGateway(Exception):
    """There is no gateway at the address, or none that answers now."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"No gateway answers at {url} ({reason})")
        self.url, self.reason = url, reason


class GatewayRefused(Exception):
    """The gateway answered that it will not."""

    exit_code: Final = 1

    def __init__(self, status: int, message: str, remedy: str) -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.status, self.message, self.remedy = status, message, remedy


class Gateway:
    """A gateway as its clients see it."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.gateway_url()
        local = is_loopback(urllib.parse.urlsplit(self.url).hostname or "")
        token = settings.gateway.token
        # `headgate dev` next door has a token that everybody knows; showing it to this machine tells nobody anything.
        self._token = token.get_secret_value() if token is not None else DEV_TOKEN if local else None
        # A proxy that is meant for the internet knows nothing of this machine.
        proxies = urllib.request.ProxyHandler({} if local else None)
        self._opener = urllib.request.build_opener(proxies)

    def get(self, path: str, query: Mapping[str, str | None] | None = None) -> dict[str, Any]:
        """One answer. Raises NoGateway, GatewayRefused."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        url = f"{self.url}{path}" + (f"?{urllib.parse.urlencode(given)}" if given else "")
        _, body = self._ask(urllib.request.Request(url), _TIMEOUT_SECONDS)
        return body

    def post(
        self, path: str, data: object, *, headers: Mapping[str, str] | None = None, wait_seconds: float = 0
    ) -> tuple[int, dict[str, Any]]:
        """Send JSON; status and answer, for which the gateway may wait so long. Raises NoGateway, GatewayRefused."""
        given = {"Content-Type": "application/json"} | dict(headers or {})
        request = urllib.request.Request(f"{self.url}{path}", orjson.dumps(data), given, method="POST")
        return self._ask(request, _TIMEOUT_SECONDS + wait_seconds)

    def _ask(self, request: urllib.request.Request, timeout_seconds: float) -> tuple[int, dict[str, Any]]:
        request.add_header("Accept", "application/json")
        if self._token is not None:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with self._opener.open(request, timeout=timeout_seconds) as answer:
                return answer.status, self._body(answer.read(_MOST_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error.code, error.read(_MOST_BYTES)) from None
        except urllib.error.URLError as error:
            raise NoGateway(self.url, str(getattr(error.reason, "strerror", None) or error.reason)) from None
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            raise NoGateway(self.url, str(error) or type(error).__name__) from None

    def _body(self, raw: bytes) -> dict[str, Any]:
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError:
            body = None
        if not isinstance(body, dict):
            raise NoGateway(self.url, "something else answers there")
        return body

    def _refusal(self, status: int, raw: bytes) -> Exception:
        error = self._body(raw).get("error")
        if not isinstance(error, dict):
            return NoGateway(self.url, f"something else answers there, with status {status}")
        if status == http.client.UNAUTHORIZED:
            remedy = "Set HEADGATE_GATEWAY_TOKEN to the gateway's token, or use --kafka to read from Kafka itself."
            return GatewayRefused(status, f"The gateway at {self.url} refuses the token.", remedy)
        return GatewayRefused(status, str(error.get("message", "")), str(error.get("remedy", "")))
