"""RSS and Atom: has `connectors.rss.reader` read them in a process of its own, which is ended when it takes too long.

An ordinary feed takes 0.15 s to start that process and 0.7 s of it per MiB, measured; one made to hurt, for ever.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import orjson

from connectors.rss import reader
from connectors.rss.entries import Feed, Gathering, NotAFeed, Said

READ_SECONDS: Final = 30.0
AT_A_TIME: Final = 4
"""Processes that read feeds for this one: a fleet of feeds may all start at once."""
_MOST_TTL_MINUTES: Final = 366 * 24 * 60


class TakesTooLong(Exception):
    """Reading it was given up after READ_SECONDS."""


async def read(body: bytes, *, content_type: str) -> bytes:
    """Return what is in a feed, for `made`. Raises TakesTooLong, and NotAFeed for what nobody can read."""
    async with _slots(asyncio.get_running_loop()):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            str(Path(reader.__file__)),
            content_type.encode(errors="replace").replace(b"\0", b"").decode(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        try:
            async with asyncio.timeout(READ_SECONDS):
                answer, _ = await process.communicate(body)
        except TimeoutError:
            raise TakesTooLong from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode != 0:
        raise NotAFeed(f"what reads it ended with {process.returncode}")
    return answer


def made(answer: bytes, *, address: str) -> Feed:
    """Make a feed of what `read` returned. Raises NotAFeed."""
    found = orjson.loads(answer)
    if "error" in found:
        raise NotAFeed(f"feedparser fails with {found['error']}")
    if not found["version"]:
        raise NotAFeed("it is neither RSS nor Atom nor JSON Feed")
    gathering = Gathering(version=found["version"], address=address, title=found["title"], link=found["link"])
    for entry in found["entries"]:
        gathering.add(_said(entry))
    return gathering.feed(ttl_seconds=_ttl(found["ttl"]), broken=found["broken"])


@lru_cache(maxsize=4)
def _slots(loop: asyncio.AbstractEventLoop) -> asyncio.Semaphore:  # noqa: ARG001 one for each loop, so for a process
    return asyncio.Semaphore(AT_A_TIME)


def _said(entry: Mapping[str, Any]) -> Said:
    return Said(**{**entry, "published": _date(entry["published"]), "updated": _date(entry["updated"])})


def _date(parts: list[int] | None) -> datetime | None:
    """Return a date in UTC; None where it is none, such as a 30 February."""
    if parts is None:
        return None
    year, month, day, hour, minute, second = parts
    try:
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _ttl(text: Any) -> float | None:
    """Minutes, as RSS 2.0 has them."""
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > 9:
        return None
    return 60.0 * min(int(text), _MOST_TTL_MINUTES) or None
