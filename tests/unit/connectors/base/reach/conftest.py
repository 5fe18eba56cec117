"""The fixture of an HTTP client that may reach this machine."""

from tests.unit.connectors.base.reach.talking import http

__all__ = ["http"]
