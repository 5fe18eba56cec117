"""What the chart makes of its three sets of values, valid and safe by default."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]  # ships no types
import pytest
import yaml

from app.gateway import server
from app.settings import FIELDS, Settings, variable
from app.ui import bounds
from app.wiring import gateway as gateway_parts
from connectors.base.kinds import declared
from topics.catalog import SOURCE_PARTITIONS
from topics.sources import Spec, made_of

Object = dict[str, Any]
Rendered = Mapping[str, list[Object]]
FILES = ("minimal", "production", "sasl-tls")
CHART = Path(__file__).resolve().parents[2] / "helm" / "headgate"
IMAGE_USER = 10001


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [found for found in objects if found["kind"] == kind]


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """The component and the template of every pod."""
    for found in objects:
        if found["kind"] in {"StatefulSet", "Deployment", "Job"}:
            template = found["spec"]["template"]
            yield template["metadata"]["labels"]["app.kubernetes.io/component"], template


def pod(objects: list[Object], component: str) -> Object:
    return next(template for name, template in pods(objects) if name == component)


def roles_of(file: str) -> set[str]:
    """The components that run all the time."""
    return {"worker", "gateway"} | (set() if file == "minimal" else {"connectors"})


def container(objects: list[Object], component: str) -> Object:
    only: Object
    [only] = pod(objects, component)["spec"]["containers"]
    return only


def named(objects: list[Object], kind: str, name: str) -> Object:
    [only] = [found for found in of_kind(objects, kind) if found["metadata"]["name"] == name]
    return only


def strict(schema: Any) -> Any:
    """A CRD's schema under which a field that it does not know is an error, as `kubectl apply` warns of it."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {word: strict(part) for word, part in schema.items()}
    if "properties" in closed and "additionalProperties" not in closed and schema.get("type") == "object":
        closed["additionalProperties"] = False
    return closed


@pytest.mark.parametrize("file", FILES)
def test_helm_finds_nothing_to_mend(chart: Any, file: str) -> None:
    linted = chart.run("lint", file)
    assert linted.returncode == 0, linted.stdout
    assert "[WARNING]" not in linted.stdout


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("file", FILES)
def test_every_object_fits_the_schemas_of_kubernetes(rendered: Rendered, file: str, version: str) -> None:
    own = [found for found in rendered[file] if found["kind"] not in {"HTTPRoute", "ServiceMonitor"}]
    assert {kubernetes_validate.validate(found, version, strict=True) for found in own} == {version}


def test_routes_and_monitors_fit_the_schemas_of_their_projects(
    rendered: Rendered, crd_schema: Callable[[str, str], Object]
) -> None:
    custom = [found for found in rendered["production"] if found["kind"] in {"HTTPRoute", "ServiceMonitor"}]
    assert [found["kind"] for found in custom] == ["HTTPRoute", *["ServiceMonitor"] * 3]
    for found in custom:
        schema = strict(crd_schema(found["kind"], found["apiVersion"].partition("/")[2]))
        # `metadata` is Kubernetes' own; a CRD only says that it is an object.
        schema["properties"]["metadata"] = {"type": "object"}
        jsonschema.Draft202012Validator(schema).validate(found)


@pytest.mark.parametrize("file", FILES)
def test_the_schemas_would_notice_a_field_that_does_not_exist(rendered: Rendered, file: str) -> None:
    [broken] = of_kind(rendered[file], "StatefulSet")
    broken = {**broken, "spec": {**broken["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(broken, "1.37", strict=True)


@pytest.mark.parametrize("file", FILES)
def test_every_object_has_its_name_once_and_lies_in_the_namespace_of_the_release(rendered: Rendered, file: str) -> None:
    names = [(found["kind"], found["metadata"]["name"]) for found in rendered[file]]
    assert len(names) == len(set(names))
    assert {found["metadata"]["namespace"] for found in rendered[file]} == {"shop"}
    assert all(name.startswith("orders-headgate") for _, name in names)


@pytest.mark.parametrize("file", FILES)
def test_every_pod_meets_the_restricted_standard(rendered: Rendered, file: str) -> None:
    for component, template in pods(rendered[file]):
        spec = template["spec"]
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": IMAGE_USER,
            "runAsGroup": IMAGE_USER,
            "fsGroup": IMAGE_USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        }, component
        for one in spec["containers"]:
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, component
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys()
        assert not any("hostPath" in volume for volume in spec["volumes"])


@pytest.mark.parametrize("file", FILES)
def test_no_pod_gets_a_token_of_the_cluster(rendered: Rendered, file: str) -> None:
    assert {template["spec"]["automountServiceAccountToken"] for _, template in pods(rendered[file])} == {False}
    assert not any(found["automountServiceAccountToken"] for found in of_kind(rendered[file], "ServiceAccount"))


@pytest.mark.parametrize("file", FILES)
def test_no_pod_gets_the_variables_of_services_which_would_be_taken_for_settings(rendered: Rendered, file: str) -> None:
    assert {template["spec"]["enableServiceLinks"] for _, template in pods(rendered[file])} == {False}


@pytest.mark.parametrize("file", FILES)
def test_what_a_read_only_root_needs_is_mounted(rendered: Rendered, file: str) -> None:
    for component, template in pods(rendered[file]):
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        mounts = {mount["mountPath"]: mount["name"] for mount in container(rendered[file], component)["volumeMounts"]}
        size = "4Gi" if component == "gateway" else "1Gi"
        assert volumes[mounts["/tmp"]] == {"name": "tmp", "emptyDir": {"sizeLimit": size}}
        assert (mounts.get("/data") == "data") == (component == "worker")
        claimed = {"data"} if component == "worker" and file == "production" else set()
        assert set(mounts.values()) == set(volumes) | claimed


@pytest.mark.parametrize("file", FILES)
def test_the_name_of_a_pod_is_its_instance_id(rendered: Rendered, file: str) -> None:
    [workers] = of_kind(rendered[file], "StatefulSet")
    assert workers["spec"]["podManagementPolicy"] == "Parallel"
    for component in roles_of(file) - {"gateway"}:
        [instance_id] = [one for one in container(rendered[file], component)["env"] if "INSTANCE_ID" in one["name"]]
        assert instance_id == {
            "name": variable(f"{component}.instance_id"),
            "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
        }


def test_the_longest_name_leaves_room_for_what_kubernetes_adds(chart: Any) -> None:
    longest = chart.render("minimal", values={"nameOverride": "n" * 53})
    names = {found["metadata"]["name"] for found in longest}
    # A StatefulSet's pods carry "<name>-<10 characters>" in a label, which may have 63.
    assert max(map(len, names)) <= 63
    assert len(of_kind(longest, "StatefulSet")[0]["metadata"]["name"]) <= 52


@pytest.mark.parametrize("file", FILES)
def test_workers_and_connectors_may_drain_before_they_are_killed(rendered: Rendered, file: str) -> None:
    settings = Settings.load(environ=config_of(rendered[file], with_secrets=True))
    grace = pod(rendered[file], "worker")["spec"]["terminationGracePeriodSeconds"]
    assert grace >= settings.worker.drain_timeout_seconds + 10
    if "connectors" in roles_of(file):
        grace = pod(rendered[file], "connectors")["spec"]["terminationGracePeriodSeconds"]
        assert grace >= settings.connectors.drain_timeout_seconds + 10


@pytest.mark.parametrize("file", FILES)
def test_a_gateway_hands_over_before_it_stops(rendered: Rendered, file: str) -> None:
    settings = Settings.load(environ=config_of(rendered[file], with_secrets=True))
    wait = container(rendered[file], "gateway")["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = pod(rendered[file], "gateway")["spec"]["terminationGracePeriodSeconds"]
    requests_seconds = max(settings.gateway.produce_timeout_seconds, server.DRAIN_SECONDS)
    assert grace >= wait + requests_seconds + gateway_parts.DRAIN_SECONDS
    gateway = named(rendered[file], "Deployment", "orders-headgate-gateway")
    assert gateway["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


@pytest.mark.parametrize("file", FILES)
def test_alive_is_asked_apart_from_ready_on_our_own_endpoints(rendered: Rendered, file: str) -> None:
    settings = Settings.load(environ=config_of(rendered[file], with_secrets=True))
    served = {
        "worker": settings.worker.metrics_port,
        "connectors": settings.connectors.metrics_port,
        "gateway": settings.gateway.port,
    }
    for component in roles_of(file):
        one = container(rendered[file], component)
        [port] = one["ports"]
        assert port["containerPort"] == served[component]
        asked = {probe: one[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")}
        assert asked == {
            "startup": {"path": "/healthz", "port": port["name"]},
            "liveness": {"path": "/healthz", "port": port["name"]},
            "readiness": {"path": "/readyz", "port": port["name"]},
        }


@pytest.mark.parametrize("file", FILES)
def test_selectors_hold_nothing_that_changes_with_a_version(rendered: Rendered, file: str) -> None:
    for found in of_kind(rendered[file], "StatefulSet") + of_kind(rendered[file], "Deployment"):
        assert found["spec"]["selector"]["matchLabels"].keys() == {
            "app.kubernetes.io/name",
            "app.kubernetes.io/instance",
            "app.kubernetes.io/component",
        }
    for found in of_kind(rendered[file], "StatefulSet"):
        for claim in found["spec"].get("volumeClaimTemplates", []):
            assert claim["metadata"]["labels"] == found["spec"]["selector"]["matchLabels"]


@pytest.mark.parametrize("file", FILES)
def test_what_selects_pods_selects_those_of_its_own_component(rendered: Rendered, file: str) -> None:
    labels = {component: template["metadata"]["labels"] for component, template in pods(rendered[file])}
    selectors = {
        "Service": lambda spec: spec["selector"],
        "StatefulSet": lambda spec: spec["selector"]["matchLabels"],
        "Deployment": lambda spec: spec["selector"]["matchLabels"],
        "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
        "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
    }
    checked = 0
    for found in rendered[file]:
        if found["kind"] in selectors:
            wanted = selectors[found["kind"]](found["spec"]).items()
            selected = [component for component, has in labels.items() if wanted <= has.items()]
            assert selected == [found["metadata"]["labels"]["app.kubernetes.io/component"]], found["metadata"]["name"]
            checked += 1
    assert checked == {"minimal": 6, "production": 12, "sasl-tls": 9}[file]


def test_services_and_monitors_name_ports_that_the_pods_have(rendered: Rendered) -> None:
    objects = rendered["production"]
    for service in of_kind(objects, "Service"):
        component = service["metadata"]["labels"]["app.kubernetes.io/component"]
        ports = {port["name"] for port in container(objects, component)["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} == ports
        [monitor] = [
            found
            for found in of_kind(objects, "ServiceMonitor")
            if found["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        ]
        assert monitor["spec"]["endpoints"] == [
            {"port": service["spec"]["ports"][0]["name"], "path": "/metrics", "interval": "30s"}
        ]


@pytest.mark.parametrize("file", FILES)
def test_the_topics_job_runs_before_the_release_with_nothing_of_it(rendered: Rendered, file: str) -> None:
    hooks = [found for found in rendered[file] if "helm.sh/hook" in found["metadata"].get("annotations", {})]
    assert {found["metadata"]["annotations"]["helm.sh/hook"] for found in hooks} == {"pre-install,pre-upgrade"}
    weights = {found["kind"]: int(found["metadata"]["annotations"]["helm.sh/hook-weight"]) for found in hooks}
    assert weights.pop("Job") > max(weights.values())
    spec = pod(rendered[file], "topics")["spec"]
    [source] = container(rendered[file], "topics")["envFrom"]
    assert source == {"configMapRef": {"name": "orders-headgate-topics-config"}}
    brought = {(found["kind"], found["metadata"]["name"]) for found in hooks}
    assert ("ConfigMap", "orders-headgate-topics-config") in brought
    # An account of somebody else is there already; one of the chart is not yet.
    assert ("ServiceAccount", spec["serviceAccountName"]) in brought or file == "sasl-tls"
    assert container(rendered[file], "topics")["args"] == ["topics", "check" if file == "sasl-tls" else "apply"]


@pytest.mark.parametrize("file", FILES)
def test_the_topics_job_has_the_settings_of_the_others(rendered: Rendered, file: str) -> None:
    hook, own = (
        named(rendered[file], "ConfigMap", f"orders-headgate-{name}")["data"] for name in ("topics-config", "config")
    )
    assert hook == own


def config_of(objects: list[Object], *, with_secrets: bool = False) -> dict[str, str]:
    """The variables of the release's ConfigMap; the password stands in for the one in the Secret."""
    data: dict[str, str] = dict(named(objects, "ConfigMap", "orders-headgate-config")["data"])
    if with_secrets:
        data |= {variable("kafka.sasl_password"): "password", variable("gateway.token"): "test-token"}
    return data


@pytest.mark.parametrize("file", FILES)
def test_secrets_come_by_reference_and_lie_in_no_object(rendered: Rendered, file: str) -> None:
    assert of_kind(rendered[file], "Secret") == []
    secret = {variable("gateway.token"), variable("kafka.sasl_password")}
    assert not any(secret & found["data"].keys() for found in of_kind(rendered[file], "ConfigMap"))
    for _, template in pods(rendered[file]):
        for one in template["spec"]["containers"][0].get("env", []):
            if one["name"] in secret:
                assert one["valueFrom"].keys() == {"secretKeyRef"}


def test_only_the_gateway_knows_its_token_and_all_roles_know_kafkas_password(rendered: Rendered) -> None:
    objects = rendered["sasl-tls"]
    holders = {
        name: {component for component, _ in pods(objects) if name in _variables(objects, component)}
        for name in (variable("gateway.token"), variable("kafka.sasl_password"), variable("kafka.ssl_cafile"))
    }
    assert holders == {
        "HEADGATE_GATEWAY_TOKEN": {"gateway"},
        "HEADGATE_KAFKA_SASL_PASSWORD": {"worker", "connectors", "gateway", "topics"},
        "HEADGATE_KAFKA_SSL_CAFILE": {"worker", "connectors", "gateway", "topics"},
    }


def _variables(objects: list[Object], component: str) -> dict[str, Object]:
    return {one["name"]: one for one in container(objects, component).get("env", [])}


@pytest.mark.parametrize("component", ["worker", "connectors", "gateway", "topics"])
def test_certificates_lie_where_the_settings_say(rendered: Rendered, component: str) -> None:
    objects = rendered["sasl-tls"]
    volumes = {volume["name"]: volume for volume in pod(objects, component)["spec"]["volumes"]}
    there = {
        f"{mount['mountPath']}/{item['path']}": (volumes[mount["name"]]["secret"]["secretName"], item["key"])
        for mount in container(objects, component)["volumeMounts"]
        if "secret" in volumes[mount["name"]]
        for item in volumes[mount["name"]]["secret"]["items"]
    }
    said = {
        field: there[_variables(objects, component)[variable(f"kafka.{field}")]["value"]]
        for field in ("ssl_cafile", "ssl_certfile", "ssl_keyfile")
    }
    assert said == {
        "ssl_cafile": ("kafka-cluster-ca-cert", "ca.crt"),
        "ssl_certfile": ("headgate-client", "user.crt"),
        "ssl_keyfile": ("headgate-client", "user.key"),
    }


def test_every_variable_of_every_pod_is_a_setting(rendered: Rendered) -> None:
    settings = {variable(name) for name in FIELDS}
    for file in FILES:
        for component, _ in pods(rendered[file]):
            ours = {name for name in _variables(rendered[file], component) if name.startswith("HEADGATE_")}
            assert ours | config_of(rendered[file]).keys() <= settings


def test_a_worker_finds_its_workflows_wherever_they_are(rendered: Rendered, chart: Any) -> None:
    assert container(rendered["production"], "worker")["args"] == ["worker", "/workflows/orders"]
    elsewhere = {"workflows": {"files": None, "existingConfigMap": "mine"}}
    sources: dict[str, tuple[list[Object], Object]] = {
        "minimal": (rendered["minimal"], {"configMap": {"name": "orders-headgate-workflows"}}),
        "config map": (chart.render("minimal", values=elsewhere), {"configMap": {"name": "mine"}}),
        "claim": (rendered["sasl-tls"], {"persistentVolumeClaim": {"claimName": "workflows", "readOnly": True}}),
    }
    for objects, source in sources.values():
        one = container(objects, "worker")
        assert one["args"] == ["worker", "/workflows"]
        assert {"name": "workflows", "mountPath": "/workflows", "readOnly": True} in one["volumeMounts"]
        assert {"name": "workflows", **source} in pod(objects, "worker")["spec"]["volumes"]


def test_a_changed_setting_restarts_workers_connectors_and_gateways(chart: Any, rendered: Rendered) -> None:
    changed = chart.render("sasl-tls", values={"config": {"log": {"level": "debug"}}})
    for component in roles_of("sasl-tls"):
        before, after = (
            pod(objects, component)["metadata"]["annotations"] for objects in (rendered["sasl-tls"], changed)
        )
        assert {name for name in before if before[name] != after[name]} == {"checksum/config"}


def test_a_changed_workflow_restarts_workers_only(chart: Any, rendered: Rendered) -> None:
    changed = chart.render("minimal", values={"workflows": {"files": {"hello.py": "import headgate\n"}}})
    before, after = (pod(objects, "worker")["metadata"]["annotations"] for objects in (rendered["minimal"], changed))
    assert {name for name in before if before[name] != after[name]} == {"checksum/workflows"}
    assert pod(changed, "gateway") == pod(rendered["minimal"], "gateway")


def test_a_changed_source_restarts_connectors_only(chart: Any) -> None:
    before, after = (
        chart.render("minimal", values={"connectors": {"sources": [{"id": "ticks", "kind": "cron", "options": one}]}})
        for one in ({"schedule": "1h"}, {"schedule": "2h"})
    )
    old, new = (pod(objects, "connectors")["metadata"]["annotations"] for objects in (before, after))
    assert {name for name in old if old[name] != new[name]} == {"checksum/sources"}
    assert [pod(before, one) == pod(after, one) for one in ("worker", "gateway")] == [True, True]


def sources_of(objects: list[Object], folder: Path) -> list[Spec]:
    """What connectors read in their file of sources, under the name that it has for them."""
    [command, path] = container(objects, "connectors")["args"]
    [mount] = [one for one in container(objects, "connectors")["volumeMounts"] if one["name"] == "sources"]
    [volume] = [one for one in pod(objects, "connectors")["spec"]["volumes"] if one["name"] == "sources"]
    [item] = volume["configMap"]["items"]
    assert (command, path) == ("connectors", f"{mount['mountPath']}/{item['path']}")
    file = folder / item["path"]
    file.write_text(named(objects, "ConfigMap", volume["configMap"]["name"])["data"][item["key"]], encoding="utf-8")
    declared_by = _variables(objects, "connectors")[variable("connectors.declared_by")]["value"]
    return declared.read([file], declared_by=declared_by)


def test_connectors_read_their_sources_as_they_were_given(rendered: Rendered, tmp_path: Path) -> None:
    given = yaml.safe_load((CHART / "ci" / "production-values.yaml").read_text(encoding="utf-8"))
    read = sources_of(rendered["production"], tmp_path)
    origin = "file shop-orders-headgate.yaml of shop/orders-headgate"
    assert read == [made_of(one, origin=origin) for one in given["connectors"]["sources"]]
    assert read[1].options["max_message_bytes"] == 1_000_000


def test_connectors_without_sources_take_those_out_that_were_there_before(chart: Any, tmp_path: Path) -> None:
    assert sources_of(chart.render("minimal", values={"connectors": {"enabled": True}}), tmp_path) == []


def test_a_file_of_sources_of_somebody_else_is_read_under_the_name_of_the_release(rendered: Rendered) -> None:
    objects = rendered["sasl-tls"]
    [volume] = [one for one in pod(objects, "connectors")["spec"]["volumes"] if one["name"] == "sources"]
    items = [{"key": "sources.yaml", "path": "shop-orders-headgate.yaml"}]
    assert volume["configMap"] == {"name": "feeds", "items": items}
    assert not [one for one in of_kind(objects, "ConfigMap") if one["metadata"]["name"].endswith("-sources")]


def test_secrets_of_sources_lie_in_the_folder_that_the_settings_name(rendered: Rendered) -> None:
    objects = rendered["production"]
    for component, secrets in {"connectors": ["prices", "team-chat"], "gateway": ["github"]}.items():
        folder = _variables(objects, component)[variable("connectors.secrets")]["value"]
        [mount] = [one for one in container(objects, component)["volumeMounts"] if one["mountPath"] == folder]
        [volume] = [one for one in pod(objects, component)["spec"]["volumes"] if one["name"] == mount["name"]]
        assert mount["readOnly"] is True
        assert [one["secret"]["name"] for one in volume["projected"]["sources"]] == secrets
    assert variable("connectors.secrets") not in _variables(objects, "worker")
    assert not any(variable("connectors.secrets") in _variables(rendered["minimal"], one) for one in ("gateway",))


def test_connectors_may_reach_what_their_sources_need_and_workers_may_not(rendered: Rendered) -> None:
    egress = {
        one["metadata"]["labels"]["app.kubernetes.io/component"]: one["spec"]["egress"][2:]
        for one in of_kind(rendered["production"], "NetworkPolicy")
    }
    assert egress == {"worker": [], "gateway": [], "connectors": [{"ports": [{"port": 443, "protocol": "TCP"}]}]}


def test_as_many_connectors_as_partitions_of_sources_are_the_most() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    assert schema["properties"]["connectors"]["properties"]["replicas"]["maximum"] == SOURCE_PARTITIONS


def test_only_what_asks_for_a_token_is_led_to_from_outside(rendered: Rendered) -> None:
    [ingress], [route] = of_kind(rendered["production"], "Ingress"), of_kind(rendered["production"], "HTTPRoute")
    paths = [one["path"] for rule in ingress["spec"]["rules"] for one in rule["http"]["paths"]]
    matched = [one["path"]["value"] for rule in route["spec"]["rules"] for one in rule["matches"]]
    assert set(paths) == set(matched) == {"/api", "/webhooks"}


def test_a_volume_holds_the_read_model_and_what_comes_on_top(rendered: Rendered) -> None:
    volumes = pod(rendered["minimal"], "gateway")["spec"]["volumes"]
    assert next(one for one in volumes if one["name"] == "tmp")["emptyDir"] == {"sizeLimit": "4Gi"}
    most_bytes = bounds.MOST_BYTES + bounds.MOST_GOING_ON * bounds.GOING_ON_BYTES
    assert most_bytes + bounds.MOST_BYTES <= 4 * 2**30


def _snapshots(objects: list[Object]) -> tuple[str | None, list[str], list[Object], list[Object]]:
    """Where workers keep snapshots: the setting, what is mounted there, the pod's volume for it, its claim."""
    [workers] = of_kind(objects, "StatefulSet")
    folder = config_of(objects).get(variable("worker.data"))
    mounted = [one["mountPath"] for one in container(objects, "worker")["volumeMounts"] if one["name"] == "data"]
    volumes = [one for one in pod(objects, "worker")["spec"]["volumes"] if one["name"] == "data"]
    return folder, mounted, volumes, workers["spec"].get("volumeClaimTemplates", [])


def test_by_default_snapshots_outlive_a_container_and_on_a_volume_of_its_own_the_pod(chart: Any) -> None:
    folder = {"name": "data", "emptyDir": {"sizeLimit": "4Gi"}}
    assert _snapshots(chart.render("minimal")) == ("/data", ["/data"], [folder], [])
    path, mounted, volumes, [claim] = _snapshots(
        chart.render("minimal", values={"worker": {"storage": {"persistent": True}}})
    )
    assert (path, mounted, volumes, claim["metadata"]["name"]) == ("/data", ["/data"], [], "data")


def test_who_wants_no_snapshots_has_no_folder_for_them(chart: Any) -> None:
    objects = chart.render("minimal", values={"config": {"worker": {"data": None}}})
    assert _snapshots(objects) == (None, [], [], [])


def test_by_default_nothing_is_opened_to_the_outside(rendered: Rendered) -> None:
    kinds = {found["kind"] for found in rendered["minimal"]}
    assert not kinds & {"Ingress", "HTTPRoute", "ServiceMonitor", "NetworkPolicy", "Role", "ClusterRole"}
    assert {found["spec"].get("type", "ClusterIP") for found in of_kind(rendered["minimal"], "Service")} == {
        "ClusterIP"
    }
    # No NetworkPolicy by default: it would cut workers off from a Kafka that the chart cannot know.
    assert {found["kind"] for found in rendered["production"]} >= {"Ingress", "HTTPRoute", "NetworkPolicy"}


def test_by_default_a_worker_requests_512_mib_and_may_use_768(rendered: Rendered) -> None:
    assert container(rendered["minimal"], "worker")["resources"] == {
        "requests": {"cpu": "500m", "memory": "512Mi"},
        "limits": {"memory": "768Mi"},
    }
