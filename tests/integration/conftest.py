"""The embedded stack, and a worker for each queue, once for all integration tests."""

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from celery.backends.redis import RedisBackend
from celery.result import AsyncResult
from pydantic import SecretStr
from redis import Redis

from local.processes import Child, free_ports
from local.stack import Stack
from local.valkey import Valkey
from shared.context import Context
from shared.json_types import Json
from shared.models import Run
from shared.settings import PREFIX, load_settings
from shared.stac.publication import without_manifests
from tests.integration.delivery_app import QUEUES
from tests.integration.reader import Reader
from tests.stations.bucket import Bucket
from tests.stations.serving import serving

_FAST = {
    "AUXIP_ATTEMPTS": "3",
    "AUXIP_BACKOFF_BASE": "0.05",
    "AUXIP_BACKOFF_MAX": "1",
    "AUXIP_LEASE": "3",
    "AUXIP_RUN_WINDOW": "20",
    "AUXIP_PATIENCE": "2",
    "AUXIP_QUERIES_FILE": str(Path(__file__).parents[1] / "data" / "queries.json"),
}
"""Tries follow each other quickly, a dead worker's claim lapses soon, and the sample products fill several pages."""


@pytest.fixture(scope="session")
def orbits() -> Iterator[Bucket]:
    """The public bucket of the station `orbits`; empty at first."""
    bucket = Bucket()
    with serving(bucket) as service:
        bucket.url = service.url
        yield bucket


@pytest.fixture(scope="session")
def stack(orbits: Bucket) -> Iterator[Stack]:
    before = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    with Stack() as started:
        from workers.cli.fleet import adopt

        stations = started.folder / "stations.toml"
        stations.write_text(f'{stations.read_text()}\n[station.orbits]\nkind = "s3-list"\nurl = "{orbits.url}"\n')

        sweeps = started.folder / "sweeps.toml"
        sweeps.touch()  # the workers read it whenever a sweep is due; tests write theirs into it
        adopt(started, {**_FAST, "AUXIP_SWEEPS_FILE": str(sweeps)})
        yield started
        _close_celery()
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    os.environ.update(before)


def _close_celery() -> None:
    from workers.app import app

    backend = app.backend
    assert isinstance(backend, RedisBackend)
    backend.client.close()
    app.close()


@pytest.fixture(scope="session")
def context(stack: Stack) -> Iterator[Context]:
    with closing(Context(load_settings())) as opened:
        yield opened


@pytest.fixture
def apart(context: Context) -> Iterator[Context]:
    """A context whose ledger is a database of its own, empty, that no worker looks into."""
    url = SecretStr(context.settings.redis_url.get_secret_value().removesuffix("/0") + "/1")
    with closing(Context(context.settings.model_copy(update={"redis_url": url}))) as opened:
        opened.ledger.redis.flushdb()
        yield opened


@pytest.fixture(scope="session")
def workers(stack: Stack) -> list[Child]:
    from workers.cli.fleet import start_workers, wait_for_workers

    children = start_workers(stack)
    wait_for_workers(children)
    return children


@pytest.fixture(autouse=True)
def _no_faults_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "stack" in request.fixturenames:
        stack: Stack = request.getfixturevalue("stack")
        stack.set_station_faults([])
        stack.set_catalog_faults([])


@pytest.fixture
def collection(stack: Stack) -> str:
    """A new and empty collection of the catalog."""
    return new_collection(stack.environment())


def new_collection(environment: dict[str, str]) -> str:
    """Create an empty collection of a stack's catalog, and return its name."""
    name = f"aux-{uuid.uuid4().hex[:8]}"
    answer = httpx.post(
        f"{environment['AUXIP_CATALOG_URL']}/collections",
        headers={"x-api-key": environment["AUXIP_CATALOG_API_KEY"]},
        json={
            "type": "Collection",
            "stac_version": "1.1.0",
            "id": name,
            "description": "of one test",
            "license": "other",
            "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
            "links": [],
        },
    )
    answer.raise_for_status()
    return name


# A broker of its own, and consumers of it


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Valkey]:
    (port,) = free_ports(1)
    valkey = Valkey(tmp_path, port, "password", "everysec")
    valkey.wait(20)
    yield valkey
    valkey.child.stop(5)


@pytest.fixture
def redis(broker: Valkey) -> Iterator[Redis]:
    with Redis.from_url(broker.url) as client:
        yield client


@pytest.fixture
def reader(broker: Valkey) -> Iterator[Callable[..., Reader]]:
    readers: list[Reader] = []

    def begin(*queues: str, **options: object) -> Reader:
        readers.append(Reader(broker.url, *(queues or QUEUES[:1]), **options))  # type: ignore[arg-type]
        return readers[-1]

    yield begin
    for each in readers:
        each.close()


# What tests ask for and wait for


@dataclass(frozen=True)
class Caller:
    """A program that enqueues work and waits for the result, with nothing but the task's public name."""

    collection: str
    env: Json

    def send(self, task: str, **message: object) -> "AsyncResult[object]":
        from workers.app import app

        return app.send_task(task, kwargs={"env": self.env, **message})

    def stage(self, cql2: Json, **options: object) -> "AsyncResult[object]":
        message = {"cql2_filter": cql2, "catalog_collection_identifier": self.collection}
        return self.send("auxip.staging", **message, **options)

    def stage_in_bulk(self, cql2: Json) -> "AsyncResult[object]":
        from workers.app import app

        message = {"env": self.env, "cql2_filter": cql2, "catalog_collection_identifier": self.collection}
        return app.send_task("auxip.staging", kwargs=message, queue="runs.bulk")


@pytest.fixture
def caller(workers: list[Child], collection: str) -> Caller:
    assert all(child.popen.poll() is None for child in workers)
    return Caller(collection, {"owner_id": f"owner{uuid.uuid4().hex[:6]}"})


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(0.05)


def closed_run(context: Context, run_id: str) -> Run:
    """Wait until a run is closed, and return its record."""
    wait_for(lambda: context.ledger.run(run_id).closed is not None, "the run is closed")
    return context.ledger.run(run_id)


def of_type(*product_types: str) -> Json:
    """A CQL2 filter for product types."""
    equals: list[Json] = [{"op": "=", "args": [{"property": "product:type"}, each]} for each in product_types]
    return equals[0] if len(equals) == 1 else {"op": "or", "args": [*equals]}


def of_id(item_id: str) -> Json:
    """A CQL2 filter for one item."""
    return {"op": "=", "args": [{"property": "id"}, item_id]}


def files_of(feature: dict[str, Any]) -> dict[str, Any]:
    """The assets of an item but the manifests of those that are expanded, each of which is named by its own asset."""
    assets: dict[str, Any] = without_manifests(feature["assets"])
    named = {asset["aux_staging:manifest"] for asset in assets.values() if "aux_staging:manifest" in asset}
    assert named == {feature["assets"][key]["href"] for key in feature["assets"].keys() - assets.keys()}
    return assets
