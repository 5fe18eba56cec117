"""What commands print: tables for people, JSON for programs, colour and progress on terminals alone."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final

import click
import orjson


class Mark(Enum):
    """How one checked thing is, with its colour."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


COLOURS: Final = {
    "ok": "green", "warn": "yellow", "fail": "red",
    "completed": "green", "running": "cyan", "queued": "cyan", "retrying": "cyan", "waiting": "cyan",
    "connected": "green", "backing off": "yellow", "paused": "cyan", "starting": "cyan",
    "stuck": "red", "open": "cyan", "done": "green", "failed": "red", "rejected": "yellow", "cancelled": "yellow",
}  # fmt: skip
_WIDEST: Final = 60


def echo_json(value: object) -> None:
    """One JSON document on one line."""
    click.echo(_json(value, orjson.OPT_NON_STR_KEYS))


def pretty_json(value: object) -> str:
    """A JSON value over several lines, for people."""
    return _json(value, orjson.OPT_INDENT_2)


def _json(value: object, options: int = 0) -> str:
    """JSON without anything that a terminal would obey."""
    try:
        text = orjson.dumps(value, default=str, option=options).decode()
    except TypeError:  # it reads more levels than it writes
        return '"(nested too deeply to be shown)"'
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, widest: int | None = None) -> None:
    """Aligned columns. On a terminal, long cells are cut to `widest`; in a pipe they never are."""
    terminal = sys.stdout.isatty()
    limit = widest or _WIDEST
    cells = [[_cell(value, limit if terminal else None) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    click.secho(_line(columns, widths), bold=terminal)
    for row in cells:
        padded = [text.ljust(width) for text, width in zip(row[:-1], widths[:-1], strict=True)] + row[-1:]
        click.echo("  ".join(click.style(p, fg=COLOURS.get(t)) for p, t in zip(padded, row, strict=True)))


def _line(texts: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)).rstrip()


def _cell(value: object, limit: int | None) -> str:
    text = "-" if value is None else one_line(value)
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "…"


def one_line(value: object) -> str:
    """A value on one line: texts as they are, everything else as JSON."""
    return escaped(value if isinstance(value, str) else _json(value))


def escaped(text: str) -> str:
    """`text` without anything that a terminal would obey."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def fields(pairs: Mapping[str, object]) -> None:
    """Names and values, one a line."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        text = "-" if value is None else one_line(value)
        click.echo(f"{click.style(name.ljust(width), dim=True)}  {click.style(text, fg=COLOURS.get(text))}")


def note(text: str) -> None:
    """A word to people beside the output itself: on standard error."""
    click.secho(text, err=True, dim=True)


def warn(text: str) -> None:
    """Something that went wrong and did not stop the command: on standard error."""
    click.echo(f"{click.style('warning:', fg='yellow', bold=True)} {text}", err=True)


@contextmanager
def progress(label: str) -> Iterator[Callable[[int], Any]]:
    """Count on standard error while something takes its time; silent where nobody watches."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return

    def show(done: int) -> None:
        click.echo(f"\r{label}: {done:,} ", err=True, nl=False)

    try:
        yield show
    finally:
        click.echo("\r\x1b[K", err=True, nl=False)
