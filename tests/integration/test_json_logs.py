"""What a program that collects logs reads, with `AUXIP_LOG_FORMAT=json`."""

import json
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from local.processes import Child, start
from local.stack import Stack
from local.valkey import Valkey
from tests.integration.conftest import of_type, wait_for
from workers.queues import QUEUES

ROOT = Path(__file__).parents[2]
CELERY = ["-m", "celery", "--app", "workers.app:app", "--quiet"]
WORKER = ["worker", "--concurrency", "2", "--queues", ",".join(name for queue in QUEUES for name in queue.lists)]

pytestmark = pytest.mark.long


@pytest.fixture
def children(stack: Stack, broker: Valkey, tmp_path: Path) -> Iterator[list[Child]]:
    """A gate, a worker of all queues, and beat, on a broker of their own."""
    extra = {
        "AUXIP_REDIS_URL": broker.url,
        "AUXIP_LOG_FORMAT": "json",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }
    started = [
        start(name, [sys.executable, *argv], {**os.environ, **extra}, tmp_path, tmp_path / f"{name}.log")
        for name, argv in {
            "gate": ["-m", "workers.cli", "gate"],
            "worker": [*CELERY, *WORKER, "--loglevel", "INFO"],
            "beat": [*CELERY, "beat", "--loglevel", "INFO"],
        }.items()
    ]
    yield started
    for child in started:
        child.stop(20)


def lines(child: Child) -> list[dict[str, Any]]:
    return [json.loads(line) for line in child.log.read_text().splitlines()]


def test_every_line_is_an_object_and_those_of_a_run_are_found_by_its_id(
    children: list[Child], redis: Redis, collection: str
) -> None:
    run, (gate, worker, beat) = str(uuid.uuid4()), children
    arguments = {
        "env": {"owner_id": "reader"},
        "cql2_filter": of_type("OPER_MPL_ORBPRE"),
        "catalog_collection_identifier": collection,
    }
    request = {"id": run, "task": "auxip.staging", "arguments": arguments, "reply": "reader"}
    redis.lpush("auxip:intake", json.dumps(request))
    wait_for(lambda: redis.llen("auxip:reply:reader") == 1, "it is answered")

    assert {line["logger"] for line in lines(beat)} == {"celery.beat"}
    assert [line["message"] for line in lines(gate) if line.get("request") == run] == [
        "a request for auxip.staging: publish"
    ]
    by_short_id = {line["message"].partition("[")[0] for line in lines(worker) if run[:8] in json.dumps(line)}
    assert {
        "Task auxip.staging",
        *(f"Task auxip.step.{step}" for step in ("find_items", "stage_item", "publish_and_fetch", "close_run")),
    } <= by_short_id
    done = [line for line in lines(worker) if "stage_item" in line["message"] and "succeeded" in line["message"]]
    assert done
    assert all(line["run"] == run and line["about"].startswith(f"run {run[:8]}, item ") for line in done)
