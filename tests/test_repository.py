"""What holds for the whole repository: mirrors, import contracts, generated files, and names that must not be in it."""

import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Final

import pytest
import yaml

from tools import docs

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGES: Final = ("app", "connectors", "headgate", "topics")

WAIVERS: Final[dict[str, tuple[str, str]]] = {
    "app/agents/inputs.py": (
        "two agents that hand chunks on: they are Faust's, and mean something on a broker alone",
        "tests/integration/test_faust_app.py",
    ),
    "app/cli/role.py": ("runs a role until a signal comes", "tests/e2e/test_crashes.py"),
    "app/cli/connectors.py": ("shows what Kafka has", "tests/integration/test_cli_connectors.py"),
    "app/wiring/sourcelist.py": ("reads what Kafka has", "tests/integration/test_cli_connectors.py"),
    "connectors/base/fleet/actions.py": ("reads from a broker, answers to it", "tests/integration/test_actions.py"),
    "connectors/base/contract.py": ("protocols and values", "tests/contract/test_sources.py"),
    "connectors/base/fleet/positions.py": ("a fence needs a broker", "tests/integration/test_connectors.py"),
    "connectors/base/instance/site.py": (
        "what a runner gives to its source",
        "tests/unit/connectors/base/instance/test_runner.py",
    ),
    "connectors/kafka/partitions.py": ("offsets of a broker", "tests/integration/test_kafka_source.py"),
    "connectors/kafka/source.py": ("reads from a broker", "tests/integration/test_kafka_source.py"),
    "headgate/providers.py": ("what third parties implement", "tests/unit/connectors/base/kinds/test_provided.py"),
    "app/engine/effects.py": ("values without behaviour", "tests/unit/app/engine/journal/test_commit.py"),
    "app/engine/values/asks.py": ("values without behaviour", "tests/unit/app/engine/steps/test_steps.py"),
    "app/engine/tables/awaited.py": (
        "values and their form in the journal",
        "tests/unit/app/engine/steps/test_conditions.py",
    ),
    "app/engine/steps/ends.py": ("how all steps end: tested with them", "tests/unit/app/engine/steps/test_steps.py"),
    "app/engine/steps/telling.py": ("facts of steps, tested with them", "tests/unit/app/engine/steps/test_steps.py"),
    "app/engine/runs/notes.py": (
        "notes are steps, tested with the others",
        "tests/unit/app/engine/steps/test_steps.py",
    ),
    "app/engine/tables/recorded.py": (
        "records of steps, tested with those",
        "tests/unit/app/engine/steps/test_steps.py",
    ),
    "app/engine/runs/renewal.py": ("runs of other workflows", "tests/unit/app/engine/runs/test_atrest.py"),
    "app/engine/tables/run.py": ("a value that others change", "tests/unit/app/engine/runs/test_runs.py"),
    "app/engine/tables/runs.py": ("runs at rest and others", "tests/unit/app/engine/runs/test_atrest.py"),
    "app/engine/tables/resting.py": ("the form of runs at rest", "tests/unit/app/engine/runs/test_atrest.py"),
    "app/engine/tables/wait.py": ("waits, by what meets them", "tests/unit/app/engine/tables/test_registry.py"),
    "app/engine/runs/rising.py": ("runs that wait and come back", "tests/unit/app/engine/steps/test_steps.py"),
    "app/engine/tables/counters.py": ("values without behaviour", "tests/unit/app/engine/test_apply.py"),
    "app/engine/waits/wanted.py": ("asked of a registry, tested there", "tests/unit/app/engine/waits/test_waits.py"),
    "app/pump/around.py": ("protocols", "tests/unit/app/pump/test_pump.py"),
    "app/pump/room.py": ("the bounds of a round", "tests/unit/app/pump/test_pump.py"),
    "app/pump/entries.py": ("part of each append", "tests/unit/app/pump/test_pump.py"),
    "app/engine/inputs.py": ("values without behaviour", "tests/unit/app/engine/test_apply.py"),
    "app/engine/waits/lookbacks.py": (
        "hands on between pump and engine",
        "tests/unit/app/engine/waits/test_interests.py",
    ),
    "app/engine/waits/restored.py": ("waits back from the journal", "tests/unit/app/engine/waits/test_waits.py"),
    "app/engine/mail.py": ("a table of what others are tested for", "tests/unit/app/engine/waits/test_waits.py"),
    "app/engine/journal/waiting.py": ("the journal's form of waits", "tests/unit/app/engine/waits/test_waits.py"),
    "app/engine/values/limits.py": ("values without behaviour", "tests/unit/app/engine/test_apply.py"),
    "app/kafka/answers.py": ("reads what a broker has, as it comes", "tests/integration/test_answers.py"),
    "app/kafka/appender.py": ("appends under claims, which need a broker", "tests/integration/test_fence.py"),
    "app/kafka/chunks.py": ("Faust's consumer needs a broker", "tests/integration/test_faust_app.py"),
    "app/kafka/journal.py": ("one suite for the log of Kafka and its twin", "tests/contract/test_log.py"),
    "app/kafka/lenient.py": ("records that only foreign clients write", "tests/integration/test_foreign_records.py"),
    "app/kafka/log.py": ("a protocol and its values", "tests/contract/test_log.py"),
    "app/kafka/outward.py": ("a producer means something on a broker alone", "tests/integration/test_sender.py"),
    "app/kafka/sender.py": ("a producer means something on a broker alone", "tests/integration/test_sender.py"),
    "topics/announcement.py": ("records, by their schemas", "tests/unit/topics/test_schemas.py"),
    "topics/rawevents.py": ("events within commands", "tests/unit/topics/test_commands.py"),
}
"""Modules without a test module of their own: why, and where they are tested."""


@cache
def committed() -> tuple[Path, ...]:
    """Every file of the repository: what git knows, else (in an archive) what is there."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0:
        return tuple(sorted(Path(one) for one in listed.stdout.decode().split("\0") if one and (ROOT / one).exists()))
    hidden = re.compile(r"(^|/)(\.(venv|git|mypy_cache|pytest_cache|ruff_cache|hypothesis|headgate)|__pycache__)[^/]*/")
    files = (one.relative_to(ROOT) for one in ROOT.rglob("*") if one.is_file())
    return tuple(sorted(one for one in files if not hidden.search(one.as_posix())))


def modules() -> list[str]:
    return [
        one.as_posix()
        for one in committed()
        if one.suffix == ".py" and one.parts[0] in PACKAGES and one.name != "__init__.py"
    ]


def mirror(module: str) -> Path:
    path = Path(module)
    return Path("tests/unit") / path.parent / f"test_{path.name}"


def mirrors(test: Path) -> bool:
    """Whether a unit test is of a module that is there. A crowded one has others beside it, named after it and after
    their subject: test_runner_faults.py stands beside test_runner.py.
    """
    room, words = Path(*test.parts[2:-1]), test.stem.removeprefix("test_").split("_")
    if words == ["init"]:
        return (ROOT / room / "__init__.py").exists()
    for count in range(len(words), 0, -1):
        name = "_".join(words[:count]) + ".py"
        if (ROOT / room / name).exists():
            return count == len(words) or (ROOT / test.with_name(f"test_{name}")).exists()
    return False


# --- mirrors --------------------------------------------------------------------------------------------------------


def test_each_module_has_its_test_module_or_a_waiver_with_its_reason() -> None:
    missing = [one for one in modules() if one not in WAIVERS and not (ROOT / mirror(one)).exists()]

    assert missing == [], "write the test module, or a waiver in tests/test_repository.py"


def test_each_waiver_is_needed_and_names_tests_that_are_there() -> None:
    known = set(modules())
    wrong = [
        one
        for one, (reason, tests) in WAIVERS.items()
        if one not in known or (ROOT / mirror(one)).exists() or not reason or not (ROOT / tests).exists()
    ]

    assert wrong == []


def test_each_unit_test_mirrors_a_module() -> None:
    rooms = (*PACKAGES, "benchmarks", "tools")
    strays = [
        test.as_posix()
        for test in committed()
        if test.parts[:2] == ("tests", "unit") and test.name.startswith("test_") and test.parts[2] in rooms
        if not mirrors(test)
    ]

    assert strays == []


def test_the_map_names_each_room_and_none_that_is_not_there() -> None:
    rooms = {Path(one).parent.as_posix() + "/" for one in modules()} - {
        f"connectors/{kind.name}/" for kind in (ROOT / "connectors").iterdir() if kind.name != "base"
    }
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")

    assert sorted(re.findall(r"^((?:[a-z]+/)+)  ", page, re.MULTILINE)) == sorted(rooms)


def test_whatever_tells_of_the_structure_names_files_that_are_there() -> None:
    """Pages for contributors name them anywhere in the tree, the docstring of a room those that are in it."""
    pages = [Path("ARCHITECTURE.md"), Path("CONTRIBUTING.md"), *(one for one in committed() if "adr" in one.parts)]
    rooms = [one for one in committed() if one.name == "__init__.py" and one.parts[0] in PACKAGES]
    gone = [
        f"{teller}: {name}"
        for teller, below in [*((page, Path()) for page in pages), *((room, room.parent) for room in rooms)]
        for name in re.findall(r"(?<![\w/<>*.-])[a-z_][\w/]*\.py\b", text_of(teller))
        if not any(f"/{one}".endswith(f"/{name}") for one in committed() if one.is_relative_to(below))
    ]

    assert gone == ["CONTRIBUTING.md: utils.py"], "and that one is named because there is none"


def test_no_module_is_longer_than_one_can_read() -> None:
    lengths = {one: len((ROOT / one).read_text(encoding="utf-8").splitlines()) for one in modules()}

    assert {one: length for one, length in lengths.items() if length > 410} == {}


def test_the_help_of_make_is_plain_text_in_a_pipe() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)

    assert "  help       this list\n" in done.stdout
    assert "\x1b" not in done.stdout


# --- contracts and generated files ----------------------------------------------------------------------------------


def test_the_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_generated_files_are_as_the_code_says() -> None:
    assert docs.stale() == [], "run `make docs`"


# --- versions -------------------------------------------------------------------------------------------------------


def test_there_is_one_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    chart = yaml.safe_load((ROOT / "helm/headgate/Chart.yaml").read_text(encoding="utf-8"))
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert chart["appVersion"] == version
    assert re.findall(r"^ARG VERSION=(\S+)", dockerfile, re.MULTILINE) == [version]
    newest = re.search(r"^## \[?([0-9][^\s\]]*)", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == version


# --- what is in no committed file -----------------------------------------------------------------------------------

_DOT: Final = re.escape(".")
HOSTS: Final = [
    *(f"{name}{_DOT}org" for name in ("pypi", "files.pythonhosted", "pythonhosted", "repo.maven.apache", "npmjs")),
    *(f"{name}{_DOT}maven" for name in ("repo1", "repo", "central")),
    *(f"{name}{_DOT}io" for name in ("docker", "ghcr", "quay", "gcr", "registry.k8s")),
    f"proxy{_DOT}golang",
    f"public{_DOT}ecr",
    f"mcr{_DOT}microsoft",
]
FORBIDDEN: Final = {
    "a registry host": re.compile(rf"(?i)(?<![\w-])({'|'.join(HOSTS)})\b"),
    "an index URL": re.compile(r"(?i)(index|registry|find-links)[-_]?(url)?[\"']?\s*[=: ]\s*[\"']?https?://"),
    "a path of a machine": re.compile(r"(?<![\w./~-])/((work|root|Users)|home/(?!ann\b)[\w.-]+)/[\w.-]"),
}


def text_of(path: Path) -> str:
    return (ROOT / path).read_bytes().decode("utf-8", errors="replace")


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_committed_file_names(what: str) -> None:
    found = [
        f"{path}:{number}: {line.strip()[:100]}"
        for path in committed()
        if path != Path(__file__).relative_to(ROOT)
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if FORBIDDEN[what].search(line)
    ]

    assert found == []


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a registry host", "FROM ghcr" + ".io/some/image"),
        ("a registry host", "https://files.pythonhosted" + ".org/packages/x"),
        ("a registry host", "see PyPI" + ".org"),
        ("an index URL", "--index" + "-url https://mirror.example/simple"),
        ("an index URL", 'registry = "' + 'https://mirror.example"'),
        ("a path of a machine", "cd /root" + "/project/x"),
        ("a path of a machine", "'/Users" + "/someone/x'"),
    ],
)
def test_what_must_not_be_there_would_be_found(what: str, line: str) -> None:
    assert FORBIDDEN[what].search(line)


def test_what_is_kept_out_of_git_is_not_in_it() -> None:
    ignored = subprocess.run(
        ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ignored.stdout.splitlines() == []
