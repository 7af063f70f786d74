"""The whole way of a message over TLS: worker, beat and gate with a `rediss://` address."""

import json
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from local.processes import Child, start
from local.valkey import Valkey
from shared.ledger import INTAKE
from shared.ledger.connection import connect
from shared.settings import PREFIX, load_settings
from tests.integration.conftest import wait_for
from tests.messages import envelope, raw
from tests.tls import TlsProxy
from workers.config import celery_config

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
SECONDS = 60


@pytest.fixture
def environ(broker: Valkey, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The settings of processes that reach the broker by TLS only."""
    port = int(broker.url.rpartition(":")[2].partition("/")[0])
    (tmp_path / "stations.toml").write_text('[station.one]\nurl = "http://127.0.0.1:1"\n')
    (tmp_path / "sweeps.toml").touch()
    folder = tmp_path / "tls"
    folder.mkdir()
    with closing(TlsProxy(folder, port)) as proxy:
        address = broker.url.replace("redis://", "rediss://").replace(str(port), str(proxy.port))
        yield {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | {
            "PYTHONPATH": str(ROOT),
            "AUXIP_REDIS_URL": f"{address}?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={proxy.ca}",
            "AUXIP_STATIONS_FILE": str(tmp_path / "stations.toml"),
            "AUXIP_SWEEPS_FILE": str(tmp_path / "sweeps.toml"),
            "AUXIP_CATALOG_URL": "http://127.0.0.1:1",
            "AUXIP_S3_ENDPOINT": "http://127.0.0.1:1",
            "AUXIP_S3_ACCESS_KEY_ID": "a",
            "AUXIP_S3_SECRET_ACCESS_KEY": "b",
            "AUXIP_S3_BUCKET": "bucket",
            "AUXIP_RECONCILE_EVERY": "1",
        }


@pytest.fixture
def processes(environ: dict[str, str], tmp_path: Path) -> Iterator[list[Child]]:
    """A worker of the queue `search`, beat, and a gate."""
    celery = [sys.executable, "-m", "celery", "-A", "workers.app:app"]
    commands = {
        "worker": [*celery, "worker", "--queues", "search", "--concurrency", "1"],
        "beat": [*celery, "beat"],
        "gate": [sys.executable, "-m", "workers.cli", "gate"],
    }
    started = [start(name, argv, environ, tmp_path, tmp_path / f"{name}.log") for name, argv in commands.items()]
    yield started
    for child in started:
        child.stop(2)


def test_worker_beat_and_gate_work_over_tls(redis: Redis, processes: list[Child]) -> None:
    message = envelope("auxip.search", [[], {"env": {"owner_id": "me"}, "auxip_cql2": {}}, None], queue="search")
    redis.lpush("search", raw(message))
    redis.lpush(INTAKE, json.dumps({"task": "no such task", "arguments": {}, "id": str(uuid.uuid4()), "reply": "me"}))

    key = f"celery-task-meta-{message['headers']['id']}"
    wait_for(lambda: redis.get(key) is not None, "the worker has stored a result", SECONDS)
    wait_for(lambda: redis.llen("runs.bulk") > 0, "beat has sent what it sends", SECONDS)
    wait_for(lambda: redis.llen("auxip:reply:me") == 1, "the gate has answered", SECONDS)
    assert b"bad-request" in (redis.get(key) or b"")
    assert [child.name for child in processes if child.popen.poll() is not None] == []


def test_a_certificate_that_nobody_vouches_for_is_refused_by_the_ledger_and_by_celery(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ca = environ["AUXIP_REDIS_URL"].partition("&ssl_ca_certs")[0]
    for name, value in {**environ, "AUXIP_REDIS_URL": without_ca}.items():
        monkeypatch.setenv(name, value)
    with connect(without_ca) as client, pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        client.ping()
    config: dict[str, Any] = celery_config(load_settings())
    with (
        Connection(config["broker_url"], ssl=config["broker_use_ssl"]) as broker,
        pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        broker.ensure_connection(max_retries=1, interval_start=0)
