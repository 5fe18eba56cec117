"""A real folder that is scanned: what becomes an event, what survives a restart, and its options."""

import base64
import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from connectors.base.contract import Moved, Received, Refused
from connectors.file import EXAMPLE, Config, Source, snapshot, source
from tests.unit.connectors.file.watched import Watching, begun, events, nothing_but, put, watching
from tests.unit.connectors.standing import Reading, StandIn

# ---- what becomes an event -------------------------------------------------------------------------------------------


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


# ---- restarts --------------------------------------------------------------------------------------------------------


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


# ---- options ---------------------------------------------------------------------------------------------------------


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
