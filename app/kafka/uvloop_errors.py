"""A connection that breaks as it is written to, told to aiokafka as it expects it.

asyncio raises OSError then, or nothing; uvloop raises RuntimeError once the transport is closed. aiokafka takes only
the first for a broken connection. The other one ended the task that asks for metadata, unheard, so that a client found
no new leader any more; and whoever closed the client got it.
"""

from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_SEND = AIOKafkaConnection.send
_SEND_TOKEN = AIOKafkaConnection._send_sasl_token


def translate() -> None:
    """Translate it for all clients of this process. Call it before a loop of uvloop's is run."""
    AIOKafkaConnection.send = _send
    AIOKafkaConnection._send_sasl_token = _send_token


def _send(connection: Any, request: Any, expect_response: bool = True) -> Any:  # noqa: FBT001, FBT002 as in aiokafka
    try:
        return _SEND(connection, request, expect_response)
    except RuntimeError as error:
        if "closed" not in str(error):
            raise
        raise _broken(connection, error) from error


def _send_token(connection: Any, payload: bytes, expect_response: bool = True) -> Any:  # noqa: FBT001, FBT002
    try:
        return _SEND_TOKEN(connection, payload, expect_response)
    except RuntimeError as error:
        if "closed" not in str(error):
            raise
        raise _broken(connection, error) from error


def _broken(connection: Any, error: RuntimeError) -> KafkaConnectionError:
    connection.close(reason=CloseReason.CONNECTION_BROKEN)
    return KafkaConnectionError(f"Connection at {connection.host}:{connection.port} broken: {error}")
