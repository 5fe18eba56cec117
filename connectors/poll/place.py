"""Where a database is, by its URL. Of libpq's many parameters only `sslmode` is taken: others name files and hosts."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import unquote, urlsplit


class Tls(StrEnum):
    """How a connection to PostgreSQL is encrypted, in libpq's words."""

    DISABLE = "disable"
    PREFER = "prefer"
    """Encrypted if the server can, and nobody's certificate is looked at."""
    REQUIRE = "require"
    """Encrypted, and nobody's certificate is looked at."""
    VERIFY_FULL = "verify-full"
    """Encrypted, and the certificate is trusted and has the name of the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a database is: a host, or a file."""

    host: str = ""
    port: int = 5432
    user: str = ""
    password: str = field(default="", repr=False)
    name: str = ""
    tls: Tls = Tls.PREFER
    file: str | None = None


def place_of(database: str) -> Place:
    """Read the URL of a database. Raises ValueError, without showing it: it has a password."""
    try:
        parts = urlsplit(database)
        port = parts.port or 5432
        query = dict(pair.partition("=")[::2] for pair in parts.query.split("&") if pair)
    except ValueError:
        raise ValueError("the database has no readable URL") from None
    if parts.scheme == "sqlite":
        path = unquote(parts.path)
        if parts.netloc or parts.query or not re.fullmatch(r"/[^\x00]+", path):
            raise ValueError("a SQLite database is sqlite:///absolute/path, without anything after it")
        return Place(file=f"/{path.lstrip('/')}")  # four slashes are written as well: of an absolute path behind three
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError("a database is postgresql://… or sqlite:///…")
    name = unquote(parts.path.removeprefix("/"))
    unknown = sorted(set(query) - {"sslmode"})
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not taken in the URL of a database; there is sslmode alone")
    try:
        tls = Tls(query.get("sslmode", "prefer"))
    except ValueError:
        raise ValueError(f"sslmode is one of {', '.join(Tls)}") from None
    if not parts.hostname or not parts.username or not name or "\0" in name:
        raise ValueError("the URL of a database names user, host and database")
    return Place(
        host=parts.hostname,
        port=port,
        user=unquote(parts.username),
        password=unquote(parts.password or ""),
        name=name,
        tls=tls,
    )
