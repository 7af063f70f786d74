"""Celery's settings: messages hold no code, and a step that runs is not given to a second worker."""

import tomllib
from datetime import timedelta
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Connection
from kombu.transport import redis
from pydantic import SecretStr

from tests.unit.making import settings_of
from workers.config import celery_config
from workers.queues import QUEUES
from workers.transport import Channel, Transport

ROOT = Path(__file__).parents[2]

CONFIG: dict[str, Any] = celery_config(
    settings_of(redis_url=SecretStr("redis://:pw@valkey:6379/3"), step_timeout=1800.0)
)


def test_every_setting_is_one_that_celery_knows() -> None:
    known = set(Celery(set_as_current=False).conf.keys())
    assert set(CONFIG) - known == set()


def test_messages_and_results_are_json_only() -> None:
    assert CONFIG["accept_content"] == ["json"]
    assert (CONFIG["task_serializer"], CONFIG["result_serializer"]) == ("json", "json")


def test_broker_and_results_are_the_redis_of_the_settings() -> None:
    assert CONFIG["broker_url"] == "redis://:pw@valkey:6379/3"
    assert CONFIG["result_backend"] == "workers.results:Backend+redis://:pw@valkey:6379/3"


@pytest.mark.parametrize("step_timeout", [10.0, 1800.0, 86_400.0])
def test_a_message_stays_with_its_worker_longer_than_any_step_may_take(step_timeout: float) -> None:
    config: dict[str, Any] = celery_config(settings_of(step_timeout=step_timeout))

    assert config["task_soft_time_limit"] == step_timeout
    assert config["task_time_limit"] > step_timeout
    assert config["broker_transport_options"]["visibility_timeout"] > config["task_time_limit"]


def test_a_message_is_done_when_its_step_is() -> None:
    assert CONFIG["task_acks_late"] is True
    assert CONFIG["task_reject_on_worker_lost"] is True
    assert CONFIG["worker_prefetch_multiplier"] == 1


def test_there_are_the_queues_of_the_table_and_no_others() -> None:
    names = [name for queue in QUEUES for name in queue.lists]
    assert [queue.name for queue in CONFIG["task_queues"]] == names
    assert CONFIG["task_create_missing_queues"] is False
    assert CONFIG["task_default_queue"] in {queue.name for queue in QUEUES}


def test_every_task_has_the_queue_of_the_table_and_is_on_demand_unless_its_sender_says_otherwise() -> None:
    assert CONFIG["task_routes"] == {task: {"queue": queue.name} for queue in QUEUES for task in queue.tasks}


def test_results_are_kept_for_those_who_wait_and_not_for_ever() -> None:
    assert CONFIG["task_ignore_result"] is True
    assert timedelta(0) < CONFIG["result_expires"] < timedelta(days=30)


def test_a_broker_that_comes_back_is_waited_for() -> None:
    assert CONFIG["broker_connection_retry_on_startup"] is True
    assert CONFIG["broker_connection_max_retries"] is None


def test_redis_is_reached_by_our_own_transport_under_its_usual_name() -> None:
    import workers.app  # noqa: F401 - which gives the name to it

    with Connection("redis://:pw@valkey:6379/3") as connection:
        assert isinstance(connection.transport, Transport)
        assert connection.as_uri() == "redis://:**@valkey:6379/3"


def test_the_transport_is_pinned_to_the_kombu_that_it_is_tested_with() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert [each for each in project["project"]["dependencies"] if each.startswith("kombu")] == ["kombu>=5.7,<5.8"]
    assert version("kombu").startswith("5.7.")


@pytest.mark.parametrize(
    ("replaced", "arguments"),
    [
        ("_brpop_start", ["timeout"]),
        ("_brpop_read", ["options"]),
        ("_get", ["queue"]),
        ("basic_get", ["queue", "no_ack", "kwargs"]),
        ("basic_consume", ["queue", "args", "kwargs"]),
        ("_flush_brpop_reauth", []),
        ("conn_or_acquire", ["client"]),
    ],
)
def test_what_the_channel_replaces_or_calls_is_there_in_kombu(replaced: str, arguments: list[str]) -> None:
    assert list(signature(getattr(redis.Channel, replaced)).parameters)[1:] == arguments


@pytest.mark.parametrize(
    ("replaced", "arguments"),
    [
        ("append", ["message", "delivery_tag"]),
        ("reject", ["delivery_tag", "requeue"]),
        ("restore_by_tag", ["tag", "client", "leftmost"]),
        ("restore_visible", ["start", "num", "interval"]),
    ],
)
def test_what_its_record_of_the_unacknowledged_replaces_is_there_in_kombu(replaced: str, arguments: list[str]) -> None:
    assert list(signature(getattr(redis.QoS, replaced)).parameters)[1:] == arguments


def test_every_transport_option_is_one_that_the_channel_knows() -> None:
    assert set(CONFIG["broker_transport_options"]) <= set(Channel.from_transport_options)


def test_a_worker_takes_what_it_has_a_free_process_for() -> None:
    assert CONFIG["worker_disable_prefetch"] is True
    assert CONFIG["broker_transport_options"]["max_connections"] >= max(queue.concurrency for queue in QUEUES) + 16


@pytest.mark.parametrize("lease", [3, 60])
def test_a_consumer_shows_that_it_lives_three_times_in_a_lease(lease: float) -> None:
    config: dict[str, Any] = celery_config(settings_of(lease=lease))
    options = config["broker_transport_options"]
    assert options["consumer_lease"] == lease
    assert options["unacked_restore_interval"] <= lease / 3
