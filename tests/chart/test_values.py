"""The chart's values: every one is used and described, every setting is among them, every bad one is refused."""

import copy
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, get_args

import jsonschema
import pytest
import yaml
from pydantic.fields import FieldInfo

from app.settings import FIELDS, Settings, SettingsError, variable
from tools import chart_docs

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "helm" / "headgate"
# Another value than the default for settings whose type does not give one away.
OTHER: Final[Mapping[str, Any]] = {
    "kafka.bootstrap": "a:9092,b:9092",
    "kafka.ssl_cafile": "/etc/ssl/kafka.pem",
    "kafka.ssl_certfile": "/etc/ssl/client.pem",
    "kafka.ssl_keyfile": "/etc/ssl/client.key",
    "worker.metrics_host": "::",
    "worker.data": "/data/snapshots",
    "connectors.allow": ["10.0.0.0/8", "redis.shop.svc:6379"],
    "connectors.secret_names": ["SHOP_*", "TOKEN"],
    "connectors.folders": ["/srv/inbox"],
    "connectors.metrics_host": "::",
    "gateway.host": "::",
    "gateway.url": "https://events.example",
    "gateway.connections_per_address": 100,
    "gateway.read_model": "/tmp/runs.sqlite",
    "replies.allowed_topics": ["answers", "billing.*"],
}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def defaults() -> dict[str, Any]:
    found: dict[str, Any] = load(CHART / "values.yaml")
    return found


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """`{"a.b": 1}` as `{"a": {"b": 1}}`."""
    found: dict[str, Any] = {}
    for path, value in values.items():
        *parents, last = path.split(".")
        into = found
        for parent in parents:
            into = into.setdefault(parent, {})
        into[last] = value
    return found


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(copy.deepcopy(under))
    for name, value in over.items():
        both[name] = merged(both.get(name) or {}, value) if isinstance(value, Mapping) and value else value
    return both


def leaves(values: Mapping[str, Any], shape: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Paths and values, down to what the schema has as a value of its own."""
    for name, value in values.items():
        inner = shape["properties"][name]
        if "properties" in inner:
            yield from leaves(value, inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def other(name: str, info: FieldInfo) -> Any:
    """A valid value of a setting that is not its default."""
    if name in OTHER:
        return OTHER[name]
    choices = [choice for part in (info.annotation, *get_args(info.annotation)) for choice in get_args(part)]
    texts = [choice for choice in choices if isinstance(choice, str) and choice != info.default]
    if texts:
        return texts[-1]
    default = info.get_default()
    if isinstance(default, (int, float)):
        return default + 1 if default != 24 else default - 1
    return f"{default}x" if isinstance(default, str) else 1234 if "rate" in name else "someone"


TICKS: Final = {"id": "ticks", "kind": "cron", "options": {"schedule": "1h"}}


# ---- settings ------------------------------------------------------------------------------------------------------


def test_the_chart_is_of_the_version_of_the_project(project: dict[str, Any]) -> None:
    about = load(CHART / "Chart.yaml")
    assert about["appVersion"] == project["project"]["version"]
    assert about["description"] == project["project"]["description"]


def test_generated_files_are_fresh() -> None:
    stale = [path.name for path, text in chart_docs.generate().items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run `make docs` and commit"


def test_config_has_every_setting_but_those_that_the_chart_sets_itself(defaults: dict[str, Any]) -> None:
    listed = [f"{group}.{field}" for group, fields in defaults["config"].items() for field in fields]
    assert listed == [name for name in FIELDS if name not in chart_docs.OWNED]


def test_settings_have_the_applications_defaults_but_for_what_a_cluster_needs(
    rendered: Mapping[str, list[dict[str, Any]]],
) -> None:
    in_chart = Settings.load(environ=_config_map(rendered["minimal"]))
    of_app = Settings.load(environ={})
    differing = {name for name in FIELDS if in_chart.value(name) != of_app.value(name)}
    assert differing == set(chart_docs.DEFAULTS)


def test_every_setting_reaches_the_application(chart: Any) -> None:
    given = {name: other(name, info) for name, info in FIELDS.items() if name not in chart_docs.OWNED}
    in_file = nested(given)
    secrets = {"saslPassword": {"existingSecret": "kafka"}}
    rendered = chart.render(
        "minimal",
        values={
            "config": in_file,
            "secrets": secrets,
            **{role: {"terminationGracePeriodSeconds": 90} for role in ("worker", "connectors", "gateway")},
        },
    )
    from_chart = Settings.load(environ=_config_map(rendered) | {variable("kafka.sasl_password"): "secret"})
    directly = Settings.load({**given, "kafka.sasl_password": "secret"}, environ={})
    values = {name: from_chart.value(name) for name in given}
    assert values == {name: directly.value(name) for name in given}
    unchanged = {name for name in given if values[name] == Settings.load(environ={}).value(name)}
    assert unchanged == set()


@pytest.mark.parametrize(
    "size", [1, 2097152, "4096", "64 KiB", "1MiB", "2 gib", "5 B", "1 Mi", "1 MB", "-1", "1.5 MiB", "", 0, 1.5]
)
def test_the_schema_takes_the_sizes_that_the_application_takes(size: Any) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    rule = schema["properties"]["config"]["properties"]["gateway"]["properties"]["max_body_bytes"]
    taken = jsonschema.Draft7Validator(rule).is_valid(size)
    try:
        Settings.load(environ={variable("gateway.max_body_bytes"): str(size)})
        fits = True
    except SettingsError:
        fits = False
    assert taken == fits


def _config_map(objects: list[dict[str, Any]]) -> dict[str, str]:
    [found] = [one for one in objects if one["metadata"]["name"] == "orders-headgate-config"]
    data: dict[str, str] = found["data"]
    return data


# ---- every value is used -------------------------------------------------------------------------------------------

SCHEDULING: Final = ("priorityClassName", "nodeSelector", "tolerations", "affinity", "podLabels", "podAnnotations")
# Values whose change needs more than another text or number, or shows only beside others.
CHANGED: Final[Mapping[str, Any]] = {
    "image.digest": {"image.digest": "sha256:" + "0" * 64},
    "image.pullPolicy": {"image.pullPolicy": "Always"},
    "workflows.files": {"workflows.files": {"other.py": "import headgate\n"}, "workflows.imagePath": ""},
    "workflows.existingConfigMap": {"workflows.existingConfigMap": "mine", "workflows.imagePath": ""},
    "workflows.existingClaim": {"workflows.existingClaim": "mine", "workflows.imagePath": ""},
    "worker.storage.size": {"worker.storage.size": "11Gi"},
    "worker.pdb.maxUnavailable": {"worker.pdb.maxUnavailable": "50%"},
    "connectors.enabled": {"connectors.enabled": True, "connectors.sources": [], "secrets.sources.existingSecrets": []},
    "connectors.sources": {"connectors.sources": [{"id": "other", "kind": "cron", "options": {"schedule": "1h"}}]},
    "connectors.existingConfigMap": {"connectors.existingConfigMap": "mine", "connectors.sources": []},
    "connectors.pdb.maxUnavailable": {"connectors.pdb.maxUnavailable": "50%"},
    "gateway.service.type": {"gateway.service.type": "NodePort"},
    "gateway.enabled": {
        "gateway.enabled": False,
        "gateway.ingress.enabled": False,
        "gateway.httpRoute.enabled": False,
        "connectors.sources": [],
        "connectors.enabled": True,
    },
    "gateway.ingress.hosts": {"gateway.ingress.hosts": ["a.example", "b.example"]},
    "gateway.httpRoute.parentRefs": {"gateway.httpRoute.parentRefs": [{"name": "other"}]},
    "topics.command": {"topics.command": "check"},
    "serviceMonitor.interval": {"serviceMonitor.interval": "31s"},
}


def _full() -> dict[str, Any]:
    """Values under which every other value has something to show."""
    values = merged(load(CHART / "ci" / "production-values.yaml"), {"image": {"digest": ""}})
    for component in ("connectors", "gateway", "topics"):
        values[component] = merged({name: values["worker"][name] for name in SCHEDULING}, values.get(component, {}))
    for component in ("connectors", "gateway"):
        values[component]["topologySpreadConstraints"] = values["worker"]["topologySpreadConstraints"]
    secure = {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "headgate"}
    named = {name: {"existingSecret": name.lower()} for name in ("saslPassword", "kafkaCa", "kafkaClientCertificate")}
    return merged(values, {"config": {"kafka": secure}, "secrets": named})


def _change(path: str, value: Any) -> dict[str, Any]:
    if path in CHANGED:
        return nested(CHANGED[path])
    if isinstance(value, bool):
        return nested({path: not value})
    if isinstance(value, int):
        return nested({path: value + 1})
    if isinstance(value, str):
        return nested({path: f"{value}-x" if value else "x"})
    assert value, f"{path} is empty in the values of this test, so that its use cannot be shown"
    if path.endswith(".resources"):  # the chart's own ones would be merged into an empty mapping
        return nested({path: {"limits": {"memory": "7Gi"}}})
    return nested({path: [] if isinstance(value, list) else {}})


def test_every_value_changes_what_is_rendered(chart: Any, defaults: dict[str, Any]) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    full = _full()
    values = merged(defaults, full)
    paths = {path: value for path, value in leaves(values, schema) if not path.startswith("config.")}
    before = chart.run("template", values=full)
    assert before.returncode == 0, before.stderr

    def unused(path: str) -> str | None:
        after = chart.run("template", values=merged(full, _change(path, paths[path])))
        if after.returncode != 0:
            return f"{path}: {after.stderr}"
        return path if after.stdout == before.stdout else None

    with ThreadPoolExecutor(2) as pool:
        assert [found for found in pool.map(unused, paths) if found] == []
    assert len(paths) > 80


def test_every_value_is_described_and_in_the_readme(defaults: dict[str, Any]) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    assert [path for path, _ in leaves(defaults, schema) if f"| `{path}` |" not in readme] == []


# ---- bad values are refused ----------------------------------------------------------------------------------------


def test_the_default_values_ask_for_a_kafka(chart: Any) -> None:
    assert "'/config/kafka/bootstrap'" in chart.refusal(values={})


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("replicas", 2, "'': additional properties 'replicas'"),
        ("image.registry", "example", "'/image': additional properties 'registry'"),
        ("image.digest", "9f86", "'/image/digest'"),
        ("image.pullPolicy", "Sometimes", "'/image/pullPolicy'"),
        ("imagePullSecrets", ["registry"], "'/imagePullSecrets/0'"),
        ("fullnameOverride", "n" * 44, "'/fullnameOverride'"),
        ("commonLabels", {"app.kubernetes.io/name": "x"}, "'/commonLabels/app.kubernetes.io~1name'"),
        ("config.kafka.bootstap", "kafka:9092", "'/config/kafka': additional properties 'bootstap'"),
        ("config.kafka.bootstrap", "kafka", "'/config/kafka/bootstrap'"),
        ("config.kafka.partitions", 0, "'/config/kafka/partitions'"),
        ("config.kafka.partitions", None, "'/config/kafka': missing property 'partitions'"),
        ("config.kafka.security_protocol", "TLS", "'/config/kafka/security_protocol'"),
        ("config.kafka.sasl_password", "secret", "'/config/kafka': additional properties 'sasl_password'"),
        ("config.gateway.token", "test-token", "'/config/gateway': additional properties 'token'"),
        ("config.gateway.port", 80, "'/config/gateway/port'"),
        ("config.gateway.max_body_bytes", "8 MB", "'/config/gateway/max_body_bytes'"),
        ("config.worker.instance_id", "one", "'/config/worker': additional properties 'instance_id'"),
        ("config.worker.metrics_port", None, "'/config/worker': missing property 'metrics_port'"),
        ("config.worker.session_timeout_seconds", 5, "'/config/worker/session_timeout_seconds'"),
        ("config.worker.threads", "many", "'/config/worker/threads'"),
        ("config.dedup.window_hours", 0, "'/config/dedup/window_hours'"),
        ("config.log.level", "loud", "'/config/log/level'"),
        ("config.replies.allowed_topics", ["a,b"], "'/config/replies/allowed_topics/0'"),
        ("config.connector", {}, "'/config': additional properties 'connector'"),
        ("config.connectors.secrets", "/etc", "'/config/connectors': additional properties 'secrets'"),
        ("config.connectors.allow", ["a,b"], "'/config/connectors/allow/0'"),
        ("secrets.sources.existingSecrets", "feeds", "'/secrets/sources/existingSecrets'"),
        ("connectors.replicas", 17, "'/connectors/replicas'"),
        ("connectors.sources", [{"id": "a b", "kind": "cron"}], "'/connectors/sources/0/id'"),
        ("connectors.sources", [{"id": "a"}], "'/connectors/sources/0': missing property 'kind'"),
        (
            "connectors.sources",
            [{"id": "a", "kind": "cron", "option": {}}],
            "'/connectors/sources/0': additional properties 'option'",
        ),
        ("connectors.extraEnv", [{"name": "HEADGATE_LOG_LEVEL"}], "'/connectors/extraEnv/0/name'"),
        ("secrets.gatewayToken.value", "token", "'/secrets/gatewayToken': additional properties 'value'"),
        ("workflows.files", {"a.txt": "x"}, "'/workflows/files': additional properties 'a.txt'"),
        ("worker.replicas", -1, "'/worker/replicas'"),
        ("worker.replicas", "two", "'/worker/replicas'"),
        ("worker.extraEnv", [{"name": "HEADGATE_LOG_LEVEL"}], "'/worker/extraEnv/0/name'"),
        ("worker.storage.size", "ten", "'/worker/storage/size'"),
        ("worker.pdb.maxUnavailable", 0, "'/worker/pdb/maxUnavailable'"),
        ("gateway.service.type", "ExternalName", "'/gateway/service/type'"),
        ("gateway.service.port", 65536, "'/gateway/service/port'"),
        ("gateway.ingress.hosts", "events", "'/gateway/ingress/hosts'"),
        ("topics.command", "delete", "'/topics/command'"),
        ("serviceMonitor.interval", "often", "'/serviceMonitor/interval'"),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(chart: Any, path: str, value: Any, where: str) -> None:
    assert f"- at {where}" in chart.refusal("minimal", values=_at(path, value))


def _at(path: str, value: Any) -> dict[str, Any]:
    return nested({path: value})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"worker.replicas": 33},
            "worker.replicas is 33 and config.kafka.partitions is 32: a worker without a partition has nothing to do.",
        ),
        (
            {"config.worker.drain_timeout_seconds": 35.5},
            "would be killed while it drains. Set worker.terminationGracePeriodSeconds to at least 46.",
        ),
        (
            {"gateway.terminationGracePeriodSeconds": 34},
            "Set gateway.terminationGracePeriodSeconds to at least 35.",
        ),
        (
            {"gateway.terminationGracePeriodSeconds": 44, "config.gateway.produce_timeout_seconds": 30},
            "Set gateway.terminationGracePeriodSeconds to at least 45.",
        ),
        (
            {"connectors.enabled": True, "config.connectors.drain_timeout_seconds": 21},
            "Set connectors.terminationGracePeriodSeconds to at least 31.",
        ),
        (
            {"connectors.sources": [TICKS], "connectors.existingConfigMap": "mine"},
            "connectors.sources and connectors.existingConfigMap are both set",
        ),
        ({"connectors.sources": [TICKS, TICKS]}, 'connectors.sources has "ticks" twice.'),
        (
            {"connectors.sources": [{"id": "hook", "kind": "webhook"}], "gateway.enabled": False},
            'connectors.sources has the webhook "hook" and gateway.enabled is false',
        ),
        ({"secrets.sources.existingSecrets": ["feeds"]}, "no connectors run that could use them"),
        ({"config.connectors.metrics_host": "localhost"}, 'config.connectors.metrics_host is "localhost"'),
        ({"workflows.files": None}, "workflows: none is given, and a worker needs some."),
        ({"workflows.imagePath": "/w"}, "workflows: workflows.files and workflows.imagePath are given."),
        ({"config.worker.data": "/var/lib"}, 'config.worker.data is "/var/lib", which cannot be written'),
        ({"worker.storage.persistent": True, "config.worker.data": None}, "Set config.worker.data to /data."),
        ({"config.gateway.read_model": "runs.db"}, 'config.gateway.read_model is "runs.db", which cannot be written'),
        ({"secrets.gatewayToken.existingSecret": ""}, "a gateway without a token does not start"),
        ({"gateway.ingress.enabled": True}, "gateway.ingress.hosts is empty"),
        ({"gateway.httpRoute.enabled": True}, "gateway.httpRoute.parentRefs is empty"),
        (
            {"gateway.enabled": False, "gateway.ingress.enabled": True, "gateway.ingress.hosts": ["a"]},
            "gateway.ingress.enabled is true and gateway.enabled is false",
        ),
        ({"config.gateway.host": "127.0.0.1"}, 'config.gateway.host is "127.0.0.1": probes and other pods'),
        ({"config.worker.metrics_host": "localhost"}, 'config.worker.metrics_host is "localhost"'),
        ({"config.kafka.replication_factor": 1}, "config.kafka.min_insync_replicas is 2 and"),
        ({"config.kafka.security_protocol": "SASL_SSL"}, "which needs config.kafka.sasl_mechanism"),
        ({"secrets.saslPassword.existingSecret": "s"}, "is PLAINTEXT, which uses no password"),
        ({"secrets.kafkaCa.existingSecret": "s"}, "is PLAINTEXT, which uses no certificates"),
        (
            {
                "config.kafka.security_protocol": "SSL",
                "config.kafka.ssl_cafile": "/ca.pem",
                "secrets.kafkaCa.existingSecret": "s",
            },
            "config.kafka.ssl_cafile and secrets.kafkaCa.existingSecret are both set",
        ),
        (
            {
                "config.kafka.security_protocol": "SSL",
                "config.kafka.ssl_certfile": "/client.pem",
                "config.kafka.ssl_keyfile": "/client.key",
                "secrets.kafkaClientCertificate.existingSecret": "s",
            },
            "secrets.kafkaClientCertificate.existingSecret are both set",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused_with_the_remedy(
    chart: Any, values: dict[str, Any], words: str
) -> None:
    assert words in chart.refusal("minimal", values=nested(values))


def test_as_many_workers_as_partitions_are_welcome(chart: Any) -> None:
    rendered = chart.render("minimal", values={"worker": {"replicas": 8}, "config": {"kafka": {"partitions": 8}}})
    [workers] = [found for found in rendered if found["kind"] == "StatefulSet"]
    assert workers["spec"]["replicas"] == 8


def test_a_part_that_is_switched_off_leaves_nothing_behind(chart: Any) -> None:
    token = {"secrets": {"gatewayToken": {"existingSecret": ""}}}
    without_gateway = chart.render("minimal", values={"gateway": {"enabled": False}, **token})
    without_worker = chart.render("minimal", values={"worker": {"enabled": False}, "topics": {"enabled": False}})
    with_sources = chart.render("minimal", values={"worker": {"enabled": False}, "connectors": {"sources": [TICKS]}})
    components = [
        {found["metadata"]["labels"]["app.kubernetes.io/component"] for found in objects}
        for objects in (without_gateway, without_worker, with_sources)
    ]
    assert components == [
        {"account", "config", "worker", "topics"},
        {"account", "config", "gateway"},
        {"account", "config", "gateway", "topics", "connectors"},
    ]


def test_the_chart_can_be_part_of_another_one(chart: Any) -> None:
    assert chart.render("minimal", values={"global": {"shop": "ours"}})
