"""The read model's file: locked by one process, opened, and made anew when it is of another version or broken."""

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Final

from app.observe import logs
from app.ui import schema

LOG_BYTES: Final = 16 * 1024 * 1024
"""Of SQLite's log beside the file, when it is not in use."""
BUSY_SECONDS: Final = 10.0

log = logs.get(__name__)


class ReadModelInUse(Exception):
    """Two processes would write one file."""

    exit_code: Final = 2

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"The read model {path} is in use by another process. Give each gateway a file of its own in "
            "gateway.read_model, or leave the setting out for a temporary one."
        )
        self.path = path


def locked(path: Path) -> int:
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ReadModelInUse(path) from None
    return lock


def connected(path: Path) -> sqlite3.Connection:
    # Each connection belongs to one thread of the pool; SQLite itself is told so to keep its own check out of the way.
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
    db.text_factory = _text
    return db


def _text(raw: bytes) -> str:
    """JSON may hold half of a surrogate pair; as a text of SQLite that is no UTF-8."""
    return raw.decode(errors="replace")


def opened(path: Path) -> sqlite3.Connection:
    """Return the connection that writes. A file of another version, or one that is broken, is made anew."""
    db = connected(path)
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == schema.VERSION and db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",):
            _tuned(db)
            return db
        reason = f"its tables have version {version}, not {schema.VERSION}" if version else "it is new"
    except sqlite3.DatabaseError as error:
        reason = str(error)
    db.close()
    log.info("read_model_created", path=str(path), reason=reason)
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    db = connected(path)
    _tuned(db)
    with db:
        db.executescript(f"{schema.TABLES}; PRAGMA user_version = {schema.VERSION};")
    return db


def _tuned(db: sqlite3.Connection) -> None:
    # What a crash of the machine loses is read from Kafka again; a torn file fails the check above and is made anew.
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
    db.execute("PRAGMA synchronous = OFF")
