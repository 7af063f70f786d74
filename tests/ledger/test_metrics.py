"""What the exporter reads from the ledger: right however many processes have written it, and bounded."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.core import Metric
from pydantic import SecretStr
from redis import Redis

from local.valkey import Valkey
from shared.ledger import Audits, DeadLetters, Ledger, Sweeps, Watermarks, watermark_key
from shared.models import ItemState, Outcome, RunState
from shared.settings import Settings
from tests.ledger.opened import DONE, REQUEST, Opened, found
from tests.unit.making import settings_of
from workers.sweeps import find_sweep
from workers.telemetry import bounded as bounds
from workers.telemetry.bounded import bounded
from workers.telemetry.exporter import LedgerCollector

SWEEPS = """
[sweep.published]
every = "1h"
owner = "operations"
collection = "aux"
by = "publication"
product_types = ["A"]
lag = "10m"

[sweep.orbits]
every = "1h"
owner = "operations"
collection = "aux"
product_types = ["A"]
start = "-3h"
end = "0h"

[audit.nightly]
every = "1d"
collection = "aux"
"""
Values = dict[tuple[str, ...], float]


@pytest.fixture
def redis(valkey: Valkey) -> Iterator["Redis"]:
    with Redis.from_url(valkey.url, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture
def settings(valkey: Valkey, redis: "Redis", tmp_path: Path) -> Settings:
    (tmp_path / "sweeps.toml").write_text(SWEEPS)
    (tmp_path / "stations.toml").write_text('[station.adgs]\nurl = "https://station.example/stac"\n')
    files = {"sweeps_file": tmp_path / "sweeps.toml", "stations_file": tmp_path / "stations.toml"}
    return settings_of(redis_url=SecretStr(valkey.url), **files)


def values(settings: Settings, name: str) -> Values:
    """The series of one metric, by the values of their labels."""
    (metric,) = (each for each in LedgerCollector(settings).collect() if each.name == f"auxip_{name}")
    return series(metric)


def series(metric: Metric) -> Values:
    return {tuple(sample.labels.values()): sample.value for sample in metric.samples}


def test_dead_letters_are_counted_by_their_code(settings: Settings, redis: "Redis") -> None:
    letters = DeadLetters(redis, 10_000)
    for code in ["bad-message", "download-failed", "bad-message"]:
        letters.park("message", b"x", code, "a reason", "a.list")
    assert values(settings, "dead_letters_by_code") == {("bad-message",): 2, ("download-failed",): 1}


def test_more_dead_letters_than_a_page_are_all_counted(settings: Settings, redis: "Redis") -> None:
    with redis.pipeline() as pipe:
        for number in range(2500):
            pipe.xadd("auxip:dead", {"kind": "message", "code": "xy"[number % 2], "reason": "", "where": "", "size": 0})
        pipe.execute()
    assert values(settings, "dead_letters_by_code") == {("x",): 1250, ("y",): 1250}


def test_items_of_open_runs_are_counted_by_how_they_ended(settings: Settings, ledger: Ledger) -> None:
    run = Opened(ledger, found("A"), found("B"), found("C"))
    closed = Opened(ledger, found("D"))
    run.begin()
    ledger.settle(run.item(0), DONE)
    ledger.settle(run.item(1), Outcome(state=ItemState.FAILED, code="no-asset", reason="r"))
    ledger.close_run(closed.id, RunState.FAILED)
    ends = {("staged",): 1, ("repaired",): 0, ("skipped",): 0, ("failed",): 1}
    assert values(settings, "open_items") == {("open",): 1} | ends


def test_a_sweep_is_behind_by_what_lies_between_its_watermark_and_its_lag(settings: Settings, ledger: Ledger) -> None:
    tick = find_sweep(settings, "published").publication_tick(datetime.now(UTC), "adgs")
    reached = int(time.time()) - 7200
    Watermarks(ledger).tick(watermark_key(tick.request), tick.model_copy(update={"first": reached}))
    behind = values(settings, "sweep_behind_seconds")
    assert behind.keys() == {("published",)}
    assert behind["published",] == pytest.approx(7200 - 600, abs=30)


def test_a_sweep_by_publication_that_has_not_run_is_behind_since_its_beginning(settings: Settings) -> None:
    assert values(settings, "sweep_behind_seconds")["published",] > 6 * 86_400


def test_the_last_run_of_a_sweep_has_a_state_and_an_end(settings: Settings, ledger: Ledger) -> None:
    tick = find_sweep(settings, "orbits").tick(datetime.now(UTC))
    Sweeps(ledger).begin(tick)
    assert values(settings, "sweep_last_run") == {("orbits", "accepted"): 1}
    assert values(settings, "sweep_last_run_seconds") == {}
    ledger.close_run(tick.run_id, RunState.PARTIAL)
    assert values(settings, "sweep_last_run") == {("orbits", "partial"): 1}
    assert values(settings, "sweep_last_run_seconds")["orbits",] == pytest.approx(0, abs=30)


def test_findings_are_those_of_the_last_audit_that_has_ended(settings: Settings, redis: "Redis") -> None:
    audits = Audits(redis, 86_400)
    assert values(settings, "audit_findings") == {}
    audits.save("nightly", 1.0, "{}", ["{}"])
    audits.end("nightly", json.dumps({"phantom": 3, "orphan": 1, "findings": 4, "ended": time.time() - 60}))
    kinds = {"phantom": 3, "orphan": 1, "mismatch": 0, "manifest": 0, "archive": 0}
    assert values(settings, "audit_findings") == {("nightly", "aux", kind): number for kind, number in kinds.items()}
    assert values(settings, "audit_last_seconds")["nightly", "aux"] == pytest.approx(60, abs=30)


def test_an_exporter_that_starts_again_has_the_same_counts(settings: Settings, ledger: Ledger) -> None:
    run = Opened(ledger, found("A"))
    label = ("items", REQUEST.owner, "one", "failed", "no-asset")
    ledger.settle(run.item(), DONE, counts={label: 1})
    assert values(settings, "items") == values(settings, "items") == {label[1:]: 1}


def test_series_beyond_the_bound_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST", 2)
    rows = [(("d",), 4.0), (("a",), 1.0), (("c",), 3.0), (("b",), 2.0)]
    assert bounded(rows) == [(("a",), 1.0), (("b",), 2.0), (("other",), 7.0)]
    assert bounded(rows, max)[-1] == (("other",), 4.0)
