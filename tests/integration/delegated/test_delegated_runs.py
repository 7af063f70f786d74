"""Staging by a service through real workers, which none of its jobs holds."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest
from celery import Celery
from celery.backends.redis import RedisBackend
from redis import Redis

from local import samples
from local.processes import Child
from local.stack import Stack
from shared.context import Context
from shared.models import ItemState
from shared.settings import load_settings
from tests.integration.conftest import closed_run, of_id, wait_for
from tests.integration.delegated.service import KEY, Job, Service
from workers.queues import QUEUES

ITEMS = (samples.product(samples.AS_LONG_AS_WINDOW).item_id, samples.product(samples.UPPER_CASE_ARCHIVE).item_id)
SECONDS = 60


@pytest.fixture
def environment(stack: Stack, service: Service, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Settings with the service, and a database of their own: the workers of other tests have no part in these runs."""
    url = stack.environment()["AUXIP_REDIS_URL"].rpartition("/")[0] + "/1"
    settings = {
        "AUXIP_REDIS_URL": url,
        "AUXIP_STAGING_BACKEND": "ogc",
        "AUXIP_STAGING_URL": service.url,
        "AUXIP_STAGING_API_KEY": KEY,
        "AUXIP_STAGING_POLL": "0.2",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return dict(os.environ)


@pytest.fixture
def context(environment: dict[str, str]) -> Iterator[Context]:
    with closing(Context(load_settings())) as opened:
        yield opened


@pytest.fixture
def caller(stack: Stack, environment: dict[str, str], context: Context) -> Iterator[Celery]:
    """A Celery application, once one process stages and one does all the rest."""
    others = ",".join(name for queue in QUEUES if queue.name != "staging" for name in queue.lists)
    children = [_worker(stack, environment, "one-stager", "staging"), _worker(stack, environment, "the-rest", others)]
    url = environment["AUXIP_REDIS_URL"]
    with Celery(broker=url, backend=url) as app, Redis.from_url(url) as redis:
        wait_for(lambda: len(app.control.ping(timeout=1, limit=2) or ()) == 2, "both workers answer")
        yield app
        for child in children:
            child.stop(10)
        backend = app.backend
        assert isinstance(backend, RedisBackend)
        backend.client.close()
        redis.flushdb()


def _worker(stack: Stack, environment: dict[str, str], name: str, queues: str) -> Child:
    argv = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "workers.app:app",
        "worker",
        "--pool",
        "prefork",
        "--concurrency",
        "1",
    ]
    argv += ["--queues", queues, "--hostname", f"{name}@%h", "--without-mingle", "--without-gossip"]
    return stack.start_process(name, [*argv, "--loglevel", "INFO"], environment)


@pytest.mark.long
def test_one_process_has_two_jobs_under_way_that_end_only_together(
    caller: Celery, context: Context, service: Service, collection: str
) -> None:
    """If a job held its worker, the second one would never be begun, and the first one would never end."""

    def with_the_other(job: Job) -> None:
        wait_for(lambda: len(service.executions) == len(ITEMS), "the other job is begun", SECONDS)
        service.stage(job)

    service.work = with_the_other
    wanted = {"op": "or", "args": [of_id(item_id) for item_id in ITEMS]}
    message = {"env": {"owner_id": service.user}, "cql2_filter": wanted, "catalog_collection_identifier": collection}
    run = caller.send_task("auxip.staging", queue="runs", kwargs=message)
    status, found = run.get(SECONDS)

    assert status is True
    assert {item["id"] for item in found["features"]} == set(ITEMS)
    assert {inputs["items"]["value"]["features"][0]["id"] for inputs in service.executions} == set(ITEMS)
    assert closed_run(context, run.id).counts.staged == len(ITEMS)
    records = {record.item_id: record for record in context.ledger.items(run.id)}
    assert [records[item_id].state for item_id in ITEMS] == [ItemState.CATALOGUED, ItemState.EXPANDED]
    assert [records[item_id].attempts for item_id in ITEMS] == [0, 0]
