"""Authors' modules under every kind of path, and every word about one that cannot be loaded."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from app.runtime import loader
from app.runtime.loader import LoadError
from headgate import DefinitionError

FLOW = """\
from headgate import workflow

@workflow(id={id!r}, trigger_on_event="orders/created")
async def fn(ctx, payload):
    return {result}
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test loads is gone after it."""
    before, path = set(sys.modules), list(sys.path)
    monkeypatch.chdir(tmp_path)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    sys.path[:] = path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def flow(path: Path, workflow_id: str, result: str = "1", before: str = "") -> Path:
    return write(path, before + FLOW.format(id=workflow_id, result=result))


def ids(*paths: Path | str) -> list[str]:
    return [one.id for one in loader.load([str(one) for one in paths]).workflows]


# --- what is found --------------------------------------------------------------------------------------------------


def test_a_file_is_loaded_with_its_neighbours_in_reach(tmp_path: Path) -> None:
    write(tmp_path / "prices.py", "PRICE = 7\n")
    path = flow(tmp_path / "shop.py", "shop", "prices.PRICE", "import prices\n")

    found = loader.load([str(path)])

    assert [(one.id, one.source_file) for one in found.workflows] == [("shop", str(path))]
    assert found.files == {path}


def test_a_folder_is_all_its_files_and_packages_but_no_tests_hidden_or_installed_ones(tmp_path: Path) -> None:
    flow(tmp_path / "b.py", "b")
    flow(tmp_path / "a.py", "a")
    write(tmp_path / "pack/__init__.py", "")
    flow(tmp_path / "pack/inner.py", "inner", "other.X", "from pack import other\n")
    write(tmp_path / "pack/other.py", "X = 1\n")
    for name in ("test_a.py", ".hidden.py", "venv/x.py", "__pycache__/y.py", "loose/z.py", "node_modules/__init__.py"):
        flow(tmp_path / name, "never")

    assert ids(tmp_path) == ["a", "b", "inner"]
    assert {one.name for one in loader.files_of([str(tmp_path)])} == {
        "a.py",
        "b.py",
        "__init__.py",
        "inner.py",
        "other.py",
    }


def test_a_package_is_loaded_under_its_own_name(tmp_path: Path) -> None:
    write(tmp_path / "shop1/__init__.py", "from shop1.orders import fn\n")
    flow(tmp_path / "shop1/orders.py", "orders", "rates.RATE", "from shop1 import rates\n")
    write(tmp_path / "shop1/rates.py", "RATE = 2\n")

    assert ids(tmp_path / "shop1") == ["orders"]
    assert ids(tmp_path / "shop1" / "orders.py") == ["orders"]
    assert "shop1.orders" in sys.modules


def test_a_module_is_found_by_its_dotted_name(tmp_path: Path) -> None:
    write(tmp_path / "shop2/__init__.py", "")
    flow(tmp_path / "shop2/orders.py", "orders")

    assert ids("shop2.orders") == ["orders"]


def test_files_of_one_name_in_two_folders_do_not_clash(tmp_path: Path) -> None:
    assert ids(flow(tmp_path / "x/flows.py", "x"), flow(tmp_path / "y/flows.py", "y")) == ["x", "y"]


def test_a_file_may_have_the_name_of_a_package_of_ours(tmp_path: Path) -> None:
    assert ids(flow(tmp_path / "topics.py", "mine")) == ["mine"]
    from topics import keys

    assert keys.DIGEST_BYTES == 12


def test_a_workflow_that_two_paths_lead_to_is_one(tmp_path: Path) -> None:
    path = flow(tmp_path / "shop.py", "shop")

    assert ids(path, tmp_path, path) == ["shop"]


def test_loading_again_sees_what_was_changed(tmp_path: Path) -> None:
    path = flow(tmp_path / "shop.py", "before")
    assert ids(path) == ["before"]
    flow(path, "after-it-and-longer")
    assert ids(path) == ["after-it-and-longer"]


def test_no_paths_are_no_workflows_and_no_error() -> None:
    assert loader.load([]) == loader.Loaded(workflows=(), files=frozenset())


def test_stamps_change_with_the_files_and_with_their_neighbours(tmp_path: Path) -> None:
    path = flow(tmp_path / "shop.py", "shop")
    first = loader.stamps([str(path)])
    assert list(first) == [path]
    neighbour = write(tmp_path / "prices.py", "")

    assert loader.stamps([str(path)]).keys() == {path, neighbour}
    assert loader.stamps([str(tmp_path / "nowhere"), "a.module"]) == {}


@pytest.mark.parametrize(
    ("name", "here", "elsewhere"),
    [
        ("shop5", ["shop5.py", "prices5.py"], ["other/inner.py"]),
        (
            "shop6",
            ["shop6/__init__.py", "shop6/flows.py", "shop6/inner/__init__.py", "shop6/inner/x.py"],
            ["beside.py"],
        ),
        (
            "shop7.inner.flows",
            ["shop7/__init__.py", "shop7/x.py", "shop7/inner/__init__.py", "shop7/inner/flows.py"],
            [],
        ),
        ("loose1.flows", ["loose1/flows.py", "loose1/prices.py"], ["loose1/inner/x.py", "beside.py"]),
        ("loose2.more.flows", ["loose2/more/flows.py", "loose2/more/prices.py"], ["loose2/x.py"]),
        ("loose3.pack.flows", ["loose3/pack/__init__.py", "loose3/pack/flows.py", "loose3/pack/in/__init__.py"], []),
        ("shop8.test_flows", ["shop8/__init__.py", "shop8/test_flows.py"], []),
    ],
)
def test_a_module_is_watched_with_its_package_or_its_neighbours_and_not_imported_for_it(
    tmp_path: Path, name: str, here: list[str], elsewhere: list[str]
) -> None:
    assert loader.files_of([name]) == set()
    for one in here + elsewhere:
        write(tmp_path / one, "raise ValueError('imported')\n")

    assert loader.files_of([name]) == {tmp_path / one for one in here}
    assert loader.stamps([name]).keys() == loader.files_of([name])


def test_the_neighbours_of_an_installed_module_are_not_the_authors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "lib/site-packages"
    path = write(installed / "shop11.py", "")
    write(installed / "library11.py", "")
    monkeypatch.syspath_prepend(installed)

    assert loader.files_of(["shop11"]) == {path}


@pytest.mark.parametrize("name", ["sys", "made_by_hand", "topics.keys", "no.such.module", "a..b", "."])
def test_nothing_is_watched_of_ours_or_of_what_has_no_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "made_by_hand", ModuleType("made_by_hand"))

    assert loader.files_of([name]) == set()


@pytest.mark.parametrize("init", ["shop9/__init__.py", "beside9.py"])
def test_loading_a_module_again_sees_what_was_changed_in_all_its_package(tmp_path: Path, init: str) -> None:
    write(tmp_path / init, "")
    flow(tmp_path / "shop9/flows.py", "{rates.NAME}", before="from shop9 import rates\n")
    rates = write(tmp_path / "shop9/rates.py", "NAME = 'before'\n")
    text = (tmp_path / "shop9/flows.py").read_text().replace("'{rates.NAME}'", "rates.NAME")
    write(tmp_path / "shop9/flows.py", text)

    assert ids("shop9.flows") == ["before"]
    write(rates, "NAME = 'after-it-and-longer'\n")
    assert [one.id for one in loader.load_anew(["shop9.flows"]).workflows] == ["after-it-and-longer"]


def test_loading_again_finds_a_module_whose_folder_has_two_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = flow(tmp_path / "real/shop10.py", "before")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.syspath_prepend(tmp_path / "link")

    assert ids("shop10") == ["before"]
    flow(path, "after-it-and-longer")
    assert loader.stamps(["shop10"]).keys() == {path}
    assert [one.id for one in loader.load_anew(["shop10"]).workflows] == ["after-it-and-longer"]


# --- what is refused ------------------------------------------------------------------------------------------------


def refused(*paths: Path | str) -> str:
    with pytest.raises(LoadError) as caught:
        ids(*paths)
    return str(caught.value)


def test_two_workflows_with_one_id_name_both_places(tmp_path: Path) -> None:
    first, second = flow(tmp_path / "a.py", "same"), flow(tmp_path / "b.py", "same", before="\n\n")

    assert refused(tmp_path) == f"two workflows have the id 'same': {first}:3 and {second}:5; rename one"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "x = 1\nimport nothing_of_this_name\n",
            "ModuleNotFoundError: No module named 'nothing_of_this_name' (line 2)",
        ),
        ("\n\ndef f():\n    raise ValueError('no')\nf()\n", "ValueError: no (line 4)"),
        ("x = 1\nif\n", "SyntaxError: invalid syntax (shop.py, line 2)"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3 (line 2)"),
    ],
)
def test_a_file_that_cannot_be_loaded_says_why_and_where(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path / "shop.py", text)

    assert refused(path) == f"{path} cannot be loaded: {expected}"


def test_the_line_is_the_authors_own_and_not_a_librarys(tmp_path: Path) -> None:
    write(tmp_path / "library.py", "\n" * 20 + "def fail():\n    raise KeyError('k')\n")
    path = write(tmp_path / "shop.py", "import library\n\nlibrary.fail()\n")

    assert refused(path) == f"{path} cannot be loaded: KeyError: 'k' (line 3)"


def test_a_wrong_definition_is_told_as_it_is(tmp_path: Path) -> None:
    path = write(
        tmp_path / "shop.py", "from headgate import workflow\n@workflow(retries=3)\nasync def f(ctx, payload): ...\n"
    )

    with pytest.raises(DefinitionError, match="max_retries"):
        ids(path)


def test_a_workflow_that_a_later_one_of_its_file_would_hide_is_told_with_both_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "shop.py", FLOW.format(id="same", result=1) + "\n" + FLOW.format(id="same", result=2))

    with pytest.raises(DefinitionError) as caught:
        ids(path)
    assert str(caught.value).startswith(
        f"workflow 'same' ({path}:9): line 3 of the file has a workflow of this id already; "
    )
    write(path, "\n\n" + FLOW.format(id="same", result=1))
    assert ids(path, tmp_path) == ["same"]


def test_no_workflow_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    path = write(tmp_path / "shop.py", "x = 1\n")

    assert refused(path) == f"no workflow in {path}: put @workflow on a function there, or name another path"


def test_other_paths_that_hold_nothing_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    text = write(tmp_path / "notes.txt", "")

    assert refused(tmp_path / "empty").startswith(f"there is no .py file in {tmp_path}/empty")
    assert refused(text) == f"{text} is not a Python file: name a .py file, a folder or a module"
    assert refused(tmp_path / "nowhere.py").startswith(f"there is no file or folder {tmp_path}/nowhere.py")
    assert refused("nowhere_at_all") == "there is no file, folder or module 'nowhere_at_all'; check the spelling"
    assert refused("nowhere_at_all.inner").startswith("there is no file, folder or module 'nowhere_at_all.inner'")


def test_a_module_that_imports_what_is_not_installed_names_that(tmp_path: Path) -> None:
    write(tmp_path / "shop3/__init__.py", "import nothing_of_this_name\n")

    assert refused("shop3") == "module 'shop3' imports 'nothing_of_this_name', which is not installed"


@pytest.mark.parametrize("ending", ["raise ValueError('no')", "raise SystemExit('no')"])
def test_a_module_that_fails_says_why(tmp_path: Path, ending: str) -> None:
    write(tmp_path / "shop4/__init__.py", ending)

    assert refused("shop4").startswith("module 'shop4' cannot be loaded: ")


@pytest.mark.parametrize("name", ["app", "topics", "headgate", "connectors"])
def test_a_package_with_the_name_of_one_of_ours_is_refused_in_words(tmp_path: Path, name: str) -> None:
    write(tmp_path / name / "__init__.py", "")
    flow(tmp_path / name / "flows.py", "x")

    assert "has the name of a package of Headgate's own; rename the file or folder" in refused(tmp_path / name)
    assert f"({tmp_path})" in refused(tmp_path / name / "flows.py")
    assert refused(f"{name}.flows") == (
        f"the module '{name}.flows' has the name of a package of Headgate's own; rename the file or folder"
    )


def test_a_path_can_be_checked_without_loading(tmp_path: Path) -> None:
    loader.check(str(write(tmp_path / "shop.py", "raise ValueError")))
    loader.check("some.module")
    with pytest.raises(LoadError, match="check the spelling"):
        loader.check("./nowhere.py")


def test_an_authors_file_takes_the_place_of_no_installed_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)  # nobody else needs this one
    write(tmp_path / "colorsys.py", "raise ValueError('the wrong one')\n")
    path = flow(tmp_path / "shop.py", "shop", "1", "import colorsys\n")

    assert ids(path) == ["shop"]
