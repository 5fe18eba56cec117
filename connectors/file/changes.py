"""What has changed in a folder between scans, once it has settled. Pure: scans and the time go in, changes come out.

A file has settled when its state stayed the same from one scan to another that is at least so much later; a file that
is gone, when it stayed away as long. So a file that is written slowly is one event, at its end, and one that is
replaced by way of deleting it is an update.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from connectors.file.folder import Scan, Seen
from connectors.file.snapshot import SHORT_BYTES, Known, name_of, state_of


class Kind(StrEnum):
    """What happened to a file: the types of the events."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A file that has settled in another state than the known one. `seen` is None for one that is gone."""

    kind: Kind
    path: str
    seen: Seen | None
    state: bytes
    """Digest of the state that it has, or of the last one that was known."""


class Changes:
    """Compares scans with what is known, which is what events have told: the caller says so with `told`."""

    def __init__(self, known: Known, *, settle_seconds: float) -> None:
        self.known = known
        self._settle_seconds = settle_seconds
        self._same: dict[str, Seen] = {}
        """States whose digests are the known ones: to make 100,000 digests would be the largest part of a look."""
        self._waiting: dict[str, tuple[Seen | None, float]] = {}
        """What differs from the known: its state, and since when it has that."""

    def adopt(self, scan: Scan, *, only: Callable[[str], bool] = lambda _: True) -> None:
        """Take new files as known, without events."""
        for path, seen in scan.files.items():
            if path not in self.known.files and only(path):
                self.known.files[path] = state_of(seen)

    def look(self, scan: Scan, now: float) -> list[Change]:
        """Return the changes that have settled, the oldest first. Those that are not `told` come again."""
        gone = sorted(self._gone(scan, now), key=lambda one: one.path)
        there = sorted(self._there(scan, now), key=lambda one: (one.seen and one.seen.mtime_ns, one.path))
        for path in [path for path, (seen, _) in self._waiting.items() if seen and path not in scan.files]:
            del self._waiting[path]
        return gone + there

    def told(self, change: Change) -> None:
        """Take a change as known: its event is on its way."""
        self._waiting.pop(change.path, None)
        if change.seen is None:
            self.known.files.pop(change.path, None)
            self._same.pop(change.path, None)
        else:
            self.known.files[change.path] = change.state
            self._same[change.path] = change.seen

    def again(self, change: Change) -> None:
        """Let a change settle anew: the file was not so any more when its content was read."""
        self._waiting.pop(change.path, None)

    def forget_unnamed(self) -> int:
        """Forget the files of which only digests are known; return how many there were."""
        count = sum(map(len, self.known.unnamed.values()))
        self.known.unnamed.clear()
        return count

    def due(self) -> float | None:
        """Return when the next of what differs may have settled, None when nothing differs."""
        since = min((since for _, since in self._waiting.values()), default=None)
        return None if since is None else since + self._settle_seconds

    def _there(self, scan: Scan, now: float) -> Iterator[Change]:
        for path, seen in scan.files.items():
            if self._same.get(path) == seen:
                self._waiting.pop(path, None)
                continue
            state = state_of(seen)
            before = self.known.files.get(path)
            if before is None and self.known.unnamed:
                before = self._named(path, state)
            if before == state:
                self._same[path] = seen
                self._waiting.pop(path, None)
            elif self._has_settled(path, seen, now):
                yield Change(kind=Kind.CREATE if before is None else Kind.UPDATE, path=path, seen=seen, state=state)

    def _gone(self, scan: Scan, now: float) -> Iterator[Change]:
        for path in self.known.files.keys() - scan.files.keys():
            if scan.closed and _is_below(path, scan.closed):
                self._waiting.pop(path, None)
            elif self._has_settled(path, None, now):
                yield Change(kind=Kind.DELETE, path=path, seen=None, state=self.known.files[path])

    def _has_settled(self, path: str, seen: Seen | None, now: float) -> bool:
        before, since = self._waiting.get(path, (seen, now))
        if before != seen:
            since = now
        self._waiting[path] = (seen, since)
        return now - since >= self._settle_seconds

    def _named(self, path: str, state: bytes) -> bytes | None:
        """Return the known state of a file of which a digest of the name is known, and know its name from now on."""
        name = name_of(path)
        states = self.known.unnamed.get(name)
        if not states:
            return None
        if state[:SHORT_BYTES] in states:
            states.remove(state[:SHORT_BYTES])
            self.known.files[path] = state
        else:
            self.known.files[path] = states.pop()
        return self.known.files[path]


def _is_below(path: str, folders: set[str]) -> bool:
    return any(letter == "/" and path[:at] in folders for at, letter in enumerate(path))
