"""Scans a folder again and again, and tells what has settled. Events first, then the position, in one read."""

import asyncio
import errno
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AliasChoices, BeforeValidator, StringConstraints

from connectors.base import contract
from connectors.base.contract import Delivery, Item, Moved, NotConnected, Refused
from connectors.base.options import Field, Options, Seconds
from connectors.base.texts import durations
from connectors.file import events, folder, snapshot
from connectors.file.changes import Change, Changes, Kind
from connectors.file.events import Content
from connectors.file.folder import Changed, Replaced, Scan, Seen, TooMany
from connectors.file.hints import Hints
from connectors.file.selection import MOST_CHARS, MOST_PATTERNS, Selection
from connectors.file.snapshot import Known, TooLarge

EXAMPLE: Final[dict[str, Any]] = {"path": "/srv/inbox", "pattern": ["*.csv", "orders/**/*.json"], "settle": "2s"}
DELIVERY: Final = Delivery.EXACTLY_ONCE

STORE_EVERY: Final = 10_000
"""Events after which a scan that found many stores where it is."""
TOGETHER: Final = 100
"""Files that are read by one thread, one after the other."""
TOGETHER_BYTES: Final = 1024 * 1024
"""After so many bytes no further one is."""
BREATH_SECONDS: Final = 0.1
BREATHS: Final = 4.0
"""Between two scans there is at least so many times as long as a scan takes, however much is going on."""

_IGNORED: Final = (".*", "*~", "*.tmp", "*.temp", "*.part", "*.partial", "*.crdownload", "*.swp", "~$*")
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM})
_ABSENT: Final = frozenset({errno.ENOENT, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.EHOSTDOWN})


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Pattern = Annotated[str, StringConstraints(min_length=1, max_length=MOST_CHARS)]
Patterns = Annotated[tuple[Pattern, ...], BeforeValidator(_listed), Field(max_length=MOST_PATTERNS)]


class Config(Options):
    """The options of a `file` source."""

    path: str = Field(min_length=1, max_length=4096, description="The folder to watch, on this machine.")
    pattern: Patterns = Field(
        default=("*",),
        min_length=1,
        validation_alias=AliasChoices("pattern", "patterns"),
        description="Which files count, one pattern or a list: `*.csv` by name in any folder, `orders/**/*.json` by "
        "path. `*`, `?` and `[...]` match no slash, `**` any number of folders.",
    )
    ignore: Patterns = Field(
        default=_IGNORED,
        description="Files and folders that do not count, in the same form: hidden and temporary ones unless given.",
    )
    recursive: bool = Field(default=True, description="Whether files in the folders below count.")
    events: Annotated[frozenset[Kind], BeforeValidator(_listed)] = Field(
        default=frozenset(Kind), min_length=1, description="What becomes an event: `create`, `update`, `delete`."
    )
    interval: Seconds = Field(
        default=10.0,
        description="Longest pause between two scans of the folder; notifications of the system bring the next one "
        "forward. A scan that takes long is followed by a pause four times as long.",
    )
    settle: Annotated[float, BeforeValidator(durations.seconds)] = Field(
        default=2.0,
        ge=0,
        le=86_400,
        json_schema_extra={"format": "duration"},
        description="A file is told once its size and time of change stayed the same for so long, so that one being "
        "written is one event; one that is gone, once it stayed away as long.",
    )
    content: Content = Field(
        default=Content.NONE,
        description="What of the content is in the event: `none`, `text` (UTF-8), `base64`, or `json`, read. A file "
        "that is not of that form becomes a dead letter.",
    )
    max_content_bytes: int = Field(
        default=256 * 1024,
        ge=1,
        le=1024 * 1024,
        description="The content of larger files is left out; `content_omitted` says `too_large` then.",
    )
    emit_existing: bool = Field(
        default=False, description="Make events of the files that the first scan finds. Otherwise it only notes them."
    )
    notifications: bool = Field(
        default=True,
        description="Whether notifications of the system (inotify) are asked for. Network file systems have none.",
    )


class Source:
    """Exactly once for each state that a scan finds settled: what changes twice between two scans is one event."""

    def __init__(self, config: Config, site: contract.Site) -> None:
        self._config, self._site = config, site
        self._folder = str(Path(config.path).absolute())
        self._selection = Selection(patterns=config.pattern, ignore=config.ignore, recursive=config.recursive)
        self._has_said_nameless = False

    async def read(self) -> AsyncIterator[Item]:
        """Scan for ever. Raises NotConnected while the folder is not there, and Refused."""
        self._site.permit(self._folder)
        stored = await self._stored()
        changes = Changes(stored or self._nothing(), settle_seconds=self._config.settle)
        hints = Hints(self._folder, recursive=self._config.recursive, in_thread=self._site.in_thread)
        root: tuple[int, int] | None = None
        try:
            while True:
                began = self._site.monotonic()
                scan = await self._scan()
                self._check(scan, changes.known, root)
                has_moved = False
                if root is None:
                    root = scan.root
                    self._site.connected()
                    has_moved = self._begin(changes, scan, stored)
                    if self._config.notifications:
                        hints.start()
                found = await self._site.in_thread(changes.look, scan, self._site.monotonic())
                took_seconds = self._site.monotonic() - began  # what comes of it takes as long as Kafka likes
                if changes.known.unnamed and not scan.closed:
                    self._note("deleted_unnamed", changes.forget_unnamed())
                    has_moved = True
                number = 0
                for together in self._parts(found):
                    for change, raw in zip(together, await self._contents(together), strict=True):
                        number += 1
                        if isinstance(raw, Changed):
                            changes.again(change)
                            continue
                        changes.told(change)
                        has_moved = True
                        if change.kind in self._config.events:
                            yield self._item(change, raw)
                        if number % STORE_EVERY == 0:
                            yield await self._moved(changes.known)
                if has_moved:
                    yield await self._moved(changes.known)
                await self._rest(hints, changes.due(), took_seconds=took_seconds)
        finally:
            await hints.stop()

    # ---- one scan --------------------------------------------------------------------------------------------------

    async def _scan(self) -> Scan:
        who = self._who()
        try:
            found: Scan = await self._site.in_thread(self._scan_in_thread)
        except TooMany:
            message = f"{who} has more than {snapshot.MOST_FILES} files; narrow it with `pattern` or `path`"
            raise Refused(message, reason="too_many_files") from None
        except Replaced:
            raise NotConnected(f"{who} became another one during a scan", reason="replaced") from None
        except NotADirectoryError as error:
            raise Refused(f"{who} is no folder", reason="not_a_folder") from error
        except OSError as error:
            if error.errno in _FORBIDDEN:
                raise Refused(f"{who} may not be read by this process", reason="forbidden") from error
            if error.errno in _ABSENT:
                raise NotConnected(f"{who} is not there", reason="absent") from error
            raise NotConnected(f"{who} cannot be read: {error.strerror}", reason="unreadable") from error
        self._note("links_outside", found.links_outside)
        self._note("closed_folders", len(found.closed))
        return found

    def _scan_in_thread(self) -> Scan:
        return folder.scan(self._folder, self._selection, most_files=snapshot.MOST_FILES)

    def _check(self, scan: Scan, known: Known, root: tuple[int, int] | None) -> None:
        """Raise NotConnected when this is not the folder that is known, but what is left when a mount has gone."""
        remedy = "if that is meant, give the source a new id"
        if root is not None and scan.root != root:
            raise NotConnected(f"{self._who()} became another one", reason="replaced")
        if known.is_mount and not scan.is_mount:
            message = f"{self._who()} was a mounted file system and is none now; {remedy}"
            raise NotConnected(message, reason="unmounted")
        if known.inode is not None and known.inode != scan.root[1] and len(known) and not scan.files:
            message = f"{self._who()} is another one, and empty; {remedy}"
            raise NotConnected(message, reason="replaced")

    def _begin(self, changes: Changes, scan: Scan, stored: Known | None) -> bool:
        """Compare the first scan of a reading with how the source was set up before; say whether that has moved it."""
        known = changes.known
        before = (known.inode, known.is_mount, known.selection)
        known.inode, known.is_mount, known.selection = scan.root[1], scan.is_mount, self._selection
        if stored is None:
            if not self._config.emit_existing:
                changes.adopt(scan)
            return True
        if before[2].as_json() != self._selection.as_json():
            known.files = {path: state for path, state in known.files.items() if self._selection.holds(path)}
            if not self._config.emit_existing:
                changes.adopt(scan, only=lambda path: not before[2].holds(path))
            return True
        return before[:2] != (known.inode, known.is_mount)

    # ---- what comes of it ------------------------------------------------------------------------------------------

    def _parts(self, found: Sequence[Change]) -> Iterator[Sequence[Change]]:
        """Yield changes in parts whose contents are read together: a thread for each file costs more than the file."""
        begin = size = 0
        for at, change in enumerate(found):
            if at - begin == TOGETHER or size > TOGETHER_BYTES:
                yield found[begin:at]
                begin, size = at, 0
            size += 0 if (seen := self._to_read(change)) is None else seen.size
        yield found[begin:]

    def _to_read(self, change: Change) -> Seen | None:
        """Return the state of a file whose content is part of its event."""
        config, seen = self._config, change.seen
        if config.content is Content.NONE or change.kind not in config.events:
            return None
        return seen if seen is not None and seen.size <= config.max_content_bytes else None

    async def _contents(self, together: Sequence[Change]) -> Sequence[bytes | PermissionError | Changed | None]:
        """Return what is in each file, None for those that nobody reads, Changed for one that is not so any more."""
        if all(self._to_read(change) is None for change in together):
            return [None] * len(together)
        found: list[bytes | PermissionError | Changed | None]
        found = await self._site.in_thread(lambda: [self._content(change) for change in together])
        self._site.heard(sum(len(raw) for raw in found if isinstance(raw, bytes)))
        return found

    def _content(self, change: Change) -> bytes | PermissionError | Changed | None:
        if (seen := self._to_read(change)) is None:
            return None
        try:
            return folder.content(self._folder, change.path, seen, most_bytes=self._config.max_content_bytes)
        except (Changed, PermissionError) as error:
            return error

    def _item(self, change: Change, raw: bytes | PermissionError | None) -> Item:
        """Return the event of a change, with what is in the file, or why that is left out."""
        omitted = None
        if isinstance(raw, PermissionError):
            raw, omitted = None, "forbidden"
        elif raw is None and self._config.content is not Content.NONE and change.seen is not None:
            omitted = "too_large"
        return events.item(change, folder=self._folder, content=self._config.content, raw=raw, omitted=omitted)

    async def _moved(self, known: Known) -> Moved:
        try:
            position = await self._site.in_thread(snapshot.encode, known)
        except TooLarge as error:
            raise Refused(
                f"{self._who()}: {error}; narrow it with `pattern` or `path`", reason="too_many_files"
            ) from None
        if "names" not in position and not self._has_said_nameless:
            self._has_said_nameless = True
            self._site.say("file_names_do_not_fit", files=len(known))
        return Moved(position=position)

    async def _stored(self) -> Known | None:
        """Return what is known of this folder, None for nothing."""
        try:
            known: Known | None = await self._site.in_thread(snapshot.decode, self._site.position)
        except ValueError as error:
            message = f"the position of source {self._site.instance_id!r} cannot be read: {error}; give it a new id"
            raise Refused(message, reason="position") from error
        return known if known is not None and known.folder == snapshot.folder_of(self._folder) else None

    def _nothing(self) -> Known:
        return Known(folder=snapshot.folder_of(self._folder), selection=self._selection)

    async def _rest(self, hints: Hints, due: float | None, *, took_seconds: float) -> None:
        """Wait for the next scan: until the interval is over, something may have settled, or the system reports."""
        breath = max(BREATH_SECONDS, BREATHS * took_seconds)
        pause = self._config.interval if due is None else min(self._config.interval, due - self._site.monotonic())
        await self._site.sleep(breath)
        if pause <= breath:
            return
        waiting = [
            asyncio.ensure_future(self._site.sleep(pause - breath)),
            asyncio.ensure_future(hints.changed.wait()),
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()
            await asyncio.wait(waiting)
        hints.changed.clear()
        if hints.failed is not None:
            self._site.say("notifications_missing", reason=hints.failed)
            hints.failed = None

    def _note(self, what: str, count: int) -> None:
        if count:
            self._site.note(what, count)

    def _who(self) -> str:
        return f"source {self._site.instance_id!r}: the folder {events.shown_path(self._folder)!r}"
