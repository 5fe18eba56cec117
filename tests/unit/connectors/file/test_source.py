"""A real folder that is scanned: what becomes an event, what survives a restart, and a folder that is not there."""

import base64
import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from connectors.base.contract import Moved, NotConnected, Received, Refused, Unreadable
from connectors.file import EXAMPLE, Config, Source, folder, snapshot, source
from connectors.file.hints import Hints
from tests.unit.connectors.standing import Reading, StandIn, reading

MANY = 100_000
SETTLE = 2.0


class Watching(StandIn):
    """A site at which something may happen at each sleep, for as long as there is something left to happen."""

    def __init__(self, position: Any = None, **more: Any) -> None:
        super().__init__(position=position, **more)
        self.happening: Iterator[Callable[[], object]] = iter(())

    async def sleep(self, seconds: float) -> None:
        next(self.happening, lambda: None)()
        await super().sleep(seconds)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    made.mkdir()
    return made


def put(path: Path, text: str | bytes = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def away(root: Path) -> Path:
    return root.rename(root.with_name("away"))


def empty(root: Path) -> None:
    root.mkdir()


def back(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    root.with_name("away").rename(root)


def mount(root: Path) -> bool:
    return subprocess.run(["mount", "-t", "tmpfs", "none", root], capture_output=True, check=False).returncode == 0


def unmount(root: Path) -> None:
    subprocess.run(["umount", root], capture_output=True, check=False)


def config(root: Path, **options: Any) -> Config:
    return Config.model_validate({"path": str(root), "settle": SETTLE, "notifications": False, **options})


@asynccontextmanager
async def watching(root: Path, site: StandIn, **options: Any) -> AsyncIterator[Reading]:
    async with reading(Source(config(root, **options), site), site) as one:
        yield one


@asynccontextmanager
async def begun(root: Path, site: StandIn, **options: Any) -> AsyncIterator[Reading]:
    """Watching, and the first scan is over."""
    async with watching(root, site, **options) as one:
        assert isinstance(await one.next(), Moved)
        yield one


async def events(one: Reading, count: int) -> list[tuple[str, str]]:
    found = [await one.event() for _ in range(count)]
    return [(event.event_type, event.data["path"]) for event in found]


async def nothing_but(one: Reading, root: Path, name: str = "sentinel") -> None:
    """The next event is that of a file that is put there now."""
    put(root / name)
    assert await events(one, 1) == [("create", name)]


# ---- what becomes an event -----------------------------------------------------------------------------------------


async def test_the_first_scan_notes_what_is_there_and_later_ones_tell_what_changes(root: Path) -> None:
    put(root / "old")
    site = Watching()
    async with begun(root, site) as one:
        assert site.connections == 1
        put(root / "x/new")
        assert await events(one, 1) == [("create", "x/new")]
        put(root / "old", "longer")
        assert await events(one, 1) == [("update", "old")]
        (root / "old").unlink()
        assert await events(one, 1) == [("delete", "old")]
        await nothing_but(one, root)


async def test_existing_files_are_told_where_that_is_asked_for(root: Path) -> None:
    put(root / "a")
    site = Watching()
    async with begun(root, site, emit_existing=True) as one:
        assert await events(one, 1) == [("create", "a")]
        assert isinstance(await one.next(), Moved)
    async with watching(root, Watching(site.position), emit_existing=True) as one:
        await nothing_but(one, root)


async def test_only_the_events_that_are_asked_for_are_told(root: Path) -> None:
    put(root / "a")
    async with begun(root, Watching(), events="delete") as one:
        put(root / "a", "changed")
        put(root / "b")
        assert isinstance(await one.next(), Moved)
        (root / "b").unlink()
        assert await events(one, 1) == [("delete", "b")]


async def test_only_files_that_are_taken_count(root: Path) -> None:
    async with begun(root, Watching(), patterns=["*.csv", "x/*.json"], ignore=["old"]) as one:
        for path in ("a.txt", "old/a.csv", "a.json"):
            put(root / path)
        put(root / "x/a.json")
        assert await events(one, 1) == [("create", "x/a.json")]
        await nothing_but(one, root, "y.csv")


async def test_hidden_and_temporary_files_do_not_count_by_default(root: Path) -> None:
    async with begun(root, Watching()) as one:
        for path in (".a", ".git/a", "a~", "a.tmp", "a.part", "~$a.doc", "a.swp"):
            put(root / path)
        await nothing_but(one, root)


async def test_a_slow_writer_makes_one_event_at_its_end(root: Path) -> None:
    site = Watching()
    async with begun(root, site) as one:
        path = put(root / "a", "")

        def write() -> None:
            with path.open("a") as file:
                file.write("x")

        site.happening = iter([write] * 50)
        event = await one.event()
        assert (event.data["path"], event.data["size_bytes"]) == ("a", 50)
        await nothing_but(one, root)


async def test_a_file_that_is_replaced_is_one_update(root: Path) -> None:
    put(root / "a", "old")
    site = Watching()
    async with begun(root, site) as one:
        site.happening = iter([(root / "a").unlink, lambda: put(root / "a", "new")])
        assert await events(one, 1) == [("update", "a")]

        put(root / "b.part", "newer").rename(root / "a")
        assert await events(one, 1) == [("update", "a")]
        await nothing_but(one, root)


async def test_without_settling_everything_is_told_at_once(root: Path) -> None:
    site = Watching()
    async with begun(root, site, settle="0") as one:
        put(root / "a")
        await events(one, 1)
        assert sum(site.slept) <= 2 * 10.0


# ---- restarts ------------------------------------------------------------------------------------------------------


async def test_what_happened_meanwhile_is_told_after_a_restart(root: Path) -> None:
    for name in ("same", "changed", "gone"):
        put(root / name)
    site = Watching()
    async with begun(root, site):
        pass
    put(root / "changed", "more")
    put(root / "new")
    (root / "gone").unlink()

    async with watching(root, Watching(orjson.loads(orjson.dumps(site.position)))) as one:
        assert await events(one, 3) == [("delete", "gone"), ("update", "changed"), ("create", "new")]
        await nothing_but(one, root)


async def test_a_crash_between_events_and_position_repeats_them_under_their_ids(root: Path) -> None:
    put(root / "gone")
    site = Watching()
    async with begun(root, site) as one:
        stored = site.position
        put(root / "new")
        (root / "gone").unlink()
        first = [(await one.event()).id for _ in range(2)]

    async with watching(root, Watching(stored)) as one:
        assert [(await one.event()).id for _ in range(2)] == first
        await nothing_but(one, root)


async def test_a_long_run_of_events_stores_where_it_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "STORE_EVERY", 2)
    for name in "abcde":
        put(root / name)
    site = Watching()
    async with begun(root, site, emit_existing=True) as one:
        kinds = [type(await one.next()) for _ in range(8)]
        assert kinds == [Received, Received, Moved, Received, Received, Moved, Received, Moved]
        assert len(one.taken) == 9


async def test_a_position_that_cannot_be_read_is_refused(root: Path) -> None:
    async with watching(root, Watching({"format": 99})) as one:
        with pytest.raises(Refused, match="'src' cannot be read"):
            await one.next()


async def test_another_folder_begins_anew(root: Path, tmp_path: Path) -> None:
    put(root / "a")
    site = Watching()
    async with begun(root, site):
        pass
    put(tmp_path / "other/b")
    async with begun(tmp_path / "other", site) as one:
        await nothing_but(one, tmp_path / "other")


async def test_other_patterns_make_no_events_of_what_was_there(root: Path) -> None:
    for name in ("a.csv", "gone.csv", "a.json"):
        put(root / name)
    site = Watching()
    async with begun(root, site, pattern="*.csv"):
        pass
    (root / "gone.csv").unlink()
    put(root / "new.csv")
    async with begun(root, site, pattern=["a.*", "*.json", "new*"]) as one:
        assert await events(one, 1) == [("create", "new.csv")]
        (root / "a.json").unlink()
        assert await events(one, 1) == [("delete", "a.json")]
        await nothing_but(one, root, "b.json")


async def test_files_whose_names_did_not_fit_are_known_after_a_restart(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number}{base64.urlsafe_b64encode(os.urandom(150)).decode()}" for number in range(4)]
    for name in names:
        put(root / name)
    encode = snapshot.encode
    monkeypatch.setattr(snapshot, "encode", lambda known: encode(known, most_bytes=900))
    site = Watching()
    async with begun(root, site):
        assert [name for name, _ in site.said] == ["file_names_do_not_fit"]
    (root / names[0]).unlink()
    put(root / names[1], "changed")

    site = Watching(site.position)
    async with watching(root, site) as one:
        assert isinstance(await one.next(), Moved)
        assert site.notes == {"deleted_unnamed": 1}
        assert await events(one, 1) == [("update", names[1])]
        (root / names[2]).unlink()
        assert await events(one, 1) == [("delete", names[2])]
        await nothing_but(one, root)


# ---- a folder that is not there ------------------------------------------------------------------------------------


async def test_a_folder_that_is_not_there_is_waited_for(root: Path) -> None:
    put(root / "a")
    site = Watching()
    async with begun(root, site) as one:
        away(root)
        with pytest.raises(NotConnected) as error:
            await one.next()
        assert error.value.reason == "absent"
    async with watching(root, site) as one:
        with pytest.raises(NotConnected):
            await one.next()
        assert site.connections == 1

    back(root)
    async with watching(root, site) as one:
        await nothing_but(one, root)


async def test_an_empty_folder_in_its_place_makes_nobody_think_that_all_is_gone(root: Path) -> None:
    put(root / "a")
    site = Watching()
    async with begun(root, site) as one:
        away(root)
        empty(root)
        for _ in range(2):
            with pytest.raises(NotConnected, match="another one") as error:
                await one.next()
            assert error.value.reason == "replaced"
            one = Reading(Source(config(root), site), site)
        await one.close()

    back(root)
    async with watching(root, site) as one:
        await nothing_but(one, root)


async def test_another_folder_in_its_place_with_other_files_is_the_truth(root: Path) -> None:
    put(root / "a")
    site = Watching()
    async with begun(root, site):
        pass
    away(root)
    put(root / "b")
    async with begun(root, site) as one:
        assert await events(one, 2) == [("delete", "a"), ("create", "b")]


async def test_a_folder_that_was_emptied_is_empty(root: Path) -> None:
    put(root / "a")
    async with begun(root, Watching()) as one:
        (root / "a").unlink()
        assert await events(one, 1) == [("delete", "a")]


async def test_a_mount_that_is_gone_deletes_nothing_whatever_lies_below_it(root: Path) -> None:
    put(root / "stray")
    if not mount(root):
        pytest.skip("nothing may be mounted here")
    site = Watching()
    try:
        put(root / "a")
        async with begun(root, site) as one:
            unmount(root)
            with pytest.raises(NotConnected) as first:
                await one.next()
    finally:
        unmount(root)
    async with watching(root, site) as one:
        with pytest.raises(NotConnected) as second:
            await one.next()

    assert (first.value.reason, second.value.reason) == ("replaced", "unmounted")


@pytest.mark.parametrize(
    ("number", "error", "reason"),
    [
        ("EACCES", Refused, "forbidden"),
        ("ENOTDIR", Refused, "not_a_folder"),
        ("ESTALE", NotConnected, "absent"),
        ("EIO", NotConnected, "unreadable"),
    ],
)
async def test_what_the_system_says_decides_who_has_to_act(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: str, error: type[Refused | NotConnected], reason: str
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(getattr(errno, number), number)

    monkeypatch.setattr(folder, "scan", refused)
    async with watching(root, Watching()) as one:
        with pytest.raises(error) as raised:
            await one.next()
        assert getattr(raised.value, "reason", None) == reason


async def test_too_many_files_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        put(root / name)
    monkeypatch.setattr(snapshot, "MOST_FILES", 2)
    async with watching(root, Watching()) as one:
        with pytest.raises(Refused, match="more than 2 files"):
            await one.next()

    monkeypatch.setattr(snapshot, "MOST_FILES", 9)
    encode = snapshot.encode
    monkeypatch.setattr(snapshot, "encode", lambda known: encode(known, most_bytes=9))
    async with watching(root, Watching()) as one:
        with pytest.raises(Refused, match="3 files are more than a position"):
            await one.next()


# ---- content -------------------------------------------------------------------------------------------------------


async def test_the_content_of_a_file_is_in_its_event(root: Path) -> None:
    site = Watching()
    async with begun(root, site, content="json") as one:
        put(root / "a.json", b'{"n": 1}')
        event = await one.event()
        assert event.data["content"] == {"n": 1}
        assert site.heard_bytes == 8

        put(root / "b.json", b"{")
        assert isinstance(await one.next(), Moved)
        letter = await one.next()
        assert isinstance(letter, Unreadable)
        assert letter.raw == b"{"
        assert isinstance(await one.next(), Moved)


async def test_content_that_is_too_large_or_forbidden_is_left_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with begun(root, Watching(), content="text", max_content_bytes=5) as one:
        put(root / "a", "123456")
        event = await one.event()
        assert (event.data["content"], event.data["content_omitted"]) == (None, "too_large")

        def forbidden(*_: object, **__: object) -> None:
            raise PermissionError

        monkeypatch.setattr(folder, "content", forbidden)
        put(root / "b", "12345")
        event = await one.event()
        assert (event.data["content"], event.data["content_omitted"]) == (None, "forbidden")


async def test_a_file_that_changes_before_it_is_read_is_told_as_it_becomes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = folder.content
    changing = iter([lambda: put(root / "a", "newer")])

    def content(*arguments: Any, **more: Any) -> bytes:
        next(changing, lambda: None)()
        return read(*arguments, **more)

    monkeypatch.setattr(folder, "content", content)
    async with begun(root, Watching(), content="text") as one:
        put(root / "a", "new")
        event = await one.event()
        assert (event.data["content"], event.data["size_bytes"]) == ("newer", 5)
        await nothing_but(one, root)


async def test_a_file_that_never_is_as_it_was_seen_settles_anew_each_time(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = folder.content
    failing = iter([folder.Changed] * 5)

    def content(*arguments: Any, **more: Any) -> bytes:
        for error in failing:
            raise error
        return read(*arguments, **more)

    monkeypatch.setattr(folder, "content", content)
    site = Watching()
    async with begun(root, site, content="text", interval="1s") as one:
        put(root / "a")
        await events(one, 1)

    assert site.monotonic() >= 6 * SETTLE


async def test_what_is_not_looked_at_is_counted(root: Path, tmp_path: Path) -> None:
    (root / "link").symlink_to(put(tmp_path / "outside"))
    site = Watching()
    async with begun(root, site):
        pass

    assert site.notes == {"links_outside": 1}


# ---- when it scans -------------------------------------------------------------------------------------------------


async def test_a_quiet_folder_is_scanned_once_an_interval(root: Path) -> None:
    site = Watching()
    async with begun(root, site, interval="1m", settle="1s") as one:
        site.happening = iter([lambda: None] * 5 + [lambda: put(root / "a")])
        await events(one, 1)

    assert [round(seconds, 6) for seconds in site.slept] == [0.1, 59.9, 0.1, 59.9, 0.1, 59.9, 0.1, 0.9]


async def test_a_scan_that_takes_long_is_followed_by_a_long_pause(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Watching()
    scan = folder.scan

    def slow(*arguments: Any, **more: Any) -> folder.Scan:
        site.advance(5.0)
        return scan(*arguments, **more)

    monkeypatch.setattr(folder, "scan", slow)
    put(root / "a")
    async with begun(root, site, emit_existing=True) as one:
        await events(one, 1)

    assert site.slept == [20.0]


async def test_notifications_bring_the_next_scan_forward(root: Path) -> None:
    site = Watching(real_time=True)
    async with begun(root, site, interval="1h", settle="0", notifications=True) as one:
        (root / "x/y").mkdir(parents=True)
        put(root / "x/y/a.part").rename(root / "x/y/a")
        assert await events(one, 1) == [("create", "x/y/a")]


async def test_a_notification_brings_one_scan_forward_and_no_more(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun_hints: list[Hints] = []

    def start(self: Hints) -> None:
        begun_hints.append(self)
        self.changed.set()

    monkeypatch.setattr(Hints, "start", start)
    async with begun(root, Watching(), notifications=True) as one:
        await nothing_but(one, root)

    assert [hints.changed.is_set() for hints in begun_hints] == [False]


async def test_notifications_that_fail_are_said_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: Hints) -> None:
        self.failed = "no inotify here"

    monkeypatch.setattr(Hints, "start", start)
    site = Watching()
    async with begun(root, site, notifications=True) as one:
        await nothing_but(one, root)

    assert site.said == [("notifications_missing", {"reason": "no inotify here"})]


# ---- many files ----------------------------------------------------------------------------------------------------


@pytest.fixture
def many() -> Iterator[Path]:
    """A folder with 100,000 files, in memory where there is such a place: on a disk, to make them takes longest."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        for number in range(MANY):
            if number % 1000 == 0:
                Path(name, f"{number // 1000:03}").mkdir()
            os.close(os.open(f"{name}/{number // 1000:03}/order-{number:06}.json", os.O_CREAT | os.O_WRONLY))
        yield Path(name)


async def test_a_hundred_thousand_files_are_kept_track_of(many: Path) -> None:
    site = Watching()
    async with begun(many, site):
        assert len(orjson.dumps(site.position)) < 900_000
        assert site.position["count"] == MANY
    (many / "042/order-042042.json").unlink()
    put(many / "007/order-007007.json")
    put(many / "new")

    async with watching(many, Watching(site.position)) as one:
        assert await events(one, 3) == [
            ("delete", "042/order-042042.json"), ("update", "007/order-007007.json"), ("create", "new"),
        ]  # fmt: skip


# ---- options -------------------------------------------------------------------------------------------------------


def test_the_example_is_valid_and_options_have_defaults() -> None:
    assert Config.model_validate(EXAMPLE).pattern == ("*.csv", "orders/**/*.json")
    some = Config.model_validate({"path": "in"})
    assert (some.pattern, some.recursive, some.interval, some.settle) == (("*",), True, 10.0, 2.0)
    assert len(some.events) == 3


@pytest.mark.parametrize(
    "options", [{"pattern": []}, {"pattern": ""}, {"events": []}, {"events": ["moved"]}, {"settle": -1}, {"path": ""}]
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"path": "in", **options})


async def test_a_folder_that_sources_may_not_read_is_refused(root: Path) -> None:
    site = StandIn()
    site.forbidden.add(str(root))
    put(root / "secret")

    end = await Reading(Source(Config(path=str(root)), site), site).to_its_end()

    assert isinstance(end, Refused)
    assert end.reason == "forbidden_path"
