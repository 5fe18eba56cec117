"""Workflows that the chart brings to the workers, loaded as they lie in a pod."""

import re
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from app.runtime import loader

ROOT: Final = Path(__file__).resolve().parents[2]


def mount(files: dict[str, str], folder: Path) -> Path:
    """Lay files out as the kubelet mounts a ConfigMap: real ones in a folder of a version, links to links to them."""
    version = folder / "..2026_01_01_00_00_00.1"
    version.mkdir(parents=True)
    (folder / "..data").symlink_to(version.name)
    for name, text in files.items():
        (version / name).write_text(text, encoding="utf-8")
        (folder / name).symlink_to(f"..data/{name}")
    return folder


def in_the_guide() -> Any:
    guide = (ROOT / "docs" / "operate" / "kubernetes.md").read_text(encoding="utf-8")
    [values] = [block for block in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL) if "workflows:" in block]
    return yaml.safe_load(values)


def test_a_config_map_with_workflows_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    values = yaml.safe_load((ROOT / "helm" / "headgate" / "ci" / "minimal-values.yaml").read_text(encoding="utf-8"))
    folder = mount(values["workflows"]["files"], tmp_path / "workflows")
    assert [one.id for one in loader.load([str(folder)]).workflows] == ["hello"]


def test_the_values_in_the_guide_are_enough_for_an_installation(
    chart: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    values = in_the_guide()
    kinds = {found["kind"] for found in chart.render(values=values)}
    assert kinds >= {"StatefulSet", "Deployment", "Job"}
    folder = mount(values["workflows"]["files"], tmp_path / "workflows")
    assert [one.id for one in loader.load([str(folder)]).workflows] == ["hello"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"config": {"kafka": {"bootstap": "kafka:9092"}}}, 0),
        ({"worker": {"replicas": 33}}, 1),
    ],
)
def test_the_refusals_in_the_guide_are_what_helm_says(chart: Any, values: dict[str, Any], said: int) -> None:
    guide = (ROOT / "docs" / "operate" / "kubernetes.md").read_text(encoding="utf-8")
    [lines] = re.findall(r"before anything is installed:\n```\n(.*?)\n```", guide, re.DOTALL)
    assert lines.splitlines()[said] in chart.refusal("minimal", values=values)
