"""WebSockets of any service (RFC 6455): subscribe, read, keep alive; the connection is made anew by the frame.

Best effort: what is sent while nobody is connected is lost, unless the service repeats what is not acknowledged (option
`ack`: at-least-once) or goes on after a position that is sent back (option `resume`).

Modules: `config` has the options, `messages` and `places` what comes and what is sent, `inbox` the buffer, `liveness`
pings and silence, `source` the connection.
"""

from typing import Any, Final

from connectors.base.contract import Delivery
from connectors.websocket.config import Config
from connectors.websocket.source import Source

EXAMPLE: Final[dict[str, Any]] = {
    "url": "wss://stream.example.com/v1",
    "headers": {"X-Api-Key": "{{ env.STREAM_KEY }}"},
    "subscribe": [
        {"message": {"op": "subscribe", "channel": "trades"}, "answer": {"data.op": "subscribed"}, "timeout": "5s"}
    ],
    "id_pointer": "/id",
}
DELIVERY: Final = Delivery.BEST_EFFORT
EMITS: Final = """\
the message's `type`, else its `event`, else `message` (option `type_pointer`). The data is the message (option
`form`)."""
SENDS: Final = """\
the object itself as a JSON message; with `send_as: text` its member `text`, as it is. What the service answers is an
event like any other."""

__all__ = ["DELIVERY", "EMITS", "EXAMPLE", "SENDS", "Config", "Source"]
