"""Looks into a folder: everything in it at one time, and the content of one file.

No link is followed to a folder, and none to a file outside. Every step goes from an open folder to a name in it, with
O_NOFOLLOW, so that a folder that is replaced by a link meanwhile leads nowhere either. All of it blocks.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from connectors.file.selection import Selection

MOST_DEPTH: Final = 100
"""Folders in one another; an open file for each."""
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""It went, or became something else, while we looked."""
_LINKED: Final = frozenset({errno.ELOOP, errno.ENOTDIR})
"""A link that was not followed, to a file or to a folder."""


class Seen(NamedTuple):
    """The state of a file. A NamedTuple because 100,000 of them are made and compared at every scan."""

    inode: int
    mtime_ns: int
    size: int


class Replaced(Exception):
    """The folder at the path became another one while it was scanned."""


class TooMany(Exception):
    """There are more files than can be kept track of."""


class Changed(Exception):
    """A file is not as it was seen any more, or is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Everything in a folder. `root` is device and inode of the folder itself."""

    root: tuple[int, int]
    is_mount: bool
    files: dict[str, Seen] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    """Folders that could not be read: what is below them is unknown, not gone."""
    links_outside: int = 0


def scan(root: str, selection: Selection, *, most_files: int) -> Scan:
    """Return what is in a folder. Raises OSError for the folder itself, Replaced, and TooMany."""
    with _opened(root) as fd:
        looking = _Looking(root=root, selection=selection, most_files=most_files)
        looking.walk(fd, "", 0)
        here, above = os.fstat(fd), os.stat(os.pardir, dir_fd=fd)
    if not os.path.samestat(here, Path(root).stat()):
        raise Replaced
    return Scan(
        root=(here.st_dev, here.st_ino),
        is_mount=above.st_dev != here.st_dev,
        files=looking.files,
        closed=looking.closed,
        links_outside=looking.links_outside,
    )


def content(root: str, path: str, seen: Seen, *, most_bytes: int) -> bytes:
    """Return what is in a file that is as it was seen. Raises Changed, and PermissionError."""
    try:
        with _opened(root) as fd, _file(fd, root, path) as file:
            if state(os.fstat(file)) != seen:
                raise Changed(path)
            taken = b""
            while len(taken) <= most_bytes and (more := os.read(file, most_bytes + 1 - len(taken))):
                taken += more
            if state(os.fstat(file)) != seen:
                raise Changed(path)
            return taken
    except PermissionError:
        raise
    except OSError as error:
        raise Changed(path) from error


def state(status: os.stat_result) -> Seen | None:
    """Return the state of a regular file, None for anything else."""
    if not stat.S_ISREG(status.st_mode):
        return None
    return Seen(status.st_ino, status.st_mtime_ns, status.st_size)


@dataclass(slots=True, kw_only=True)
class _Looking:
    """One scan on its way."""

    root: str
    selection: Selection
    most_files: int
    files: dict[str, Seen] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    links_outside: int = 0

    def walk(self, fd: int, folder: str, depth: int) -> None:
        """Look into an open folder, and those below it; `folder` ends with a slash unless it is the root."""
        below: list[str] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                path = folder + entry.name
                if entry.is_symlink():
                    self._link(fd, path, entry.name)
                elif entry.is_dir(follow_symlinks=False):
                    if self.selection.enters(path):
                        below.append(entry.name)
                elif self.selection.takes(path):
                    self._add(path, _status(entry))
        for name in below:
            self._enter(fd, folder + name, name, depth + 1)

    def _enter(self, fd: int, path: str, name: str, depth: int) -> None:
        if depth > MOST_DEPTH:
            self.closed.add(path)
            return
        try:
            inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                self.closed.add(path)
            return
        try:
            self.walk(inner, f"{path}/", depth)
        except OSError:
            self.closed.add(path)
        finally:
            os.close(inner)

    def _link(self, fd: int, path: str, name: str) -> None:
        """Take a link to a file inside: ConfigMaps of Kubernetes are made of them."""
        if not self.selection.takes(path):
            return
        try:
            status = os.stat(name, dir_fd=fd)
        except OSError:
            return
        if not stat.S_ISREG(status.st_mode):
            return
        if _inside(os.path.realpath(self.root), path) is None:
            self.links_outside += 1
        else:
            self._add(path, status)

    def _add(self, path: str, status: os.stat_result | None) -> None:
        seen = None if status is None else state(status)
        if seen is None:
            return
        if len(self.files) >= self.most_files:
            raise TooMany
        self.files[path] = seen


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None


def _inside(real_root: str, path: str) -> str | None:
    """Return where a path really leads, from the folder on; None when that is outside."""
    real = Path(os.path.realpath(Path(real_root, path)))  # not resolve(), which raises for links in a circle
    return str(real.relative_to(real_root)) if real.is_relative_to(real_root) else None


@contextmanager
def _opened(folder: str) -> Iterator[int]:
    fd = os.open(folder, _FOLDER)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _file(fd: int, root: str, path: str) -> Iterator[int]:
    """Open a file below an open folder, step by step; where a link stands in the way, by way of where it leads."""
    opened: list[int] = []
    try:
        try:
            _down(fd, path, opened)
        except OSError as error:
            if error.errno not in _LINKED:
                raise
            real = _inside(os.path.realpath(root), path)
            if real is None:
                raise Changed(path) from error
            _down(fd, real, opened)
        yield opened[-1]
    finally:
        for one in opened:
            os.close(one)


def _down(fd: int, path: str, opened: list[int]) -> None:
    """Open each folder on a path and the file at its end, through no link and never up; note what is open."""
    *folders, name = path.split("/")
    if os.pardir in (*folders, name):
        raise Changed(path)
    for one in folders:
        fd = os.open(one, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
        opened.append(fd)
    opened.append(os.open(name, _FILE, dir_fd=fd))
