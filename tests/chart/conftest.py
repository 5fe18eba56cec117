"""The chart under Helm: the one in PATH, or one that Go builds once into the user's cache."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "helm" / "headgate"
HELM: Final = "helm.sh/helm/v4/cmd/helm@v4.3.1"
# Since 3.18 Helm reports the path of a value that its schema refuses.
OLDEST_HELM: Final = (3, 18)
# The custom resources that the chart can make: module, version, file.
CRDS: Final = {
    "HTTPRoute": ("sigs.k8s.io/gateway-api", "v1.4.1", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"),
    "ServiceMonitor": (
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
}
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chart:
    """Helm on our chart, with the release `orders` in the namespace `shop`."""

    helm: Path

    def run(
        self, command: str, *files: str, values: Mapping[str, Any] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`template` or `lint` with files of ci/ and, on top of them, values of a test."""
        arguments = [arg for file in files for arg in ("--values", str(CHART / "ci" / f"{file}-values.yaml"))]
        name = ["orders"] if command == "template" else ["--strict"]
        # A Helm that Go has built may take any old Kubernetes for the one to render for.
        cluster = ["--namespace", "shop", "--kube-version", "1.37.0"]
        return subprocess.run(
            [self.helm, command, *name, CHART, *cluster, *arguments, "--values", "-"],
            input=json.dumps(values or {}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def render(self, *files: str, values: Mapping[str, Any] | None = None) -> list[Object]:
        """The objects that these values make."""
        done = self.run("template", *files, values=values)
        assert done.returncode == 0, done.stderr
        return [found for found in yaml.safe_load_all(done.stdout) if found]

    def refusal(self, *files: str, values: Mapping[str, Any]) -> str:
        """What Helm says to values that must not be installed."""
        done = self.run("template", *files, values=values)
        assert done.returncode != 0, "these values were accepted"
        return done.stderr


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headgate" / "tools"


def _is_new_enough(helm: str) -> bool:
    version = subprocess.run([helm, "version", "--short"], capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r"v(\d+)\.(\d+)", version.stdout)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST_HELM


def _go(*arguments: str, why: str, **variables: str) -> str:
    """The output of `go`; a test that cannot do without it is skipped with the reason."""
    go = shutil.which("go")
    if go is None:
        pytest.skip(
            f"{why}, and there is no Go to get it: install Go, or Helm {'.'.join(map(str, OLDEST_HELM))} or newer"
        )
    done = subprocess.run(
        [go, *arguments],
        cwd=tempfile.gettempdir(),  # outside of any Go module
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"{why}, and `go {' '.join(arguments)}` failed: {(done.stdout + done.stderr).strip()[-400:]}")
    return done.stdout


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads the headgate.toml that a developer may have here."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def chart(request: pytest.FixtureRequest) -> Chart:
    found = shutil.which("helm")
    if found and _is_new_enough(found):
        return Chart(Path(found))
    cached = _cache() / HELM.rpartition("@")[2] / "helm"
    if not cached.exists():
        reporter = request.config.pluginmanager.get_plugin("terminalreporter")
        if reporter and shutil.which("go"):
            reporter.write_line(f"building {HELM} with Go, once, for a few minutes")
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
            _go("install", "-trimpath", "-ldflags=-s -w", HELM, why="the chart's tests need Helm", GOBIN=folder)
            (Path(folder) / "helm").replace(cached)
    return Chart(cached)


@pytest.fixture(scope="session")
def rendered(chart: Chart) -> Mapping[str, list[Object]]:
    """What each file of ci/ makes, by the file's name."""
    return {name: chart.render(name) for name in ("minimal", "production", "sasl-tls")}


@pytest.fixture(scope="session")
def crd_schema() -> Callable[[str, str], Object]:
    """The schema of a custom resource, by kind and version, as its own project publishes it."""

    def schema(kind: str, version: str) -> Object:
        module, release, file = CRDS[kind]
        cached = _cache() / "crds" / f"{kind}-{release}.yaml"
        if not cached.exists():
            got = json.loads(
                _go("mod", "download", "-json", f"{module}@{release}", why=f"the schema of {kind} is needed")
            )
            cached.parent.mkdir(parents=True, exist_ok=True)
            cached.write_bytes((Path(got["Dir"]) / file).read_bytes())
        versions = yaml.safe_load(cached.read_text(encoding="utf-8"))["spec"]["versions"]
        found: Object = next(one["schema"]["openAPIV3Schema"] for one in versions if one["name"] == version)
        return found

    return schema


@pytest.fixture(scope="session")
def project() -> Object:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
