"""The Celery application, `workers.app:app`: what workers, beat, Flower and callers share."""

import logging
from functools import cache
from typing import Any, cast

from celery import Celery, Task
from celery.signals import after_setup_logger, after_setup_task_logger, celeryd_after_setup, worker_process_init
from celery.worker import WorkController
from kombu.transport import TRANSPORT_ALIASES

from shared.context import Context
from shared.errors import AuxipError
from shared.owners import load_owners
from shared.settings import SettingsError, load_settings
from shared.stations.config import load_stations
from workers.config import celery_config
from workers.logs import format_lines_of
from workers.queues import bulk_max_of
from workers.sweeps.beat import beat_schedule


class UnboundedTask(Task):  # type: ignore[type-arg]  # not a generic class at run time
    """A task whose tries are not counted by Celery: the budget of an item is in the ledger, and waiting costs none."""

    max_retries = None
    throws = (AuxipError,)  # a caller's mistake is no fault of ours: Celery logs a line, and no traceback
    Request = "workers.request:Request"


# Here and not as `broker_transport`: Flower, and every line of a log, know a broker by the scheme of its URL.
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "workers.transport:Transport"))

_TASKS = ("search", "staging", "catalog", "decompress", "runs", "replies", "answers")

app = Celery(
    "auxip",
    task_cls=UnboundedTask,
    include=[
        *(f"workers.tasks.{name}" for name in _TASKS),
        "workers.revoking",
        "workers.stopping",
        "workers.presence",
    ],
)


@cache
def context() -> Context:
    """Return what the steps of this process work with."""
    return Context(load_settings())


def _configure() -> dict[str, object]:
    try:
        settings = load_settings()
        load_owners(settings)  # a wrong file ends the process now, not the first run of an owner
        load_stations(settings)  # what is wrong there, or a secret that is missing, ends the process here as well
        return {**celery_config(settings), "beat_schedule": beat_schedule(settings)}
    except SettingsError as error:
        raise SystemExit(f"auxip: {error}") from None


@celeryd_after_setup.connect
def _let_callers_have_queues(instance: WorkController, **_: object) -> None:
    """Let a worker send what a caller has linked to its task on a queue that only the caller has.

    The worker's own queues are set up by now: one that was misspelt has ended it.
    """
    instance.app.amqp.queues.create_missing = True


@celeryd_after_setup.connect
def _keep_room_for_on_demand_work(instance: WorkController, **_: object) -> None:
    app = instance.app
    bulk_max = bulk_max_of(app.amqp.queues.consume_from, int(cast("Any", instance).concurrency))
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "bulk_max": bulk_max}


@after_setup_logger.connect
@after_setup_task_logger.connect
def _format_log_lines(logger: logging.Logger, **_: object) -> None:
    format_lines_of(logger, load_settings().log_format)


@worker_process_init.connect
def _forget_the_parents_connections(**_: object) -> None:
    context.cache_clear()


# A promise: the environment is read when the configuration is first needed, not when this module is imported.
app.add_defaults(_configure)
