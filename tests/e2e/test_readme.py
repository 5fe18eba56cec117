"""The documentation as a reader types it: every command in a `console` block is run, in order, page by page.

README and tutorial are read one after the other in one folder, as newcomers do. A line `$ command` is typed, the lines
below it must come out, where `…` stands for anything. A block under `<!-- file: name -->` is saved under that name
first, one under `<!-- added to: name -->` is added to it. What serves (`headgate dev`, workers, the reader's own
server) goes on until the page ends.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from app.kafka.embedded import ports
from app.settings import FIELDS, shown_default
from connectors.base.kinds import declared
from tests.e2e.devrun import HEADGATE, ROOT, SECONDS, DevRun
from tests.e2e.waiting import until

JOURNEYS: Final = (
    ("README.md", "docs/tutorial.md"),
    ("docs/connectors.md",),
    *((f"docs/operate/{one}.md",) for one in ("workers", "connectors", "deduplication", "dead-letters", "upgrading")),
    *((f"docs/reference/{one}.md",) for one in ("events", "http", "workflows")),
)
"""Pages that are read in one folder, one after the other."""
PAGES: Final = tuple(page for journey in JOURNEYS for page in journey)
ELSEWHERE: Final = {
    "make demo": "test_demo.py",
    "make demo CHECK=1": "test_demo.py",
    "make test": "the run of this very test",
    "make setup": "every run of the tests",
    "pip install pytest": "the environment of this very test",
    ". .venv/bin/activate": "the environment in which all of it runs",
}
"""Commands that other tests run, and which."""
ASKS: Final = re.compile(
    r"cat ledger|headgate (tail|runs|workflows list|doctor|connectors status|kafka (console-consumer|consumer-groups))"
    r"|curl .*/(runs|webhooks)"
)
"""Commands that change nothing: they are repeated until what they show is there."""
OUTSIDE: Final = "8090"
"""The port on which pages let a server of the reader's listen."""
_OWN_FOLDER: Final = re.compile(r"mkdir (\S+) && cd \1")
_FENCE: Final = re.compile(
    r"(?:<!-- (?P<how>file|added to): (?P<file>\S+) -->\n)?```(?P<kind>\w+)\n(?P<body>.*?)```", re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """A command and what must come out."""

    command: str
    expected: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A file that the reader writes."""

    name: str
    text: str
    added: bool


def steps(page: str) -> Iterator[Typed | Saved]:
    """What a reader of the page does, in order."""
    for fence in _FENCE.finditer((ROOT / page).read_text()):
        if fence["file"]:
            yield Saved(name=fence["file"], text=fence["body"], added=fence["how"] != "file")
        elif fence["kind"] == "console":
            for part in re.split(r"^\$ ", fence["body"].replace("\\\n", " "), flags=re.MULTILINE)[1:]:
                command, *expected = part.rstrip("\n").split("\n")
                yield Typed(command=re.sub(r" {2,}", " ", command), expected=tuple(line for line in expected if line))


class Reader:
    """Somebody who types what a page says, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if not (folder / "examples").exists():
            (folder / "examples").symlink_to(ROOT / "examples")
        self._dev: DevRun | None = None
        self._started: list[subprocess.Popen[bytes]] = []
        self._outside = str(ports.free_port())

    def close(self) -> None:
        for one in self._started:
            one.kill()
            one.wait()
        if self._dev is not None:
            assert self._dev.interrupt() == 0
            self._dev.__exit__()

    def save(self, saved: Saved) -> None:
        file = self._folder / saved.name
        text = saved.text.replace(OUTSIDE, self._outside)
        file.write_text(f"{file.read_text()}\n\n{text}" if saved.added else text)

    def type(self, typed: Typed) -> None:
        words = shlex.split(typed.command.replace(OUTSIDE, self._outside))
        if typed.command in ELSEWHERE:
            return
        if entered := _OWN_FOLDER.fullmatch(typed.command):
            self._folder = self._folder / entered[1]
            self._folder.mkdir()
        elif words[:2] == ["headgate", "dev"]:
            self._start_dev(words[2:], typed.expected)
        elif words[:2] == ["headgate", "worker"] or words[0] == "python":
            self._start(words, typed.expected)
        else:
            shown: list[str] = []

            def look() -> bool:
                shown.append(self._output(typed.command))
                return _shows(shown[-1], typed.expected)

            patience = SECONDS if ASKS.match(typed.command) else 0.0
            until(look, patience, f"$ {typed.command}\nshows {typed.expected}", else_show=lambda: shown[-1])

    def _start_dev(self, paths: list[str], expected: tuple[str, ...]) -> None:
        if self._dev is not None:
            assert self._dev.interrupt() == 0
            self._dev.__exit__()
        self._dev = DevRun(self._folder, *paths).ready()
        assert _shows(self._with_usual_ports(self._dev.log()), expected), self._dev.log()

    def _start(self, words: list[str], expected: tuple[str, ...]) -> None:
        """Start a worker, or a server of the reader's."""
        log_file = self._folder / f"started{len(self._started)}.log"
        with log_file.open("wb") as log:
            started = subprocess.Popen(
                [str(HEADGATE.with_name(words[0])), *words[1:]],
                cwd=self._folder,
                env=self._environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._started.append(started)
        ready = "headgate worker:" if "worker" in " ".join(words) else ""
        until(
            lambda: _shows(log_file.read_text(), expected) and ready in log_file.read_text(),
            SECONDS,
            f"{words} is ready",
            else_show=log_file.read_text,
        )

    def _output(self, command: str) -> str:
        if self._dev is not None:
            command = command.replace("127.0.0.1:8080", f"127.0.0.1:{self._dev.port}")
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        return self._with_usual_ports(done.stdout)

    def _environment(self) -> dict[str, str]:
        environment = {**os.environ, "PATH": f"{HEADGATE.parent}:{os.environ['PATH']}", "COLUMNS": "100"}
        if self._dev is not None:
            environment["HEADGATE_KAFKA_BOOTSTRAP"] = self._dev.kafka
            environment["HEADGATE_GATEWAY_URL"] = f"http://127.0.0.1:{self._dev.port}"
        return environment

    def _with_usual_ports(self, text: str) -> str:
        if self._dev is None:
            return text
        return text.replace(self._dev.kafka, "127.0.0.1:9092").replace(f":{self._dev.port}", ":8080")


def _shows(output: str, expected: tuple[str, ...]) -> bool:
    """Whether the expected lines are there, in their order."""
    lines = iter(output.splitlines())
    for one in expected:
        pattern = re.compile(".*".join(re.escape(part) for part in one.rstrip().split("…")))
        if not any(pattern.fullmatch(line.rstrip()) for line in lines):
            return False
    return True


@pytest.mark.parametrize("pages", JOURNEYS, ids=" then ".join)
def test_every_command_of_the_pages_does_what_they_say(pages: tuple[str, ...], tmp_path: Path) -> None:
    for page in pages:
        reader = Reader(tmp_path)
        try:
            for step in steps(page):
                if isinstance(step, Saved):
                    reader.save(step)
                else:
                    reader.type(step)
        finally:
            reader.close()


@pytest.mark.parametrize("page", PAGES)
def test_commands_stand_in_blocks_that_are_run(page: str) -> None:
    kinds = {fence["kind"] for fence in _FENCE.finditer((ROOT / page).read_text())}
    assert kinds <= {"console", "python", "text", "toml", "json", "yaml"}


@pytest.mark.parametrize("page", PAGES)
def test_sources_that_the_page_shows_can_be_declared(page: str, tmp_path: Path) -> None:
    shown = [fence for fence in _FENCE.finditer((ROOT / page).read_text()) if fence["kind"] == "yaml"]
    for number, fence in enumerate(shown):
        file = tmp_path / (fence["file"] or f"{number}.yaml")
        before = file.read_text() if fence["how"] == "added to" else ""
        file.write_text(before + fence["body"])
        assert declared.read([file])


@pytest.mark.parametrize("page", [*PAGES, "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_link_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    assert [one for one in targets if not (ROOT / page).parent.joinpath(one).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md"])
def test_every_decision_is_linked(page: str) -> None:
    text = (ROOT / page).read_text()
    decisions = sorted(f"docs/adr/{one.name}" for one in (ROOT / "docs/adr").glob("*.md"))
    assert [one for one in decisions if f"]({one})" not in text] == []


@pytest.mark.parametrize("page", PAGES)
def test_defaults_that_the_page_names_are_those_of_the_settings(page: str) -> None:
    """As in "`limits.running`, 1,000 per partition" and "`worker.session_timeout_seconds` (6 s, ...)"."""
    text = (ROOT / page).read_text()
    named = re.findall(r"`([a-z]+\.[a-z_]+)`(?:, | \()(\d[\d,]*)( MiB)?", text)
    shown = {name: f"{number.rstrip(',').replace(',', '')}{unit}" for name, number, unit in named if name in FIELDS}
    assert shown == {name: shown_default(name).removesuffix(".0") for name in shown}
