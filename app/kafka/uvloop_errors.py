"""A connection that breaks as it is written to, told to aiokafka as it expects it.

asyncio raises OSError then, or nothing; uvloop raises RuntimeError once the transport is closed. aiokafka takes only
the first for a broken connection. The other one ended the task that asks for metadata, unheard, so that a client found
no new leader any more; and whoever closed the client got it.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_SEND = AIOKafkaConnection.send
_SEND_TOKEN = AIOKafkaConnection._send_sasl_token


def translate() -> None:
    """Translate it for all clients of this process. Call it before a loop of uvloop's is run."""
    AIOKafkaConnection.send = _translated(_SEND)
    AIOKafkaConnection._send_sasl_token = _translated(_SEND_TOKEN)


def _translated(write: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(write)
    def written(connection: Any, *given: Any, **named: Any) -> Any:
        try:
            return write(connection, *given, **named)
        except RuntimeError as error:
            if "closed" not in str(error):
                raise
            connection.close(reason=CloseReason.CONNECTION_BROKEN)
            where = f"{connection.host}:{connection.port}"
            raise KafkaConnectionError(f"Connection at {where} broken: {error}") from error

    return written
