"""The chart: renders to valid objects, equals the table of queues, and holds no secret of its own."""

import json
import math
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, get_args

import helm_python
import kubernetes_validate  # type: ignore[import-untyped]  # ships neither annotations nor stubs
import pytest
import yaml
from helm_python import Chart, HelmRenderError, HelmValuesError

from shared.settings import SECRETS_DIR, Settings
from workers.cli.gate import gate
from workers.presence import ALIVE, READY
from workers.queues import QUEUES, SHORT_GRACE, Pool, Queue
from workers.sweeps.ticking import BEAT_ALIVE, BEAT_READY

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "auxip-workers"
SETTINGS: dict[str, Any] = {
    "AUXIP_CATALOG_URL": "https://catalog.example/stac",
    "AUXIP_S3_ENDPOINT": "https://s3.example",
    "AUXIP_S3_BUCKET": "bucket",
}
OWNERS = '[owner.operations]\nbucket = "operations"\n'
STATIONS = '[station.adgs]\nurl = "https://station.example/stac"\n'
MINIMAL: dict[str, Any] = {"existingSecret": "auxip", "settings": SETTINGS, "stations": STATIONS}
SWEEPS = '[sweep.daily]\nevery = "1d"\n'
QUERIES = json.dumps([{"name": "Published"}], indent=1)
FULL = MINIMAL | {
    "sweeps": SWEEPS,
    "queries": QUERIES,
    "imagePullSecrets": [{"name": "registry"}],
    "queues": {"decompress": {"nodeSelector": {"disk": "fast"}, "tolerations": [{"key": "cpu", "operator": "Exists"}]}},
}
Object = dict[str, Any]
ROLES = [*(f"worker-{queue.name}" for queue in QUEUES), "gate", "beat", "exporter", "flower"]


def render(values: dict[str, Any]) -> list[Object]:
    with Chart.load(CHART) as chart:
        manifests = chart.render(values, name="auxip", namespace="there")
    texts = (text for path, text in manifests.items() if not path.endswith("NOTES.txt"))
    return [found for text in texts for found in yaml.safe_load_all(text) if found]


def deployments(objects: list[Object]) -> dict[str, Object]:
    """Return the Deployments by their component: worker-QUEUE, gate, beat, exporter or flower."""
    found = (each for each in objects if each["kind"] == "Deployment")
    return {each["metadata"]["labels"]["app.kubernetes.io/component"]: each for each in found}


def pod(deployment: Object) -> Object:
    spec: Object = deployment["spec"]["template"]["spec"]
    return spec


def container(deployment: Object) -> Object:
    (only,) = pod(deployment)["containers"]
    found: Object = only
    return found


def config_data(objects: list[Object], component: str) -> dict[str, str]:
    maps = {each["metadata"]["name"]: each for each in objects if each["kind"] == "ConfigMap"}
    data: dict[str, str] = maps[f"auxip-auxip-workers-{component}"]["data"]
    return data


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    return found


def settings_in_schema() -> set[str]:
    return set(schema()["properties"]["settings"]["properties"])


def secret_keys_in_values() -> set[str]:
    return set(re.findall(r"^#   (auxip_[a-z0-9_]+)", (CHART / "values.yaml").read_text(), flags=re.MULTILINE))


def texts() -> Iterator[str]:
    return (path.read_text() for path in CHART.rglob("*") if path.is_file())


def profile(name: str) -> dict[str, Any]:
    """Return the values of a profile with what every deployment must say."""
    given: dict[str, Any] = yaml.safe_load((CHART / "profiles" / f"{name}.yaml").read_text())
    return MINIMAL | given | {"settings": SETTINGS | given.get("settings", {})}


def require_valid(objects: list[Object]) -> None:
    """Make sure that every object of Kubernetes itself is valid; those of operators have tests of their own."""
    for found in objects:
        if found["apiVersion"].split("/")[0] not in ("keda.sh", "monitoring.coreos.com"):
            kubernetes_validate.validate(found, kubernetes_validate.latest_version(), strict=True)


@pytest.fixture(scope="module")
def minimal() -> list[Object]:
    return render(MINIMAL)


@pytest.fixture(scope="module")
def roles(minimal: list[Object]) -> dict[str, Object]:
    return deployments(minimal)


def test_lint_finds_no_more_than_the_missing_icon() -> None:
    report = helm_python.lint(CHART, MINIMAL, strict=True)
    assert report["errors"] == []
    assert [message["error"] for message in report["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("values", [MINIMAL, FULL], ids=["minimal", "full"])
def test_every_object_is_valid_kubernetes(values: dict[str, Any]) -> None:
    require_valid(render(values))


@pytest.mark.parametrize("name", ["small", "production", "rs-server"])
def test_every_object_of_a_profile_is_valid_kubernetes(name: str) -> None:
    values = profile(name)
    assert helm_python.lint(CHART, values, strict=True)["errors"] == []
    require_valid(render(values))


def test_the_profiles_are_those_that_are_tested() -> None:
    assert sorted(path.stem for path in (CHART / "profiles").iterdir()) == ["production", "rs-server", "small"]


def test_the_chart_is_of_the_project_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == project["version"]


def test_a_missing_secret_is_named() -> None:
    with pytest.raises(HelmRenderError, match="existingSecret must name a Secret with auxip_redis_url"):
        render(MINIMAL | {"existingSecret": ""})


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_missing_setting_is_named(name: str) -> None:
    with pytest.raises(HelmRenderError, match=rf"settings\.{name} must be set"):
        render(MINIMAL | {"settings": SETTINGS | {name: ""}})


def test_no_secret_is_rendered(minimal: list[Object]) -> None:
    assert [found for found in minimal if found["kind"] == "Secret"] == []


def test_there_is_one_deployment_per_queue_and_of_each_other_role(roles: dict[str, Object]) -> None:
    assert sorted(roles) == sorted(ROLES)


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)
def test_a_worker_runs_as_the_table_says(roles: dict[str, Object], queue: Queue) -> None:
    arguments = container(roles[f"worker-{queue.name}"])["args"]
    told = [option(arguments, name) for name in ("--queues", "--pool", "--concurrency", "--hostname")]
    assert told == [",".join(queue.lists), queue.pool, str(queue.concurrency), f"{queue.name}@%h"]


def test_a_queue_can_be_switched_off() -> None:
    left = deployments(render(MINIMAL | {"queues": {"search": {"enabled": False}}}))
    assert sorted(left) == sorted(set(ROLES) - {"worker-search"})


def test_a_queue_is_given_its_replicas() -> None:
    found = deployments(render(MINIMAL | {"queues": {"staging": {"replicas": 7}}}))
    assert found["worker-staging"]["spec"]["replicas"] == 7


def test_a_queue_is_given_its_nodes() -> None:
    found = pod(deployments(render(FULL))["worker-decompress"])
    assert (found["nodeSelector"], found["tolerations"]) == (
        {"disk": "fast"},
        [{"key": "cpu", "operator": "Exists"}],
    )


def test_an_unknown_pool_is_refused() -> None:
    with pytest.raises(HelmValuesError, match="/queues/search/pool"):
        render(MINIMAL | {"queues": {"search": {"pool": "eventlet"}}})


def test_the_schema_has_the_pools_of_the_table() -> None:
    assert schema()["definitions"]["queue"]["properties"]["pool"]["enum"] == list(get_args(Pool))


def test_an_unknown_queue_is_refused() -> None:
    with pytest.raises(HelmValuesError, match="serach"):
        render(MINIMAL | {"queues": {"serach": {"replicas": 2}}})


def test_the_schema_has_the_queues_of_the_table() -> None:
    assert list(schema()["properties"]["queues"]["properties"]) == [queue.name for queue in QUEUES]


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(HelmValuesError, match="AUXIP_S3_BUKET"):
        render(MINIMAL | {"settings": SETTINGS | {"AUXIP_S3_BUKET": "bucket"}})


@pytest.mark.parametrize("name", sorted(secret_keys_in_values()))
def test_a_secret_among_the_settings_is_refused(name: str) -> None:
    with pytest.raises(HelmValuesError, match=name.upper()):
        render(MINIMAL | {"settings": SETTINGS | {name.upper(): "hush"}})


def test_every_setting_has_one_place_in_the_values() -> None:
    files = ["AUXIP_STATIONS_FILE", "AUXIP_SWEEPS_FILE", "AUXIP_OWNERS_FILE", "AUXIP_QUERIES_FILE"]
    places = [*settings_in_schema(), *(name.upper() for name in secret_keys_in_values()), *files]
    assert sorted(places) == sorted(f"AUXIP_{name.upper()}" for name in Settings.model_fields)


def test_every_auxip_name_is_a_setting() -> None:
    names = {name for text in texts() for name in re.findall(r"\bAUXIP_[A-Z0-9_]*[A-Z0-9]", text)}
    assert names <= {f"AUXIP_{name.upper()}" for name in Settings.model_fields} | {SECRETS_DIR}


def test_a_large_number_is_written_without_an_exponent() -> None:
    objects = render(MINIMAL | {"settings": SETTINGS | {"AUXIP_MAX_ASSET_BYTES": 2**36}})
    assert config_data(objects, "settings")["AUXIP_MAX_ASSET_BYTES"] == "68719476736"


def test_stations_that_are_missing_are_asked_for() -> None:
    with pytest.raises(HelmRenderError, match="stations must be the TOML of the AUXIP stations"):
        render(MINIMAL | {"stations": ""})


@pytest.mark.parametrize("role", ROLES)
def test_stations_are_a_file_that_the_setting_names(minimal: list[Object], roles: dict[str, Object], role: str) -> None:
    mounts = {mount["name"]: mount["mountPath"] for mount in container(roles[role])["volumeMounts"]}
    assert config_data(minimal, "settings")["AUXIP_STATIONS_FILE"] == f"{mounts['files']}/stations.toml"


def test_stations_are_the_toml_of_the_values(minimal: list[Object]) -> None:
    text = config_data(minimal, "files")["stations.toml"]
    assert tomllib.loads(text) == {"station": {"adgs": {"url": "https://station.example/stac"}}}


def test_sweeps_are_a_file_that_the_setting_names() -> None:
    objects = render(MINIMAL | {"sweeps": SWEEPS})
    mounts = {mount["name"]: mount["mountPath"] for mount in container(deployments(objects)["beat"])["volumeMounts"]}
    assert config_data(objects, "settings")["AUXIP_SWEEPS_FILE"] == f"{mounts['files']}/sweeps.toml"


def test_sweeps_are_the_toml_of_the_values() -> None:
    text = config_data(render(MINIMAL | {"sweeps": SWEEPS}), "files")["sweeps.toml"]
    assert tomllib.loads(text) == {"sweep": {"daily": {"every": "1d"}}}


def test_owners_are_a_file_that_the_setting_names_in_every_pod() -> None:
    objects = render(MINIMAL | {"owners": OWNERS})
    for role in deployments(objects).values():
        mounts = {mount["name"]: mount["mountPath"] for mount in container(role)["volumeMounts"]}
        assert config_data(objects, "settings")["AUXIP_OWNERS_FILE"] == f"{mounts['files']}/owners.toml"
    assert tomllib.loads(config_data(objects, "files")["owners.toml"]) == tomllib.loads(OWNERS)


def test_without_owners_there_is_no_such_setting(minimal: list[Object]) -> None:
    assert "AUXIP_OWNERS_FILE" not in config_data(minimal, "settings")


def test_without_sweeps_there_is_no_such_setting(minimal: list[Object]) -> None:
    assert "AUXIP_SWEEPS_FILE" not in config_data(minimal, "settings")


def test_named_queries_are_a_file_that_the_setting_of_every_worker_names() -> None:
    objects = render(MINIMAL | {"queries": QUERIES})
    deployed = deployments(objects)
    for queue in ("runs", "search"):
        mounts = {each["name"]: each["mountPath"] for each in container(deployed[f"worker-{queue}"])["volumeMounts"]}
        assert config_data(objects, "settings")["AUXIP_QUERIES_FILE"] == f"{mounts['files']}/queries.json"
    assert json.loads(config_data(objects, "files")["queries.json"]) == json.loads(QUERIES)


def test_without_named_queries_there_is_no_such_setting(minimal: list[Object]) -> None:
    assert "AUXIP_QUERIES_FILE" not in config_data(minimal, "settings")


def test_beat_is_alone_and_never_overlaps_itself(roles: dict[str, Object]) -> None:
    spec = roles["beat"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_flower_can_be_switched_off() -> None:
    names = [found["metadata"]["name"] for found in render(MINIMAL | {"flower": {"enabled": False}})]
    assert [name for name in names if "flower" in name] == []


def test_flower_can_only_be_looked_at(roles: dict[str, Object]) -> None:
    assert "--read-only" in container(roles["flower"])["args"]


def test_flower_takes_its_password_from_the_secret(roles: dict[str, Object]) -> None:
    variables = {each["name"]: each for each in container(roles["flower"])["env"]}
    wanted = {"secretKeyRef": {"name": "auxip", "key": "flower_basic_auth"}}
    assert variables["FLOWER_BASIC_AUTH"]["valueFrom"] == wanted


@pytest.mark.parametrize("name", ["exporter", "flower"])
def test_a_service_selects_one_role_only(minimal: list[Object], roles: dict[str, Object], name: str) -> None:
    (service,) = (
        each
        for each in minimal
        if (each["kind"], each["metadata"]["name"]) == ("Service", f"auxip-auxip-workers-{name}")
    )
    labels = {role: roles[role]["spec"]["template"]["metadata"]["labels"] for role in roles}
    assert [role for role, has in labels.items() if service["spec"]["selector"].items() <= has.items()] == [name]


SCALED = MINIMAL | {"queues": {"decompress": {"scaling": {"minReplicas": 0, "maxReplicas": 9}}}}


def test_a_queue_that_scales_has_no_replicas_of_its_own() -> None:
    found = deployments(render(SCALED))
    assert "replicas" not in found["worker-decompress"]["spec"]
    assert found["worker-staging"]["spec"]["replicas"] == 2


def test_a_queue_scales_by_what_waits_and_is_in_work() -> None:
    (scaler,) = (found for found in render(SCALED) if found["kind"] == "ScaledObject")
    assert scaler["spec"]["scaleTargetRef"] == {"name": "auxip-auxip-workers-worker-decompress"}
    assert (scaler["spec"]["minReplicaCount"], scaler["spec"]["maxReplicaCount"]) == (0, 9)
    (trigger,) = scaler["spec"]["triggers"]
    assert trigger["metadata"] == {
        "url": "http://auxip-auxip-workers-exporter.there:9808/metrics",
        "format": "prometheus",
        "valueLocation": 'auxip_queue_load{queue="decompress"}',
        "targetValue": "2",
    }


def test_scaling_without_the_exporter_is_refused() -> None:
    with pytest.raises(HelmRenderError, match=r"queues\.decompress\.scaling needs exporter\.enabled"):
        render(SCALED | {"exporter": {"enabled": False}})


@pytest.mark.parametrize("role", ROLES)
def test_a_pod_is_confined(roles: dict[str, Object], role: str) -> None:
    around, inside = pod(roles[role])["securityContext"], container(roles[role])["securityContext"]
    assert around["runAsNonRoot"]
    assert around["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inside == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("role", ROLES)
def test_a_pod_runs_as_the_user_of_the_image(roles: dict[str, Object], role: str) -> None:
    context = pod(roles[role])["securityContext"]
    assert f"USER {context['runAsUser']}:{context['runAsGroup']}\n" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("role", ROLES)
def test_a_pod_is_given_no_token_of_the_cluster(roles: dict[str, Object], role: str) -> None:
    assert pod(roles[role])["automountServiceAccountToken"] is False


@pytest.mark.parametrize("role", ROLES)
def test_a_pod_is_given_no_variables_of_other_services(roles: dict[str, Object], role: str) -> None:
    """A Service named auxip-x would set AUXIP_X_PORT, and the settings refuse a name that they do not know."""
    assert pod(roles[role])["enableServiceLinks"] is False


@pytest.mark.parametrize("role", ROLES)
def test_a_pod_finds_the_secret_where_the_settings_look(roles: dict[str, Object], role: str) -> None:
    volumes = {volume["name"]: volume for volume in pod(roles[role])["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container(roles[role])["volumeMounts"]}
    assert (volumes["secrets"]["secret"]["secretName"], mounts["secrets"]) == ("auxip", "/run/secrets")


@pytest.mark.parametrize("role", ROLES)
def test_a_changed_setting_restarts_a_pod(roles: dict[str, Object], role: str) -> None:
    changed = deployments(render(MINIMAL | {"settings": SETTINGS | {"AUXIP_S3_BUCKET": "other"}}))
    before, after = (each[role]["spec"]["template"]["metadata"]["annotations"] for each in (roles, changed))
    assert before != after


def graces(values: Object) -> dict[str, int]:
    """The seconds that each pod is given between SIGTERM and SIGKILL."""
    return {role: pod(found)["terminationGracePeriodSeconds"] for role, found in deployments(render(values)).items()}


def expected(step_timeout: float, short: int = SHORT_GRACE) -> dict[str, int]:
    own = {f"worker-{queue.name}": math.ceil(step_timeout) for queue in QUEUES if queue.grace is None}
    return dict.fromkeys(ROLES, short) | own


def test_a_pod_has_the_grace_of_its_queue() -> None:
    assert graces(MINIMAL) == expected(Settings.model_fields["step_timeout"].default)


@pytest.mark.parametrize("timeout", ["7200", 7200, "2400.5"])
def test_a_longer_step_gives_a_longer_grace(timeout: object) -> None:
    changed = MINIMAL | {"settings": SETTINGS | {"AUXIP_STEP_TIMEOUT": timeout}}
    assert graces(changed) == expected(float(str(timeout)))


def test_the_grace_of_the_others_can_be_raised_and_no_other_is_shorter() -> None:
    assert graces(MINIMAL | {"terminationGracePeriodSeconds": 99}) == expected(1800, short=99)
    assert graces(MINIMAL | {"terminationGracePeriodSeconds": 2000}) == expected(2000, short=2000)


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)
def test_sigterm_is_not_remapped_as_workers_stop_on_it_by_themselves(roles: dict[str, Object], queue: Queue) -> None:
    assert "REMAP_SIGTERM" not in {each["name"] for each in container(roles[f"worker-{queue.name}"]).get("env", ())}


def probe_command(found: Object, probe: str) -> str:
    return str(container(found)[probe]["exec"]["command"][-1])


@pytest.mark.parametrize("role", [*(f"worker-{queue.name}" for queue in QUEUES), "beat"])
def test_a_worker_and_beat_are_ready_and_alive_while_they_touch_their_files(
    roles: dict[str, Object], role: str
) -> None:
    assert f"find /tmp -maxdepth 1 -name 'auxip-*{READY}' " in probe_command(roles[role], "readinessProbe")
    assert f"find /tmp -maxdepth 1 -name 'auxip-*{ALIVE}' " in probe_command(roles[role], "livenessProbe")


def test_the_files_of_beat_are_called_as_those_of_a_worker() -> None:
    assert fnmatch(BEAT_READY, f"auxip-*{READY}")
    assert fnmatch(BEAT_ALIVE, f"auxip-*{ALIVE}")


def test_a_gate_is_our_command_with_options_that_it_knows(roles: dict[str, Object]) -> None:
    found = container(roles["gate"])
    known = {name for parameter in gate.params for name in parameter.opts}
    assert found["command"] == ["auxip", "gate"]
    assert {word for word in found["args"] if word.startswith("--")} <= known


@pytest.mark.parametrize("probe", ["readinessProbe", "livenessProbe"])
def test_a_probe_of_a_gate_looks_at_the_file_that_it_touches(roles: dict[str, Object], probe: str) -> None:
    found = container(roles["gate"])
    file = option(found["args"], "--alive")
    assert f"find {file} " in found[probe]["exec"]["command"][-1]
    assert file.startswith({mount["name"]: mount["mountPath"] for mount in found["volumeMounts"]}["tmp"])


def test_there_may_be_any_number_of_gates() -> None:
    assert deployments(render(MINIMAL | {"gate": {"replicas": 3}}))["gate"]["spec"]["replicas"] == 3
    assert "gate" not in deployments(render(MINIMAL | {"gate": {"enabled": False}}))


def test_the_values_stay_short() -> None:
    assert len((CHART / "values.yaml").read_text().splitlines()) < 150
