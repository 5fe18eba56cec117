"""Files of sources in the examples: each can be followed, and each source triggers something."""

from pathlib import Path

import pytest

from app.runtime import loader
from connectors.base.kinds import declared
from connectors.base.texts.templates import Template
from topics.patterns import Pattern

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("*/sources.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_each_source_can_be_followed_and_has_a_workflow(file: Path) -> None:
    workflows = loader.load([str(file.parent)]).workflows
    for spec in declared.read([file]):
        begin = Template.parse(spec.topic or "{{ source.id }}/{{ type }}").parts[0] or f"{spec.id}/"
        triggers = [trigger for one in workflows for trigger in one.triggers]
        assert any(one.startswith(begin) or Pattern.parse(one).matches(begin) for one in triggers), spec.id


def test_ids_of_sources_are_of_one_example_each() -> None:
    found = [spec.id for spec in declared.read(FILES)]  # all of them together, though their names are one
    assert len(found) == len(set(found)) >= len(FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_each_tells_how_to_run_it(file: Path) -> None:
    name = file.parent.name
    command = f"headgate dev examples/{name} examples/{name}/sources.yaml"
    assert command in (file.parent / "README.md").read_text(encoding="utf-8")
    assert command in (file.parent / "workflows.py").read_text(encoding="utf-8")
