"""Logging: an event name and fields, as text on terminals and JSON elsewhere, and never a secret.

    log = logs.get(__name__)
    log.info("claim_appended", partition=3, term=1712)

The process calls `configure` once, on top; libraries that log through `logging` come out in the same form.
"""

import json
import logging
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Literal, TextIO

import orjson

ExcInfo = BaseException | tuple[type[BaseException], BaseException, TracebackType | None] | bool | None
HIDDEN: Final = "**********"
# A field so named is never shown, whatever it holds; the values given to `configure` are struck out everywhere.
SECRET_FIELDS: Final = frozenset({"token", "password", "sasl_password", "secret", "authorization", "api_key"})
_COLOURS: Final = {"debug": "\x1b[2m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31;1m"}
_RESET: Final = "\x1b[0m"
REPEAT_SECONDS: Final = 10.0
"""How often the Kafka client may repeat itself: with its broker away, each connection complains ten times a second."""
_REBALANCING: Final = "Heartbeat failed for group %s because it is rebalancing"
_NOISE: Final = ("aiokafka", "faust", "mode", "kafka", "uvicorn.access", "asyncio")


class Log:
    """Writes events with fields to the logger of one module. What goes well is `debug`."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, /, **fields: object) -> None:
        """What went as it should."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """What an operator wants to find later: started, claimed, stopped."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """What is not as it should be, and goes on."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, /, *, exc_info: ExcInfo = None, **fields: object) -> None:
        """What does not go on."""
        self._write(logging.ERROR, event, fields, exc_info)

    def _write(self, level: int, event: str, fields: Mapping[str, object], exc_info: ExcInfo = None) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={"fields": fields}, exc_info=exc_info, stacklevel=3)


def get(name: str) -> Log:
    """The log of a module; `name` is its `__name__`."""
    return Log(logging.getLogger(name))


def configure(
    *,
    level: str = "info",
    form: Literal["auto", "text", "json"] = "auto",
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
) -> None:
    """Send all logs of the process to `stream` (standard error by default), once and in one form."""
    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    text = form == "text" or (form == "auto" and terminal)
    handler = logging.StreamHandler(stream)
    handler.addFilter(Seldom())
    handler.setFormatter(TextFormatter(secrets, colour=terminal) if text else JsonFormatter(secrets))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in _NOISE:  # their info is chatter; a debug level asked for is meant for everything
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)


class Seldom(logging.Filter):
    """Lets each message of the Kafka client through once in REPEAT_SECONDS, and all other records always.

    What it warns of whenever a process joins or leaves a group is no reason to look at anything: it is left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("aiokafka") or record.levelno < logging.INFO:
            return True
        if record.msg == _REBALANCING and record.levelno == logging.WARNING:
            return False
        place = (record.pathname, record.lineno)
        if record.created - self._last.get(place, 0.0) < REPEAT_SECONDS:
            return False
        self._last[place] = record.created
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object per line: at, level, event, logger, then the fields."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets = tuple(secrets)

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": _time(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _strike_out(orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode(), self._secrets)


class TextFormatter(logging.Formatter):
    """`12:30:01.250 warning clock_differs worker=a seconds=1.4`, for people."""

    def __init__(self, secrets: Iterable[str] = (), *, colour: bool = False) -> None:
        super().__init__()
        self._secrets = tuple(secrets)
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        fields = "".join(f" {name}={_shown(value)}" for name, value in _fields(record).items())
        line = f"{_time(record)[11:23]} {level:<7} {record.getMessage()}{fields}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        line = _strike_out(line, self._secrets)
        return f"{_COLOURS[level]}{line}{_RESET}" if self._colour and level in _COLOURS else line


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: Mapping[str, object] = getattr(record, "fields", {})
    return {name: HIDDEN if name.lower() in SECRET_FIELDS else value for name, value in fields.items()}


def _shown(value: object) -> str:
    """Values of one word as they are, others quoted, so that a line stays one line and nothing in it is obeyed by a
    terminal; lists without their brackets.
    """
    text = ",".join(map(str, value)) or "-" if isinstance(value, list | tuple) else str(value)
    if text.isprintable():
        return text if text and not set(text) & set(' "=') else orjson.dumps(text).decode()
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in json.dumps(text, ensure_ascii=False))


def _strike_out(line: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        if len(secret) >= 4:  # shorter ones would strike out ordinary words
            line = line.replace(secret, HIDDEN)
    return line
