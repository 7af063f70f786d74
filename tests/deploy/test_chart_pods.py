"""What an operator can give the pods of the chart, and what its values refuse."""

from typing import Any

import pytest
from helm_python import HelmValuesError

from shared.settings import PREFIX, Settings
from tests.deploy.test_chart import (
    MINIMAL,
    ROLES,
    SETTINGS,
    Object,
    container,
    deployments,
    pod,
    render,
    require_valid,
    schema,
)
from workers.queues import QUEUES

DIGEST = f"sha256:{'0123456789abcdef' * 4}"
PODS = MINIMAL | {
    "image": {"digest": DIGEST},
    "pods": {
        "annotations": {"team": "ground"},
        "labels": {"cost": "aux"},
        "priorityClassName": "high",
        "affinity": {"nodeAffinity": {}},
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example"}],
        "extraVolumes": [{"name": "more", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
        "caBundle": "authorities",
        "tmpSize": "7Gi",
    },
}
SETS = MINIMAL | {
    "queues": {"staging": {"replicas": 1, "sets": {"spot": {"replicas": 4, "nodeSelector": {"pool": "spot"}}}}}
}
MEMORY_PER_PROCESS = 400
"""MB; `worker_max_memory_per_child` of `workers.config`."""


@pytest.fixture(scope="module")
def given() -> dict[str, Object]:
    objects = render(PODS)
    require_valid(objects)
    return deployments(objects)


@pytest.mark.parametrize("role", ROLES)
def test_every_pod_has_what_pods_are_given(given: dict[str, Object], role: str) -> None:
    template, spec, only = given[role]["spec"]["template"], pod(given[role]), container(given[role])

    assert template["metadata"]["labels"]["cost"] == "aux"
    assert template["metadata"]["annotations"]["team"] == "ground"
    assert (spec["priorityClassName"], spec["affinity"]) == ("high", {"nodeAffinity": {}})
    assert only["image"] == f"auxip-workers@{DIGEST}"
    assert {"name": "HTTPS_PROXY", "value": "http://proxy.example"} in only["env"]
    assert {"name": "more", "mountPath": "/more"} in only["volumeMounts"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["more"] == {"name": "more", "emptyDir": {}}
    assert volumes["tmp"]["emptyDir"] == {"sizeLimit": "7Gi"}


@pytest.mark.parametrize("role", ROLES)
def test_every_pod_trusts_the_authorities_that_it_is_given(given: dict[str, Object], role: str) -> None:
    only = container(given[role])
    (mount,) = (each for each in only["volumeMounts"] if each["name"] == "ca-bundle")
    (volume,) = (each for each in pod(given[role])["volumes"] if each["name"] == "ca-bundle")

    assert {"name": "SSL_CERT_FILE", "value": f"{mount['mountPath']}/ca.crt"} in only["env"]
    assert volume["configMap"] == {"name": "authorities"}


def test_pods_of_one_role_are_spread_over_nodes() -> None:
    for deployment in deployments(render(MINIMAL)).values():
        (spread,) = pod(deployment)["topologySpreadConstraints"]
        assert spread["labelSelector"] == deployment["spec"]["selector"]
        assert spread["whenUnsatisfiable"] == "ScheduleAnyway"


def test_a_drained_node_takes_one_pod_of_a_role_at_a_time() -> None:
    objects = render(SETS)
    found = deployments(objects)
    budgets = {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "PodDisruptionBudget"}
    several = [role for role in found if role.startswith("worker-") or role == "gate"]
    assert budgets == {
        f"auxip-auxip-workers-{role}": {"maxUnavailable": 1, "selector": found[role]["spec"]["selector"]}
        for role in several
    }


def test_a_queue_has_several_sets_of_pods() -> None:
    found = deployments(render(SETS))
    first, spot = found["worker-staging"], found["worker-staging-spot"]

    assert (first["spec"]["replicas"], spot["spec"]["replicas"]) == (1, 4)
    assert pod(spot)["nodeSelector"] == {"pool": "spot"}
    assert "nodeSelector" not in pod(first)
    assert container(spot)["args"] == container(first)["args"]
    assert first["spec"]["selector"] != spot["spec"]["selector"]


def test_a_set_that_scales_is_scaled_by_the_load_of_its_queue() -> None:
    scaling = {"minReplicas": 0, "maxReplicas": 3}
    objects = render(MINIMAL | {"queues": {"staging": {"sets": {"spot": {"scaling": scaling}}}}})
    (scaler,) = (each for each in objects if each["kind"] == "ScaledObject")

    assert scaler["spec"]["scaleTargetRef"]["name"] == "auxip-auxip-workers-worker-staging-spot"
    assert scaler["spec"]["triggers"][0]["metadata"]["valueLocation"] == 'auxip_queue_load{queue="staging"}'
    assert deployments(objects)["worker-staging"]["spec"]["replicas"] == 2


def test_a_pod_of_a_queue_has_memory_for_all_its_processes() -> None:
    found = deployments(render(MINIMAL))
    for queue in QUEUES:
        limit = str(container(found[f"worker-{queue.name}"])["resources"]["limits"]["memory"])
        assert int(limit.removesuffix("Gi")) * 1024 > queue.concurrency * MEMORY_PER_PROCESS


@pytest.mark.parametrize(
    "values",
    [
        {"queues": {"staging": {"resources": {"limits": {"memory": "1 GB"}}}}},
        {"gate": {"resources": {"limit": {"memory": "1Gi"}}}},
        {"settings": SETTINGS | {"AUXIP_STEP_TIMEOUT": "half an hour"}},
        {"settings": SETTINGS | {"AUXIP_ATTEMPTS": 2.5}},
        {"settings": SETTINGS | {"AUXIP_ATTEMPTS": 0}},
        {"settings": SETTINGS | {"AUXIP_CATALOG_FLAVOUR": "stac"}},
        {"settings": SETTINGS | {"AUXIP_ARCHIVE_NESTED_ZIP": "perhaps"}},
        {"settings": SETTINGS | {"AUXIP_S3_SOURCE_BUCKETS": "one,two"}},
        {"image": {"digest": "latest"}},
        {"pods": {"extraEnv": [{"name": "AUXIP_S3_BUCKET", "value": "other"}]}},
        {"pods": {"tmpSize": "much"}},
        {"queues": {"staging": {"sets": {"Not_A_Name": {}}}}},
    ],
    ids=str,
)
def test_a_value_of_another_type_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(HelmValuesError):
        render(MINIMAL | values)


@pytest.mark.parametrize("value", [1800, 90.5, "1800"])
def test_a_number_may_be_text(value: object) -> None:
    assert render(MINIMAL | {"settings": SETTINGS | {"AUXIP_STEP_TIMEOUT": value}})


def test_the_schema_has_the_type_of_every_setting() -> None:
    fields = Settings.model_json_schema()["properties"]
    for name, typed in schema()["properties"]["settings"]["properties"].items():
        field = fields[name.removeprefix(PREFIX).lower()]
        field = next((one for one in field.get("anyOf", []) if one["type"] != "null"), field)
        given = typed.get("oneOf", [typed])[0]
        if field["type"] in ("integer", "number"):
            limits = ("type", "minimum", "maximum", "exclusiveMinimum")
            assert given == {key: field[key] for key in limits if key in field}, name
        else:
            assert given.get("enum") == (
                [True, False, "true", "false"] if field["type"] == "boolean" else field.get("enum")
            ), name


def test_pods_take_connections_only_where_something_is_served() -> None:
    objects = render(MINIMAL | {"networkPolicy": {"enabled": True, "metricsFrom": [{"namespaceSelector": {}}]}})
    require_valid(objects)
    found = {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "NetworkPolicy"}

    assert "ingress" not in found["auxip-auxip-workers-pods"]
    assert found["auxip-auxip-workers-exporter"]["ingress"] == [
        {"ports": [{"port": 9808}], "from": [{"namespaceSelector": {}}]}
    ]
    assert found["auxip-auxip-workers-flower"]["ingress"] == [{"ports": [{"port": 5555}]}]


def test_without_a_network_policy_there_is_none() -> None:
    assert not [each for each in render(MINIMAL) if each["kind"] == "NetworkPolicy"]
