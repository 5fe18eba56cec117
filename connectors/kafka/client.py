"""A client of a foreign cluster under the egress policy.

aiokafka connects to whatever addresses a cluster advertises. Here each connection resolves its host once, under the
policy, and goes to an address of that answer; TLS still asks for the name. For this it leans on the inside of aiokafka,
whose version is pinned.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, errors
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.metadata import MetadataRequest

from connectors.base import contract
from connectors.base.contract import NotConnected, Refused
from connectors.kafka.config import Config

REQUEST_SECONDS: Final = 20.0
METADATA_SECONDS: Final = 60.0
FETCH_BYTES: Final = 8 * 1024 * 1024
"""Of one answer of a broker; a larger record still comes, alone."""

Resolve = Callable[[str, int], Awaitable[Sequence[tuple[str, int]]]]
AWAY: Final = (errors.KafkaError, OSError, TimeoutError)
"""What a broker may raise that is there again later, or another one in its place."""
_NO_CREDENTIALS: Final = (
    errors.SaslAuthenticationFailed,
    errors.AuthenticationFailedError,
    errors.AuthenticationMethodNotSupported,
    errors.UnsupportedSaslMechanismError,
    errors.IllegalSaslStateError,
)
_NO_RIGHTS: Final = (
    errors.TopicAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
)


def translated(error: Exception, where: str) -> NotConnected | Refused:
    """Return what an error of Kafka's client is in the words of the contract."""
    name = type(error).__name__
    if isinstance(error, NotConnected | Refused):
        return error
    if isinstance(error, _NO_CREDENTIALS):
        return Refused(f"{where} refuses user or password ({name}: {error})", reason="unauthorized")
    if isinstance(error, _NO_RIGHTS):
        return Refused(f"{where} does not let this user read: {name}: {error}", reason="forbidden")
    if isinstance(error, TimeoutError):
        return NotConnected(f"{where} did not answer in time", reason="timeout")
    if isinstance(error, ssl.SSLError):
        return NotConnected(f"no TLS with {where}: {error.reason or error}", reason="tls")
    if isinstance(error, ConnectionRefusedError):
        return NotConnected(f"{where} cannot be reached: {error}", reason="refused")
    if isinstance(error, OSError):
        return NotConnected(f"{where} cannot be reached: {error}", reason="unreachable")
    return NotConnected(f"{where}: {name}: {error}", reason=_label(name))


def _label(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name.removesuffix("Error")).lstrip("_")


class Client(AIOKafkaClient):  # type: ignore[misc]
    """Speaks to one cluster. Raises NotConnected or Refused where it connects by itself."""

    def __init__(self, config: Config, *, site: contract.Site, tls: ssl.SSLContext | None) -> None:
        super().__init__(
            client_id="headgate",
            request_timeout_ms=int(min(REQUEST_SECONDS, config.idle_timeout) * 1000),
            metadata_max_age_ms=int(METADATA_SECONDS * 1000),
            security_protocol=config.security,
            ssl_context=tls,
            sasl_mechanism=config.sasl_mechanism,
            sasl_plain_username=config.username,
            sasl_plain_password=None if config.password is None else config.password.get_secret_value(),
        )
        self._first = [_place(server) for server in config.bootstrap]
        self._site = site
        self._opening = asyncio.Lock()
        self.cluster_id = ""
        self.heard_at = site.monotonic()
        """When the last byte came, on the site's monotonic clock."""
        self.problem: NotConnected | Refused | None = None
        """Why the last connection could not be made; None once one was made again."""

    async def bootstrap(self) -> None:
        """Ask the first broker that answers for the others. Raises NotConnected or Refused."""
        for host, port in self._first:
            where = f"{host}:{port}"
            try:
                connection = await self._opened(host, port)
            except Refused as error:
                raise Refused(f"{where}: {error}", reason=error.reason) from None
            except (*AWAY, NotConnected) as error:
                self.problem = translated(error, where)
                continue
            try:
                answer = await connection.send(MetadataRequest([]))
            except (*AWAY, NotConnected) as error:
                self.problem = translated(error, where)
                continue
            finally:
                await connection.close()
            self.cluster.update_metadata(answer)
            self.cluster_id = getattr(answer, "cluster_id", None) or ""
            self.problem = None
            self._sync_task = asyncio.create_task(self._md_synchronizer())
            return
        assert self.problem is not None
        raise self.problem

    async def _get_conn(
        self,
        node_id: Any,
        *,
        group: Any = ConnectionGroup.DEFAULT,
        no_hint: bool = False,  # noqa: ARG002 aiokafka's own signature
    ) -> Any:
        """Return a connection to a broker, None where there is none: what aiokafka asks before each request."""
        name = (node_id, group)
        if (found := self._usable(name)) is not None:
            return found
        async with self._opening:
            broker = self.cluster.broker_metadata(node_id)
            if (found := self._usable(name)) is not None or broker is None:
                return found
            try:
                self._conns[name] = await self._opened(broker.host, broker.port, on_close=self._on_connection_closed)
            except (*AWAY, NotConnected, Refused) as error:
                self.problem = translated(error, f"{broker.host}:{broker.port}")
                self.force_metadata_update()
                return None
            self.problem = None
            return self._conns[name]

    def _usable(self, name: Any) -> Any:
        found = self._conns.get(name)
        if found is not None and not found.connected():
            found.close()  # the other end is gone, ours is not
            del self._conns[name]
            return None
        return found

    async def _metadata_update(self, cluster_metadata: Any, topics: Any) -> Any:  # noqa: ARG002 aiokafka's own signature
        """Ask for all topics: one that is asked for by name may be made by that."""
        return await super()._metadata_update(cluster_metadata, None)

    async def refresh(self) -> None:
        """Ask which brokers, topics and partitions there are. Raises NotConnected or Refused."""
        if not await self._metadata_update(self.cluster, None):
            raise self.problem or NotConnected("no broker of the cluster has answered in time", reason="timeout")

    async def _opened(self, host: str, port: int, *, on_close: Any = None) -> Any:
        connection = _Connection(
            host,
            port,
            site=self._site,
            heard=self._heard,
            client_id=self._client_id,
            request_timeout_ms=self._request_timeout_ms,
            ssl_context=self._ssl_context,
            security_protocol=self._security_protocol,
            on_close=on_close,
            max_idle_ms=self._connections_max_idle_ms,
            sasl_mechanism=self._sasl_mechanism,
            sasl_plain_username=self._sasl_plain_username,
            sasl_plain_password=self._sasl_plain_password,
        )
        await connection.connect()
        return connection

    def _heard(self, size_bytes: int) -> None:
        self.heard_at = self._site.monotonic()
        self._site.heard(size_bytes)

    async def commit(self, group: str, topics: list[tuple[str, list[tuple[int, int, str]]]]) -> None:
        """Write offsets to a group that has no members. Raises what aiokafka raises."""
        node = await self.coordinator_lookup(CoordinationType.GROUP, group)
        request = OffsetCommitRequest(group, OffsetCommitRequest.DEFAULT_GENERATION_ID, "", -1, topics)
        answer = await self.send(node, request, group=ConnectionGroup.COORDINATION)
        for _, partitions in answer.topics:
            for _, code in partitions:
                if (error := errors.for_code(code)) is not errors.NoError:
                    raise error(group)


def consumer_of(client: Client) -> AIOKafkaConsumer:
    """Return a consumer in no group that uses the client. It is started and stopped by its owner, and so is that."""
    consumer = AIOKafkaConsumer(
        auto_offset_reset="none",
        enable_auto_commit=False,
        isolation_level="read_committed",
        fetch_max_bytes=FETCH_BYTES,
        request_timeout_ms=int(REQUEST_SECONDS * 1000),
    )
    consumer._client = client
    return consumer


class _Connection(AIOKafkaConnection):  # type: ignore[misc]
    _loop: Any

    def __init__(
        self, host: str, port: int, *, site: contract.Site, heard: Callable[[int], None], **options: Any
    ) -> None:
        super().__init__(host, port, **options)
        self._loop = _Loop(self._loop, site.resolve, heard)


class _Loop:
    """The event loop, but that connections go to addresses that the policy has approved."""

    def __init__(self, loop: asyncio.AbstractEventLoop, resolve: Resolve, heard: Callable[[int], None]) -> None:
        self._loop, self._resolve, self._heard = loop, resolve, heard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(self, factory: Any, host: str, port: int, *, ssl: Any) -> Any:
        error: OSError | None = None
        for address, at in await self._resolve(host, port):
            try:
                return await self._loop.create_connection(
                    self._counting(factory), address, at, ssl=ssl, server_hostname=host if ssl else None
                )
            except OSError as problem:
                error = problem
        raise error or OSError(f"{host} has no address")

    def _counting(self, factory: Any) -> Any:
        protocol = factory()
        receive = protocol.data_received

        def data_received(data: bytes) -> None:
            self._heard(len(data))
            receive(data)

        protocol.data_received = data_received
        return lambda: protocol


def _place(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    return host.strip("[]"), int(port)
