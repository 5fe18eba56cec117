"""A connection to one Redis server, made to addresses that the egress policy has approved, and its errors in our words.

RESP2 and no other: under RESP3 a server may tell the client to move to another address, which nobody has checked.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import unquote, urlsplit

from connectors.base.contract import NotConnected, Refused, Site

if TYPE_CHECKING:
    import redis.asyncio

_CONNECT_SECONDS: Final = 10.0
_SPARE_SECONDS: Final = 10.0
"""What an answer may take beyond the time that the server was asked to wait."""
_MOST_CONNECTIONS: Final = 4
_RAW: Final = ("XREADGROUP", "XAUTOCLAIM", "XPENDING", "XCLAIM", "XINFO CONSUMERS", "XRANGE")
"""Commands whose answers are taken as they come: the client's own reading loses fields that stand twice."""
_GONE: Final = ("NOGROUP", "UNBLOCKED", "no such key")
_FOR_GOOD: Final = ("WRONGTYPE", "MOVED", "ASK", "CROSSSLOT", "unknown command", "unknown subcommand")
_MOST_ERROR_CHARS: Final = 200


class GroupMissing(Exception):
    """The stream or its consumer group is not there, or not any more."""


class GroupExists(Exception):
    """The consumer group was there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a server is and how to be let in."""

    host: str
    port: int
    database: int
    tls: bool
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None

    @classmethod
    def parse(
        cls, url: str, *, username: str | None = None, password: str | None = None, ca_file: str | None = None
    ) -> Self:
        """Read `redis://` or `rediss://` with a host, a port, a database. Raises ValueError, which shows nothing of it.

        `username` and `password` win over those in the url.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("url is none: it needs the form redis://host:6379/0") from None
        if parts.scheme not in ("redis", "rediss") or not host:
            raise ValueError("url begins with redis:// or, for TLS, rediss://, and names a host")
        if parts.query or parts.fragment:
            raise ValueError("url has a query, which is not read here; use the options instead")
        database = parts.path.strip("/") or "0"
        if not (database.isascii() and database.isdigit() and len(database) < 6):
            raise ValueError("url has a path that is no number of a database, such as /0")
        return cls(
            host=host,
            port=6379 if port is None else port,
            database=int(database),
            tls=parts.scheme == "rediss",
            username=username or unquote(parts.username or "") or None,
            password=password or unquote(parts.password or "") or None,
            ca_file=ca_file,
        )


class Link:
    """A client of one server. It never tries again by itself: that is the frame's."""

    def __init__(self, client: "redis.asyncio.Redis", site: Site, *, name: str, answer_seconds: float) -> None:
        self._client, self._site, self._name, self._answer_seconds = client, site, name, answer_seconds
        self._execute: Callable[..., Awaitable[Any]] = client.execute_command

    async def ask(self, *words: bytes | str | float) -> Any:
        """Send a command and return the answer: None, int, bytes, or a list of these.

        Raises GroupMissing, GroupExists, NotConnected or Refused.
        """
        from redis.exceptions import DataError, RedisError

        try:
            async with asyncio.timeout(self._answer_seconds):
                answer = await self._execute(*words)
        except DataError:
            raise  # a word that is none: our own mistake
        except RedisError as error:
            raise explained(error, self._name) from None
        except TimeoutError:
            raise NotConnected(f"{self._name} did not answer in time", reason="timeout") from None
        except (ValueError, RecursionError):
            raise NotConnected(f"{self._name} does not speak RESP; is it Redis?", reason="protocol") from None
        self._site.heard(_size(answer))
        return answer

    async def close(self) -> None:
        await self._client.aclose()
        await self._client.connection_pool.disconnect()


async def connect(server: Server, site: Site, *, wait_seconds: float) -> Link:
    """Connect to the first of the host's addresses that answers. Raises NotConnected or Refused.

    `wait_seconds` is the longest that a command asks the server to wait.
    """
    addresses = await site.resolve(server.host, server.port)
    failure: NotConnected | None = None
    name = f"Redis {server.host}:{server.port} of source {site.instance_id!r}"
    for address in addresses:
        link = Link(_client(server, address), site, name=name, answer_seconds=wait_seconds + _SPARE_SECONDS)
        try:
            await link.ask("PING")
        except NotConnected as error:
            failure = error
            await link.close()
        except BaseException:
            await link.close()
            raise
        else:
            return link
    raise failure or NotConnected(f"{name} has no address", reason="dns")


def explained(error: Exception, name: str) -> Exception:
    """Return what an error of the client means to the frame."""
    from redis import exceptions as known

    text = str(error)[:_MOST_ERROR_CHARS]
    code = getattr(error, "status_code", None) or text.partition(" ")[0]
    match error:
        case known.AuthenticationError() | known.AuthorizationError() | known.NoPermissionError():
            remedy = "look at username and password, and at what the user may do"
            return Refused(f"{name} does not let us in: {text}; {remedy}", reason="credentials")
        case known.TimeoutError():
            return NotConnected(f"{name} did not answer in time", reason="timeout")
        case known.ReadOnlyError():
            return NotConnected(f"{name} is a replica just now: {text}", reason="read_only")
        case known.BusyLoadingError():
            return NotConnected(f"{name} is still loading its data", reason="loading")
        case known.ConnectionError():
            if _has_bad_certificate(error):
                return Refused(f"{name} shows a certificate that is not accepted: {text}", reason="certificate")
            return NotConnected(f"{name} is not connected: {text}", reason="closed")
        case known.ResponseError() if code in _GONE or text.startswith(_GONE):
            return GroupMissing(text)
        case known.ResponseError() if code == "BUSYGROUP":
            return GroupExists(text)
        case known.ResponseError() if code in _FOR_GOOD or text.startswith(_FOR_GOOD):
            remedy = "look at the options; it takes Redis 6.2, not as a cluster of several nodes"
            return Refused(f"{name} refuses: {text}; {remedy}", reason="refused")
        case known.ResponseError():
            return NotConnected(f"{name} answers with an error: {text}", reason=_label(code))
    return NotConnected(f"{name} does not speak RESP; is it Redis? {text}", reason="protocol")


def _client(server: Server, address: tuple[str, int]) -> "redis.asyncio.Redis":
    from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    class NamedConnection(SSLConnection):
        """Connects to an address, and asks for the certificate of the name that it was found under."""

        def _connection_arguments(self) -> Mapping[str, Any]:
            return {**super()._connection_arguments(), "server_hostname": server.host}

    tls: dict[str, Any] = {"ssl_ca_certs": server.ca_file} if server.tls else {}
    pool = ConnectionPool(
        max_connections=_MOST_CONNECTIONS,
        connection_class=NamedConnection if server.tls else Connection,
        host=address[0],
        port=address[1],
        db=server.database,
        username=server.username,
        password=server.password,
        protocol=2,
        socket_timeout=None,  # with one, the client sends within asyncio.wait_for, which loses cancellations
        socket_connect_timeout=_CONNECT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        driver_info=None,  # it would be a further command, which a user's rights may not cover
        **tls,
    )
    client = Redis(connection_pool=pool)
    for command in _RAW:
        client.response_callbacks[command] = _as_it_is
    return client


def _as_it_is(response: Any, **_: Any) -> Any:
    return response


def _size(answer: Any) -> int:
    if isinstance(answer, bytes):
        return len(answer)
    return sum(map(_size, answer)) if isinstance(answer, Sequence) and not isinstance(answer, str) else 4


def _label(code: str) -> str:
    known = code.isascii() and code.isalpha() and code.isupper() and len(code) < 20 and code != "ERR"
    return code.lower() if known else "error"


def _has_bad_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
