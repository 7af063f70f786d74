"""The alerts of the chart: each is about metrics that are exported, has a page, and goes off when it must."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.test_chart import MINIMAL, ROOT, Object, render
from workers.telemetry.exporter import COUNTERS, GAUGES, HISTOGRAMS

MONITORED = MINIMAL | {"monitoring": {"serviceMonitor": True, "rules": True, "labels": {"release": "prometheus"}}}
RUNBOOKS = ROOT / "docs" / "runbooks"
PROMTOOL = shutil.which("promtool")


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    return render(MONITORED)


@pytest.fixture(scope="module")
def rules(objects: list[Object]) -> list[Object]:
    (rule,) = (each for each in objects if each["kind"] == "PrometheusRule")
    (group,) = rule["spec"]["groups"]
    found: list[Object] = group["rules"]
    return found


def test_without_monitoring_there_are_no_objects_of_the_operator() -> None:
    assert not [each for each in render(MINIMAL) if each["apiVersion"].startswith("monitoring.coreos.com")]


def test_a_monitor_selects_the_service_of_the_exporter(objects: list[Object]) -> None:
    (monitor,) = (each for each in objects if each["kind"] == "ServiceMonitor")
    (service,) = (
        each for each in objects if each["kind"] == "Service" and each["metadata"]["name"].endswith("exporter")
    )
    (endpoint,) = monitor["spec"]["endpoints"]

    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_an_alert_is_about_metrics_that_are_exported(rules: list[Object]) -> None:
    named = {name for rule in rules for name in re.findall(r"auxip_\w+", rule["expr"])}
    gauges = {f"auxip_{name}" for name in GAUGES}
    counters = {f"auxip_{name}_total" for name in COUNTERS}
    assert named <= gauges | counters | {f"auxip_{name}_bucket" for name in HISTOGRAMS}


def test_each_alert_has_a_page_and_each_page_an_alert(rules: list[Object]) -> None:
    assert sorted(path.stem for path in RUNBOOKS.iterdir()) == sorted(rule["alert"] for rule in rules)
    for rule in rules:
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"
        assert "## What to do" in (RUNBOOKS / f"{rule['alert']}.md").read_text()


def test_a_page_is_found_where_the_operator_has_the_pages() -> None:
    values = MINIMAL | {"monitoring": {"rules": True, "runbooks": "https://docs.example/"}}
    (rule,) = (each for each in render(values) if each["kind"] == "PrometheusRule")
    assert rule["spec"]["groups"][0]["rules"][0]["annotations"]["runbook_url"].startswith("https://docs.example/Auxip")


WRONG: dict[str, dict[str, str]] = {
    "AuxipLedgerAway": {"auxip_ledger_up": "0x240"},
    "AuxipExporterAway": {},
    "AuxipSystemAway": {'auxip_system_unavailable_seconds{system="catalog",fault="unavailable"}': "0+60x240"},
    "AuxipQueueStalled": {
        'auxip_queue_oldest_seconds{queue="staging",lane="bulk"}': "0+60x240",
        'auxip_queue_waiting{queue="staging",lane="bulk"}': "3x240",
    },
    "AuxipRunOld": {"auxip_run_oldest_seconds": "86000+60x240"},
    "AuxipItemsFail": {
        'auxip_items_total{station="adgs",outcome="failed",owner="a",code="x"}': "0+2x240",
        'auxip_items_total{station="adgs",outcome="staged",owner="a",code=""}': "0+8x240",
    },
    "AuxipDeadLetters": {"auxip_dead_letters": "0+1x240"},
    "AuxipProductsLate": {
        'auxip_timeliness_seconds_bucket{station="adgs",le="3600"}': "0+1x240",
        'auxip_timeliness_seconds_bucket{station="adgs",le="86400"}': "0+9x240",
        'auxip_timeliness_seconds_bucket{station="adgs",le="+Inf"}': "0+9x240",
    },
}
"""By alert, what Prometheus sees each minute when something is wrong."""

WELL = {
    "auxip_ledger_up": "1x240",
    'auxip_queue_oldest_seconds{queue="staging",lane="bulk"}': "20x240",
    'auxip_queue_waiting{queue="staging",lane="bulk"}': "3x240",
    "auxip_run_oldest_seconds": "900x240",
    'auxip_items_total{station="adgs",outcome="failed",owner="a",code="x"}': "0+0.1x240",
    'auxip_items_total{station="adgs",outcome="staged",owner="a",code=""}': "0+8x240",
    "auxip_dead_letters": "7x240",
    'auxip_timeliness_seconds_bucket{station="adgs",le="3600"}': "0+9x240",
    'auxip_timeliness_seconds_bucket{station="adgs",le="+Inf"}': "0+9x240",
}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian's package prometheus)")
@pytest.mark.parametrize("name", sorted(WRONG))
def test_an_alert_goes_off_and_no_other_does(rules: list[Object], tmp_path: Path, name: str) -> None:
    others = {} if name == "AuxipExporterAway" else {"auxip_ledger_up": "1x240"}
    assert play(rules, others | WRONG[name], tmp_path) == {name}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian's package prometheus)")
def test_no_alert_goes_off_when_all_is_well(rules: list[Object], tmp_path: Path) -> None:
    assert play(rules, WELL, tmp_path) == set()


def play(rules: list[Object], series: dict[str, str], folder: Path) -> set[str]:
    """Return the alerts that Prometheus has firing after three hours of these series."""
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "auxip", "rules": rules}]}))
    wanted: list[dict[str, Any]] = [
        {
            "expr": f'count by (alertname) (ALERTS{{alertname="{rule["alert"]}",alertstate="firing"}})',
            "eval_time": "3h",
        }
        for rule in rules
    ]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": wanted,
    }
    (folder / "test.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": [test]}))
    argv = [str(PROMTOOL), "test", "rules", "test.yaml"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    # Each expression is said to have nothing, so what fires is what the test complains of.
    return set(re.findall(r'got:.*?alertname="(\w+)"', done.stdout + done.stderr, re.DOTALL))
