"""Which source an event came from, and when it was read there: headers that connectors and webhooks write.

They tell metrics and people; nothing else follows from them, for any client can write them.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

PROVIDER: Final = "provider"
"""The kind of source, such as `rss`."""
INSTANCE: Final = "instance"
"""The id of the source."""
TYPE: Final = "type"
RECEIVED_AT: Final = "received_at"
"""Milliseconds since 1970 at which the event was read."""
SOURCE: Final = "headgate/sources/"
"""How the source (CloudEvents) of such an event begins; the id of the instance follows."""
_MOST_DIGITS: Final = 15


class Provenance(NamedTuple):
    """What an event's headers tell."""

    provider: str
    received_ms: int | None


def provenance_of(headers: Iterable[tuple[str, bytes | None]]) -> Provenance:
    """Return what headers tell; the provider is "" where none does."""
    provider, received_ms = "", None
    for name, raw in headers:
        if raw is None:
            continue
        if name == PROVIDER:
            provider = raw.decode(errors="replace")
        elif name == RECEIVED_AT and raw.isdigit() and len(raw) <= _MOST_DIGITS:
            received_ms = int(raw)
    return Provenance(provider, received_ms)
