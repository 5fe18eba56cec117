"""Logs of connectors: an event's name and fields, by the standard library's logging, which `app.observe` shapes."""

import logging
from typing import Any, Final

_LOG: Final = logging.getLogger("headgate.connectors")


def warn(event: str, **fields: Any) -> None:
    """Log a warning."""
    _LOG.warning(event, extra={"fields": fields})


def info(event: str, **fields: Any) -> None:
    """Log something that an operator wants to know although nothing is wrong."""
    _LOG.info(event, extra={"fields": fields})
