"""Looks for a secret where others can read it: in the log, in what is raised, in what is emitted.

Called by `headgate.checking`, which gives a provider a config with a secret and says where it was found.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

LEVEL: Final = logging.INFO


class Secrecy(logging.Handler):
    """Notes the places in which a secret was; None: there is nothing to look for."""

    def __init__(self, secret: str | None) -> None:
        super().__init__(logging.NOTSET)
        self._secret = secret
        self.places: list[str] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear what is logged meanwhile, at LEVEL and above, and look at what is raised."""
        if self._secret is None:
            yield
            return
        root = logging.getLogger()
        level = root.level
        root.addHandler(self)
        root.setLevel(min(level, LEVEL))
        try:
            yield
        except Exception as error:
            self.look(f"the {type(error).__name__} that it raises", error)
            raise
        finally:
            root.setLevel(level)
            root.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a record of the log, its fields and its trace."""
        self.look(f"a record of the log {record.name!r}", (record.getMessage(), record.__dict__))

    def look(self, where: str, value: Any) -> None:
        """Note `where` if a value has the secret in it."""
        if self._secret is not None and (self._secret in str(value) or self._secret in repr(value)):
            self.places.append(where.replace(self._secret, "***"))
