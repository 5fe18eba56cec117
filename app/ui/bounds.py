"""What the read model keeps, and how the rest is dropped: what is over goes before what goes on, the oldest first.

A million runs may wait while results come and go: nothing here but counting looks at what stays.
"""

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.ui import schema

MOST_RUNS: Final = 100_000
"""Kept of runs that are over, and of facts about them; the oldest go first."""
MOST_GOING_ON: Final = 1_000_000
"""Kept of runs that go on, with their facts; the oldest go first. What waits, is stuck or to be tried again is kept
however old it is: it may be so for years, and is what people look for."""
MOST_FACTS_OF_RUN: Final = 10_000
"""Kept of one run: the newest, how it began, and what its open steps wait for."""
MOST_FACTS_READ: Final = 2 * MOST_GOING_ON
"""Of headgate.runs, when the file is new: a run that waits is told of twice at least."""
MOST_DEAD_LETTERS: Final = 10_000
MOST_AGE: Final = timedelta(days=7)
"""Of runs that are over, or run without a word; as long as headgate.results keeps them."""
MOST_BYTES: Final = 512 * 1024 * 1024
"""Of the file, as far as it is used, and GOING_ON_BYTES more for each run that goes on. Above it the oldest tenth of
what is over goes, again and again, and then of what goes on. It never gets smaller again, and SQLite's log comes on
top: the volume has room for both (helm/headgate)."""
GOING_ON_BYTES: Final = 2 * 1024
"""About what one that waits has of the file, with its facts and its places in the indexes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is kept."""

    runs: int = MOST_RUNS
    going_on: int = MOST_GOING_ON
    facts_of_run: int = MOST_FACTS_OF_RUN
    dead_letters: int = MOST_DEAD_LETTERS
    age: timedelta = MOST_AGE
    size_bytes: int = MOST_BYTES


USUAL: Final = Bounds()


class Trimming:
    """Of one file, by the connection that writes it."""

    def __init__(self, db: sqlite3.Connection, bounds: Bounds) -> None:
        self._db, self._bounds = db, bounds
        self._facts_looked_at = self._facts_heard = 0
        """Places in `fact`: up to the one, what is left belongs to runs that went on; up to the other, runs were looked
        at for how much is told of them."""

    def trim(self, now: datetime) -> None:
        """Drop what is too old or too much. Its work is with what is over and what is new."""
        bounds = self._bounds
        oldest = (now - bounds.age).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        with self._db as db:
            db.execute(schema.DROP_OLDER, (oldest,))
            db.execute(schema.DROP_SILENT, (oldest,))
            db.execute(schema.DROP_OVER, (bounds.runs,))
            db.execute(schema.DROP_OLDEST_GOING_ON, (max(0, self._count(schema.COUNT_GOING_ON) - bounds.going_on),))
            db.execute(schema.DROP_DEAD_LETTERS, (bounds.dead_letters,))
        self._trim_facts()
        while self.used_bytes() > bounds.size_bytes + GOING_ON_BYTES * self._count(schema.COUNT_GOING_ON):
            with self._db as db:
                if not self._drop_a_tenth():
                    return

    def _trim_facts(self) -> None:
        """Drop those of what is over but for the newest, and the oldest of a run of which too much is told.

        After a start all are looked at once: a few seconds for those of a million runs.
        """
        with self._db as db:
            newest = self._count("SELECT coalesce(max(seq), 0) FROM fact")
            until = max(0, newest - self._bounds.runs)
            db.execute(schema.DROP_FACTS, (min(self._facts_looked_at, until), until))
            most = self._bounds.facts_of_run
            for (run_id,) in db.execute(schema.TALKATIVE, (min(self._facts_heard, newest), most)).fetchall():
                db.execute(schema.DROP_FACTS_OF_RUN, {"run_id": run_id, "most": most})
            self._facts_looked_at, self._facts_heard = until, newest

    def _drop_a_tenth(self) -> int:
        """Drop the oldest of what is over; where nothing is, of what goes on. Return how much was dropped."""
        db = self._db
        letters = self._count("SELECT count(*) FROM dead_letter")
        dropped = db.execute(schema.DROP_DEAD_LETTERS, (letters - _tenth(letters),)).rowcount
        dropped += db.execute(schema.DROP_OLDEST_OVER, (_tenth(self._count(schema.COUNT_OVER)),)).rowcount
        if not dropped:  # what is told of runs of which nothing else is known
            dropped = db.execute(schema.DROP_FACTS, (0, self._count("SELECT coalesce(max(seq), 0) FROM fact"))).rowcount
        if not dropped:
            going_on = self._count(schema.COUNT_GOING_ON)
            dropped = db.execute(schema.DROP_OLDEST_GOING_ON, (_tenth(going_on),)).rowcount
        return dropped

    def used_bytes(self) -> int:
        """Return how much of the file is in use."""
        pages, free, size = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _count(self, query: str) -> int:
        return int(self._db.execute(query).fetchone()[0])


def _tenth(count: int) -> int:
    return (count + 9) // 10
