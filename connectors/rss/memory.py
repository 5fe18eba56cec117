"""What is known of a feed between two polls: its position, JSON. Ids are digests: 50,000 fit into 900,000 bytes.

An id stays as long as its entry is in the feed, and a while longer: feeds come from caches that disagree, and an entry
that is gone in one answer is back in the next. An answer without any entry says nothing, and prunes nothing.
"""

import base64
import binascii
import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from connectors.rss.address import Piece
from connectors.rss.entries import Entry

FORMAT: Final = 1
DIGEST_BYTES: Final = 12
"""Of 50,000 ids, two are the same by chance with a probability of 10^-20."""
KEPT_ABSENT: Final = 1_000
"""Ids that are kept although their entries have left the feed, the last to leave first."""
VALIDATOR_CHARS: Final = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is known of the feed at the URL that `tag` names. That there is one says that the first poll is over."""

    tag: str
    ids: tuple[bytes, ...] = ()
    """Digests: of the entries in the feed, sorted, then of those that have left it, the last to leave first."""
    etag: str | None = None
    last_modified: str | None = None
    moved: list[Piece] | None = None
    """Where it has moved to, as `connectors.rss.address` stores it."""

    def fresh(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return the entries that were not there before, in the same order."""
        known = frozenset(self.ids)
        return [one for one in entries if digest(one.id) not in known]

    def knows_any(self, entries: Iterable[Entry]) -> bool:
        known = frozenset(self.ids)
        return any(digest(one.id) in known for one in entries)

    def after(self, entries: Collection[Entry], *, left: Collection[Entry] = ()) -> "Memory":
        """Return what is known after an answer with these entries; those `left` are to be new at the next poll."""
        if not entries:
            return self
        present = {digest(one.id) for one in entries} - {digest(one.id) for one in left}
        absent = [one for one in self.ids if one not in present][:KEPT_ABSENT]
        return replace(self, ids=(*sorted(present), *absent))

    def position(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "format": FORMAT,
            "initialised": True,
            "feed": self.tag,
            "ids": base64.b64encode(b"".join(self.ids)).decode(),
            "etag": self.etag,
            "last_modified": self.last_modified,
            "moved": self.moved,
        }


def digest(entry_id: str) -> bytes:
    return hashlib.blake2b(entry_id.encode(errors="replace"), digest_size=DIGEST_BYTES).digest()


def validator(value: str | None) -> str | None:
    """Return an ETag or Last-Modified if it can be sent back byte for byte, None if it cannot."""
    if value is None or not value or len(value) > VALIDATOR_CHARS or not value.isascii() or not value.isprintable():
        return None
    return value


def read(position: Any) -> Memory | None:
    """Return what a position says, None for none. Raises ValueError for one that is none of ours."""
    match position:
        case None:
            return None
        case {"format": int(version), "initialised": True, "feed": str(tag), "ids": str(ids)} if version == FORMAT:
            pass
        case _:
            raise ValueError("it has not the fields of a feed's position")
    try:
        raw = base64.b64decode(ids, validate=True)
    except binascii.Error as error:
        raise ValueError("its ids are not base64") from error
    if len(raw) % DIGEST_BYTES:
        raise ValueError("its ids have a part of an id")
    etag, last_modified = position.get("etag"), position.get("last_modified")
    return Memory(
        tag=tag,
        ids=tuple(raw[at : at + DIGEST_BYTES] for at in range(0, len(raw), DIGEST_BYTES)),
        etag=validator(etag) if isinstance(etag, str) else None,
        last_modified=validator(last_modified) if isinstance(last_modified, str) else None,
        moved=position.get("moved"),
    )
