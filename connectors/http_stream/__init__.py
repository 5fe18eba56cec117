"""Event streams over HTTP (server-sent events, `text/event-stream`): each event of the stream, under its type."""

from typing import Final

from connectors.http_stream.source import DELIVERY, EXAMPLE, Config, Source

EMITS: Final = """\
the type that the stream says, else `message`. The data is what the stream says, as JSON where it is some, else as text
(option `data`)."""

__all__ = ["DELIVERY", "EMITS", "EXAMPLE", "Config", "Source"]
