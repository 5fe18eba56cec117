"""Event streams over HTTP (server-sent events, `text/event-stream`): each event of the stream, under its type."""

from connectors.http_stream.source import DELIVERY, EXAMPLE, Config, Source

__all__ = ["DELIVERY", "EXAMPLE", "Config", "Source"]
