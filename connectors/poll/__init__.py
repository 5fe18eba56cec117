"""Polling: records of an HTTP API, or rows of a table (PostgreSQL, SQLite), each version of one an event once."""

from typing import Final

from connectors.poll.config import DELIVERY, EXAMPLE, Config
from connectors.poll.source import Source

EMITS: Final = """\
`record` (option `event_type`). The data is the record as the API has it, or an object of the row's columns. The key
is what identifies it."""

__all__ = ["DELIVERY", "EMITS", "EXAMPLE", "Config", "Source"]
