"""The metrics of a deployment, as Prometheus reads them over HTTP."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from local.processes import free_ports
from local.valkey import Valkey
from shared.ledger import Ledger, Outage, Outages
from shared.models import ItemState, Lane, Outcome, RunState
from shared.runs.counting import item_counts
from shared.settings import PREFIX
from tests.ledger.opened import DONE, Opened, found
from tests.messages import envelope, raw

SECONDS = 30


class Samples:
    """The samples of one scrape."""

    def __init__(self, url: str) -> None:
        text = httpx.get(url, timeout=SECONDS).raise_for_status().text
        self.all = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def of(self, name: str, **labels: str) -> float:
        (value,) = [sample.value for sample in self.all if (sample.name, sample.labels) == (f"auxip_{name}", labels)]
        return value

    def by_lane(self, name: str, queue: str) -> list[float]:
        return [self.of(name, queue=queue, lane=lane.value) for lane in (Lane.ON_DEMAND, Lane.BULK)]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Valkey]:
    (port,) = free_ports(1)
    valkey = Valkey(tmp_path, port, "password", "always")
    valkey.wait(20)
    yield valkey
    valkey.child.stop(5)


@pytest.fixture
def redis(broker: Valkey) -> Iterator[Redis]:
    with Redis.from_url(broker.url, decode_responses=True) as client:
        yield client


@pytest.fixture
def ledger(redis: Redis) -> Ledger:
    return Ledger(redis, keep_days=30, window=200, patience=120)


@pytest.fixture
def url(broker: Valkey, tmp_path: Path) -> Iterator[str]:
    """Where an exporter of its own serves."""
    stations = tmp_path / "stations.toml"
    stations.write_text('[station.one]\nurl = "http://127.0.0.1:9"\n', "utf-8")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    settings = {
        "AUXIP_REDIS_URL": broker.url,
        "AUXIP_STATIONS_FILE": str(stations),
        "AUXIP_CATALOG_URL": "http://127.0.0.1:9",
        "AUXIP_S3_ENDPOINT": "http://127.0.0.1:9",
        "AUXIP_S3_ACCESS_KEY_ID": "a",
        "AUXIP_S3_SECRET_ACCESS_KEY": "b",
        "AUXIP_S3_BUCKET": "bucket",
    }
    argv = [sys.executable, "-m", "workers.cli", "exporter", "--port", "0"]
    with subprocess.Popen(argv, env=ours | settings, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0


def test_what_waits_and_what_workers_hold_is_told_for_each_queue_and_lane(url: str, redis: Redis) -> None:
    message = raw(envelope("auxip.step.stage_item", queue="staging.bulk"))
    redis.lpush("staging.bulk", message, message)
    redis.hset("unacked", "tag", f'[{message.decode()},"","staging.bulk"]')
    redis.hset("unacked", "other", f'[{message.decode()},"","staging"]')
    samples = Samples(url)
    assert samples.by_lane("queue_waiting", "staging") == [0, 2]
    assert samples.by_lane("queue_in_work", "staging") == [1, 1]
    assert samples.of("queue_load", queue="staging") == 4
    assert samples.of("queue_load", queue="decompress") == 0


def test_the_next_message_grows_older_until_it_is_taken(url: str, redis: Redis) -> None:
    redis.lpush("runs", b"one")
    first = Samples(url).by_lane("queue_oldest_seconds", "runs")[0]
    second = Samples(url).by_lane("queue_oldest_seconds", "runs")[0]
    redis.rpop("runs")
    redis.lpush("runs", b"other")
    assert first == 0 < second
    assert Samples(url).by_lane("queue_oldest_seconds", "runs")[0] == 0


def test_items_and_runs_are_counted_by_how_they_ended(url: str, ledger: Ledger) -> None:
    run = Opened(ledger, found("A"), found("B"))
    for number, outcome in enumerate((DONE, Outcome(state=ItemState.FAILED, code="too-large"))):
        record = run.item(number)
        ledger.settle(record, outcome, counts=item_counts(run.run, record, outcome))
    ledger.close_run(run.id, RunState.PARTIAL, counts={("runs", "owner", "staging", "partial", ""): 1})
    samples = Samples(url)
    assert samples.of("items_total", owner="owner", station="", outcome="catalogued", code="") == 1
    assert samples.of("items_total", owner="owner", station="", outcome="failed", code="too-large") == 1
    assert samples.of("runs_total", owner="owner", kind="staging", status="partial", code="") == 1


def test_the_buckets_of_a_histogram_hold_those_before_them(url: str, ledger: Ledger) -> None:
    run = Opened(ledger, found("A"), found("B"), found("C"))
    label = ("stage_seconds", "staging")
    for number, bucket in enumerate(("0.5", "0.5", "10.0")):
        ledger.settle(run.item(number), DONE, counts={(*label, bucket): 1, (*label, "sum"): 2})
    samples = Samples(url)
    buckets = [
        samples.of("stage_seconds_bucket", stage="staging", le=bound) for bound in ("0.5", "5.0", "10.0", "+Inf")
    ]
    assert buckets == [2, 2, 3, 3]
    assert samples.of("stage_seconds_sum", stage="staging") == 6
    assert samples.of("stage_seconds_count", stage="staging") == 3


def test_open_runs_unusable_systems_and_dead_letters_are_told(url: str, ledger: Ledger) -> None:
    Opened(ledger, found("A"))
    down = Outage(since=ledger.open_since()[0] - 60, probed=0, fault="unavailable", code="c", reason="r")
    Outages(ledger.redis).record_down("catalog", down, 60)
    ledger.redis.xadd("auxip:dead", {"kind": "message"})
    samples = Samples(url)
    assert samples.of("runs_open") == 1
    assert samples.of("run_oldest_seconds") > 0
    assert samples.of("system_unavailable_seconds", system="catalog", fault="unavailable") > 60
    assert samples.of("dead_letters") == 1


def test_a_broker_that_is_away_is_a_metric_and_not_an_error(url: str, broker: Valkey) -> None:
    assert Samples(url).of("ledger_up") == 1
    broker.child.stop(5)
    assert [(sample.name, sample.value) for sample in Samples(url).all] == [("auxip_ledger_up", 0)]


def test_labels_of_stations_cannot_break_the_format(url: str, ledger: Ledger) -> None:
    name = f'a"b\\c\n{uuid.uuid4()}'
    run = Opened(ledger, found("A"))
    ledger.settle(run.item(), DONE, counts={("products", name, "expanded"): 1})
    assert Samples(url).of("products_total", product_type=name, outcome="expanded") == 1
