"""Sources in YAML files."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from connectors.base.kinds import declared
from connectors.base.kinds.declared import DeclarationError, StrangersError, changes, check_strangers, origins, read
from topics.sources import Spec


def file(folder: Path, text: str, name: str = "sources.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def of(folder: Path, **entry: Any) -> Path:
    return file(
        folder, yaml.safe_dump({"sources": [{"id": "a", "kind": "cron", "options": {"schedule": "1h"}} | entry]})
    )


def test_a_file_declares_sources_with_their_secrets_unresolved(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        """
        sources:
          - id: tick
            kind: cron
            options: {schedule: "{{ env.SCHEDULE }}"}
            filter: {type: tick}
            reconnect: {max_seconds: 120}
            topic: "ticks/{{ data.scheduledAt }}"
            key: "{{ source.id }}"
        """,
    )

    expected = Spec(
        id="tick",
        kind="cron",
        options={"schedule": "{{ env.SCHEDULE }}"},
        filter={"type": "tick"},
        reconnect={"max_seconds": 120},
        topic="ticks/{{ data.scheduledAt }}",
        key="{{ source.id }}",
        origin="file sources.yaml",
    )
    assert [expected] == read([path])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"id": "a/b"}, "/sources/0: /id is 'a/b'"),
        ({"kind": "cronn"}, "Did you mean 'cron'"),
        ({"options": {"schedul": "1h"}}, "/options/schedul"),
        ({"options": {"schedule": "yesterday"}}, "/options: .*yesterday"),
        ({"filter": {"x": 1}}, "/filter/x"),
        ({"topic": "{{ env.X }}"}, "no field of an event"),
        ({"reconnect": {"max_seconds": "soon"}}, "/reconnect/max_seconds"),
        ({"option": {}}, r"/sources/0 \(a\): /option is not known; did you mean 'options'"),
        ({"else": {}}, "/else is not known; there are filter, id,"),
        ({"kind": "http_stream"}, "`headgate connectors kinds` lists"),
        ({"paused": "yes"}, "/paused"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, entry: dict[str, Any], words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        read([of(tmp_path, **entry)])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no list `sources:`"),
        ("sources: 5", "no list `sources:`"),
        ("sources: [\n", "not YAML: .* in line 2, column 1$"),
        ("sources:\n  - token: {{ env.CANARY }}", "line 2, column 13; put a value with `{{` in quotes"),
        (
            "sources: [{id: a, kind: cron, options: {schedule: 1h}}, {id: a, kind: rss, options: {url: 'http://x'}}]",
            "'a' is declared twice",
        ),
        ("sources: []\nother: 1", "'other' is not known"),
        ("sources: [5]", "/sources/0 is no object"),
        ("sources: [&a {id: x}, *a]", "aliases"),
        ("sources: !!python/object/apply:os.system ['true']", "not YAML"),
        ("sources: " + "[" * 5_000, "nested too deep|not YAML"),
        ("sources: [{id: 2026-13-01}]", "cannot read.*quotes"),
        ("sources: [{id: !!timestamp soon}]", "cannot read.*quotes"),
        ("sources: [{id: !!int ''}]", "cannot read.*quotes"),
        ("sources: [{id: !!bool maybe}]", "cannot read.*quotes"),
        ('sources: [{id: a, kind: cron, options: {schedule: 1h, "\\ud800": 1}}]', "cannot be written as JSON"),
        ("sources: [{id: a, kind: rss, options: {1: 2}}]", "cannot be written as JSON"),
        ("sources: [{id: a, kind: rss, options: {url: !!binary /w==}}]", "cannot be written as JSON"),
    ],
)
def test_no_file_is_too_odd_for_a_word(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        read([file(tmp_path, text)])


def test_no_text_of_a_file_is_in_an_error(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError) as raised:
        read([file(tmp_path, "sources:\n  - token: canary: canary")])

    assert "canary" not in str(raised.value)
    assert "mapping values are not allowed here in line 2" in str(raised.value)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="cannot be read"):
        read([tmp_path / "none.yaml"])


def test_an_id_is_declared_once(tmp_path: Path) -> None:
    first = of(tmp_path)
    (tmp_path / "more").mkdir()
    again = file(tmp_path, first.read_text(), "again.yaml")

    with pytest.raises(DeclarationError, match=r"is declared in .* as well"):
        read([first, again])
    with pytest.raises(DeclarationError, match="it is given twice"):
        read([first, again, tmp_path / "more" / ".." / "sources.yaml", first])


def test_a_secret_that_is_not_known_yet_is_no_mistake(tmp_path: Path) -> None:
    assert read([of(tmp_path, options={"schedule": "{{ env.X }}"})])


def test_only_what_is_different_is_written_and_only_what_was_ours_is_removed(tmp_path: Path) -> None:
    path = of(tmp_path)
    [spec] = read([path])
    ours = frozenset({spec.origin})
    other = Spec(id="run", kind="cron", origin="run w:1")
    old = Spec(id="old", kind="cron", origin=spec.origin)

    first = changes([spec], {"run": other, "old": old}, origins=ours)
    again = changes([spec], {"a": spec, "run": other}, origins=ours)

    assert ([spec], ["old"]) == (first.written, first.removed)
    assert ([], []) == (again.written, again.removed)


def test_what_a_run_has_set_up_is_not_taken_by_a_file_and_stops_nothing_else(tmp_path: Path) -> None:
    [spec] = read([of(tmp_path)])
    other = Spec(id="b", kind="cron", origin=spec.origin)
    found = changes([spec, other], {"a": Spec(id="a", kind="cron", origin="run w:1")}, origins=frozenset())

    assert ([other], [], {"a": "run w:1"}) == (found.written, found.removed, found.taken)


def test_bounds_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = of(tmp_path)
    monkeypatch.setattr(declared, "MOST_SOURCES", 0)
    with pytest.raises(DeclarationError, match="1 sources, 0 are allowed"):
        read([path])
    monkeypatch.setattr(declared, "MOST_BYTES", 3)
    with pytest.raises(DeclarationError, match="more than 3 bytes"):
        read([path])


@pytest.mark.parametrize(
    ("files", "declared_by", "expected"),
    [
        (["/a/x/s.yaml"], None, ["file s.yaml"]),
        (["/a/x/s.yaml", "/a/x/t.yaml"], None, ["file s.yaml", "file t.yaml"]),
        (["/a/x/s.yaml", "/a/y/s.yaml", "/a/t.yaml"], None, ["file x/s.yaml", "file y/s.yaml", "file t.yaml"]),
        (["/a/x/s.yaml", "/b/x/s.yaml"], None, ["file a/x/s.yaml", "file b/x/s.yaml"]),
        (["/s.yaml", "/x/s.yaml"], None, ["file s.yaml", "file x/s.yaml"]),
        (["/a/x/s.yaml"], "shop", ["file s.yaml of shop"]),
        (["/a/x/s.yaml", "/a/y/s.yaml"], "shop", ["file x/s.yaml of shop", "file y/s.yaml of shop"]),
    ],
)
def test_an_origin_tells_a_file_from_all_others_that_are_given(
    files: list[str], declared_by: str | None, expected: list[str]
) -> None:
    found = origins([Path(one) for one in files], declared_by=declared_by)

    assert expected == [found[Path(one)] for one in files]


def test_files_with_one_name_are_read_together(tmp_path: Path) -> None:
    first = of(tmp_path)
    (tmp_path / "more").mkdir()
    second = of(tmp_path / "more", id="b")

    found = {spec.id: spec.origin for spec in read([first, second])}
    assert {"a": f"file {tmp_path.name}/sources.yaml", "b": "file more/sources.yaml"} == found


def test_a_file_that_has_nothing_of_what_its_name_has_set_up_is_another_one(tmp_path: Path) -> None:
    path = of(tmp_path)
    [spec] = read([path])
    files = origins([path])
    theirs = {name: Spec(id=name, kind="cron", origin=spec.origin) for name in ("x", "y")}

    with pytest.raises(StrangersError) as raised:
        check_strangers([spec], theirs, files=files)
    assert str(raised.value) == (
        f"{path}: another file of this name has set up x, y, and none of it is here: this one would take all of it "
        "out, so nothing was changed. If they are another deployment's, give this one a name "
        "(HEADGATE_CONNECTORS_DECLARED_BY=NAME, the setting connectors.declared_by) or its file another name. If they "
        "are this file's of before, start it once with `sources: []`, which takes them out, and then as it is"
    )
    check_strangers([spec], theirs | {"a": spec}, files=files)  # one of them is here
    check_strangers([], theirs, files=files)  # a file without sources takes out what it had
    check_strangers([spec], {}, files=files)
    check_strangers([spec], {"x": Spec(id="x", kind="cron", origin="run w:1")}, files=files)
