"""The dashboard: delivered with the label that Grafana looks for, and each query has an answer of a real Prometheus."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from helm_python import HelmValuesError
from prometheus_client import CollectorRegistry, start_http_server
from pydantic import SecretStr
from redis import Redis

from local import processes
from local.processes import LOOPBACK, Child, free_ports
from local.valkey import Valkey
from shared.ledger import Audits, DeadLetters, Ledger, Outage, Outages, Sweeps
from shared.models import RunState
from shared.settings import Settings
from tests.deploy.test_chart import CHART, MINIMAL, Object, render, require_valid
from tests.ledger.opened import DONE, Opened, found
from tests.ledger.test_metrics import SWEEPS
from tests.unit.making import settings_of
from workers.sweeps import find_sweep
from workers.telemetry.exporter import COUNTERS, GAUGES, HISTOGRAMS, LedgerCollector

FILE = CHART / "dashboards" / "auxip-workers.json"
DASHBOARD: Object = json.loads(FILE.read_text("utf-8"))
PANELS: list[Object] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [
    pytest.param(target["expr"], id=f"{panel['title']}, {target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]
PROMETHEUS = shutil.which("prometheus")
ON = MINIMAL | {"dashboard": {"enabled": True}}


def config_maps(values: dict[str, Any]) -> list[Object]:
    return [
        each
        for each in render(values)
        if each["kind"] == "ConfigMap" and "grafana_dashboard" in each["metadata"]["labels"]
    ]


def test_the_chart_delivers_the_dashboard_as_the_sidecar_of_grafana_wants_it() -> None:
    (found,) = config_maps(ON)
    require_valid([found])
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {name: json.loads(text) for name, text in found["data"].items()} == {FILE.name: DASHBOARD}


def test_the_chart_delivers_no_dashboard_by_default() -> None:
    assert config_maps(MINIMAL) == []


@pytest.mark.parametrize("wrong", [{"enabled": "yes"}, {"enable": True}])
def test_a_wrong_value_of_the_dashboard_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(HelmValuesError):
        render(MINIMAL | {"dashboard": wrong})


def test_a_query_is_about_metrics_that_are_exported() -> None:
    named = set(re.findall(r"auxip_\w+", " ".join(str(query.values[0]) for query in QUERIES)))
    exported = {f"auxip_{name}" for name in GAUGES} | {f"auxip_{name}_total" for name in COUNTERS}
    assert named <= exported | {f"auxip_{name}_bucket" for name in HISTOGRAMS}


def test_each_panel_has_a_place_of_its_own_and_says_what_it_shows() -> None:
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    assert [panel["title"] for panel in PANELS if not panel["description"]] == []


def test_a_panel_asks_the_data_source_that_is_chosen_above() -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    sources = [each["datasource"]["uid"] for panel in PANELS for each in (panel, *panel["targets"])]
    assert set(sources) == {f"${{{variable['name']}}}"}


class Prometheus:
    """A Prometheus that scrapes one exporter."""

    def __init__(self, folder: Path, target: int) -> None:
        (port,) = free_ports(1)
        scrape = {"job_name": "auxip", "static_configs": [{"targets": [f"{LOOPBACK}:{target}"]}]}
        config = {"global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"}, "scrape_configs": [scrape]}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        argv = [str(PROMETHEUS), "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
        argv += [f"--web.listen-address={LOOPBACK}:{port}"]
        self.url = f"http://{LOOPBACK}:{port}/api/v1/query"
        self._moment: dict[str, str] = {}
        self.child: Child = processes.start("prometheus", argv, {}, folder, folder / "prometheus.log")
        processes.wait_until(self._has_scraped, self.child, 30)

    def answer(self, query: str) -> list[Object]:
        """Return the series that a query of the dashboard has; an error of its syntax is raised.

        Each query is about the same moment: a scrape that times out on a busy machine ends the series for a while.
        """
        asked = {"query": query.replace("$__rate_interval", "1m"), **self._moment}
        answer = httpx.get(self.url, params=asked, timeout=10)
        assert answer.status_code == 200, answer.text
        series: list[Object] = answer.json()["data"]["result"]
        return series

    def _has_scraped(self) -> bool:
        """Whether there are samples enough for a rate, and the last scrape went well."""
        try:
            found = self.answer("sum_over_time(auxip_ledger_up[1m]) >= 2 and auxip_ledger_up == 1")
        except (httpx.TransportError, AssertionError):  # it answers 503 until it has started
            return False
        if found:
            self._moment = {"time": str(found[0]["value"][0])}
        return bool(found)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has scraped an exporter of ours, whose ledger has something of everything."""
    if PROMETHEUS is None:
        pytest.skip("prometheus is not installed (Debian's package prometheus)")
    folders = [tmp_path_factory.mktemp(name) for name in ("valkey", "prometheus")]
    with ExitStack() as stack:
        valkey = Valkey(folders[0], free_ports(1)[0], "password", "everysec")
        stack.callback(valkey.child.stop, 5)
        valkey.wait(20)
        settings = settings_with_sweeps(valkey.url, folders[1])
        with Redis.from_url(valkey.url, decode_responses=True) as redis:
            fill(Ledger(redis, keep_days=30, window=200, patience=120), settings)
        registry = CollectorRegistry()
        registry.register(LedgerCollector(settings))
        server, thread = start_http_server(0, LOOPBACK, registry)
        stack.callback(server.server_close)
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        started = Prometheus(folders[1], server.server_port)
        stack.callback(started.child.stop, 5)
        yield started


def settings_with_sweeps(url: str, folder: Path) -> Settings:
    (folder / "sweeps.toml").write_text(SWEEPS)
    (folder / "stations.toml").write_text('[station.adgs]\nurl = "https://station.example/stac"\n')
    files = {"sweeps_file": folder / "sweeps.toml", "stations_file": folder / "stations.toml"}
    return settings_of(redis_url=SecretStr(url), **files)


def fill(ledger: Ledger, settings: Settings) -> None:
    """Write an open run, a closed one, a sweep's, an audit's findings, a dead letter and an outage."""
    run = Opened(ledger, found("A"), found("B"))
    counts = {
        ("items", "owner", "adgs", "failed", "too-large"): 1.0,
        ("bytes", "owner", "adgs"): 9.0,
        ("retries", "owner", "adgs"): 2.0,
        ("claims_lapsed", "lost"): 1.0,
        ("stage_seconds", "staging", "1.0"): 1.0,
        ("timeliness_seconds", "adgs", "900.0"): 1.0,
    }
    ledger.settle(run.item(), DONE, counts=counts)
    tick = find_sweep(settings, "orbits").tick(datetime.now(UTC))
    Sweeps(ledger).begin(tick)
    ledger.close_run(tick.run_id, RunState.PARTIAL, counts={("runs", "owner", "staging", "partial", ""): 1})
    Audits(ledger.redis, 86_400).end("nightly", json.dumps({"phantom": 3, "ended": time.time()}))
    DeadLetters(ledger.redis, 10_000).park("message", b"x", "bad-message", "a reason", "a.list")
    away = Outage(since=time.time() - 60, probed=0, fault="unavailable", code="c", reason="r")
    Outages(ledger.redis).record_down("catalog", away, 600)


@pytest.mark.long
@pytest.mark.parametrize("query", QUERIES)
def test_prometheus_has_an_answer_to_each_query(prometheus: Prometheus, query: str) -> None:
    assert prometheus.answer(query)


@pytest.mark.long
def test_a_query_that_is_wrong_is_seen(prometheus: Prometheus) -> None:
    assert prometheus.answer("max(auxip_runs_opened)") == []
    with pytest.raises(AssertionError, match="parse error"):
        prometheus.answer("max(auxip_runs_open")
