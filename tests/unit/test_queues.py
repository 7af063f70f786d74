"""The table of queues: every task is in it once, and every task of it is there."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from shared.settings import PREFIX
from workers.queues import QUEUES

QUEUE_OF = {task: queue.name for queue in QUEUES for task in queue.tasks}

_REGISTERED = """
import importlib, json
from workers.app import app
app.loader.import_default_modules()
tasks = {name: task.run.__module__ for name, task in app.tasks.items() if name.startswith("auxip.")}
routes = {name: app.amqp.router.route({}, name)["queue"].name for name in tasks}
print(json.dumps([tasks, routes]))
"""


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, str]]:
    """The module and the route of every task, asked for in a process that has settings: Celery reads them then."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    stations = tmp_path_factory.mktemp("stations") / "stations.toml"
    stations.write_text('[station.one]\nurl = "http://127.0.0.1:1"\n')
    settings = {
        "AUXIP_REDIS_URL": "redis://127.0.0.1:1/0",
        "AUXIP_STATIONS_FILE": str(stations),
        "AUXIP_CATALOG_URL": "http://127.0.0.1:1",
        "AUXIP_S3_ENDPOINT": "http://127.0.0.1:1",
        "AUXIP_S3_ACCESS_KEY_ID": "a",
        "AUXIP_S3_SECRET_ACCESS_KEY": "b",
        "AUXIP_S3_BUCKET": "bucket",
    }
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", _REGISTERED], env={**environ, **settings}, capture_output=True, timeout=60, check=True
    )
    modules, routes = json.loads(ended.stdout)
    return modules, routes


def test_every_task_is_in_the_table_exactly_once(registered: tuple[dict[str, str], dict[str, str]]) -> None:
    modules, _ = registered
    assert Counter(task for queue in QUEUES for task in queue.tasks) == Counter([*modules])


def test_every_task_is_in_the_module_of_its_queue(registered: tuple[dict[str, str], dict[str, str]]) -> None:
    modules, _ = registered
    # Of the queue `runs`: of requests only, and what callers ask about their runs.
    answers = dict.fromkeys(("auxip.status", "auxip.cancel"), "workers.tasks.answers")
    elsewhere = {"auxip.reply": "workers.tasks.replies", **answers}
    assert modules == {task: f"workers.tasks.{QUEUE_OF[task]}" for task in modules} | elsewhere


def test_every_task_is_sent_to_its_queue(registered: tuple[dict[str, str], dict[str, str]]) -> None:
    _, routes = registered
    assert routes == {task: QUEUE_OF[task] for task in routes}


def test_queues_are_named_once() -> None:
    names = [queue.name for queue in QUEUES]
    assert len(names) == len(set(names))


def test_every_queue_has_workers() -> None:
    assert all(queue.tasks and queue.concurrency >= 1 for queue in QUEUES)
