"""Polling: records of an HTTP API, or rows of a table (PostgreSQL, SQLite), each version of one an event once."""

from connectors.poll.config import DELIVERY, EXAMPLE, Config
from connectors.poll.source import Source

__all__ = ["DELIVERY", "EXAMPLE", "Config", "Source"]
