"""The profile `monitoring` of the compose file: Prometheus and Grafana, only when asked for, and not wide open."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.test_compose import EVERYTHING, ROOT, Services, config_of

MONITORED = EVERYTHING | {"GRAFANA_PASSWORD": "hush-grafana"}
NAMES = ["grafana", "prometheus"]
PROMTOOL = shutil.which("promtool")


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return config_of(MONITORED | {"COMPOSE_PROFILES": "monitoring"})


@pytest.fixture(scope="module")
def services(config: dict[str, Any]) -> Services:
    found: Services = config["services"]
    return found


def mounted(config: dict[str, Any], service: str) -> dict[str, Path]:
    """The files of this repository that a service finds, by where it finds them."""
    mounts = config["services"][service]["configs"]
    return {mount["target"]: Path(config["configs"][mount["source"]]["file"]) for mount in mounts}


def test_without_the_profile_neither_starts_and_no_password_is_needed() -> None:
    assert config_of(EVERYTHING)["services"].keys() & set(NAMES) == set()


@pytest.mark.parametrize("name", NAMES)
def test_it_is_confined_as_the_others_are(services: Services, name: str) -> None:
    service = services[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"].split(":")[0].isdecimal()
    assert service["user"].split(":")[0] != "0"
    assert int(service["mem_limit"]) <= 2 * 2**30
    assert service["healthcheck"]["test"]
    assert service["image"].partition(":")[2][-1:].isdigit()


def test_prometheus_reaches_the_exporter_and_nothing_else(services: Services) -> None:
    assert set(services["prometheus"]["networks"]) == {"metrics"}
    on_it = {name for name, service in services.items() if "metrics" in (service.get("networks") or {})}
    assert on_it == {"exporter", "grafana", "prometheus"}


def test_only_grafana_has_a_port_and_only_on_loopback(services: Services) -> None:
    ports = {name: [(port["host_ip"], port["target"]) for port in services[name].get("ports", [])] for name in NAMES}
    assert ports == {"grafana": [("127.0.0.1", 3000)], "prometheus": []}


def test_prometheus_scrapes_the_exporter_where_it_listens(config: dict[str, Any]) -> None:
    file = mounted(config, "prometheus")["/etc/prometheus/prometheus.yml"]
    (scrape,) = yaml.safe_load(file.read_text())["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": ["exporter:9808"]}]
    assert "--config.file=/etc/prometheus/prometheus.yml" in config["services"]["prometheus"]["command"]


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian's package prometheus)")
def test_prometheus_accepts_its_configuration() -> None:
    argv = [str(PROMTOOL), "check", "config", str(ROOT / "monitoring" / "prometheus.yml")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr


def test_grafana_finds_prometheus_and_the_dashboard_of_the_chart(config: dict[str, Any]) -> None:
    files = mounted(config, "grafana")
    (source,) = yaml.safe_load(files["/etc/grafana/provisioning/datasources/auxip.yml"].read_text())["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    (folder,) = yaml.safe_load(files["/etc/grafana/provisioning/dashboards/auxip.yml"].read_text())["providers"]
    found = files[f"{folder['options']['path']}/auxip-workers.json"]
    assert json.loads(found.read_text())["title"] == "auxip-workers"


def test_what_they_store_is_on_named_volumes(services: Services) -> None:
    assert {name: services[name]["volumes"][0]["source"] for name in NAMES} == {name: name for name in NAMES}


def test_the_password_of_grafana_is_a_file_and_nowhere_else(services: Services) -> None:
    grafana = services["grafana"]
    (secret,) = grafana["secrets"]
    assert grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"] == secret["target"]
    assert "hush-grafana" not in json.dumps(services)


@pytest.mark.parametrize(("password", "starts"), [("", False), (None, False), ("hush", True)])
def test_grafana_does_not_start_without_a_password(
    services: Services, tmp_path: Path, password: str | None, starts: bool
) -> None:
    start = tmp_path / "run.sh"
    start.write_text("#!/bin/sh\necho started\n")
    start.chmod(0o755)
    if password is not None:
        (tmp_path / "grafana_password").write_text(password)
    script = services["grafana"]["command"][0].replace("$$", "$")
    script = script.replace("/run/secrets", str(tmp_path)).replace("exec /run.sh", f"exec {start}")
    argv = [*services["grafana"]["entrypoint"], script]
    done = subprocess.run(argv, env={"PATH": os.defpath}, capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode == 0, done.stdout == "started\n") == (starts, starts)


def test_neither_asks_anybody_about_updates(services: Services) -> None:
    environment = services["grafana"]["environment"]
    assert {environment[name] for name in environment if name.startswith("GF_ANALYTICS")} == {"false"}
    assert environment["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"
