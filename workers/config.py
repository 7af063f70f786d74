"""Celery's settings, each with its reason: worker kills and broker restarts were measured with Celery 5.7 on Valkey."""

import ssl
from datetime import timedelta

from kombu import Queue

from shared.redis_address import parse_redis_url
from shared.settings import Settings
from workers.queues import QUEUES

_CERT_REQS = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}
_HARD_LIMIT_MARGIN = 60
_OUTAGE = 600


def celery_config(settings: Settings) -> dict[str, object]:
    """Return the settings of the Celery application."""
    address = parse_redis_url(settings.redis_url.get_secret_value())
    tls: dict[str, object] | None = None
    if address.tls is not None:
        tls = {**address.tls, "ssl_cert_reqs": _CERT_REQS[address.tls["ssl_cert_reqs"]]}
    return {
        "broker_url": address.url,
        "broker_use_ssl": tls,
        "redis_backend_use_ssl": tls,
        "result_backend": f"workers.results:Backend+{address.url}",
        **_delivery(),
        **_messages(),
        **_results(),
        **_broker(settings),
        **_limits(settings),
    }


def _delivery() -> dict[str, object]:
    return {
        # A message is done when its step is done: a worker that dies gives it back.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        # One message per process: a long transfer must not sit on messages that others could work on.
        "worker_prefetch_multiplier": 1,
        # Nor does a worker take one after a reconnection, while the steps from before still run.
        "worker_disable_prefetch": True,
        # When the broker is lost, a late-acknowledged step could be done twice: harmless by design, so let it finish.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # A leak, or the fragmentation after a large archive, ends with its process.
        "worker_max_memory_per_child": 400_000,
    }


def _messages() -> dict[str, object]:
    return {
        "task_queues": [Queue(name) for queue in QUEUES for name in queue.lists],
        # On-demand unless the sender says otherwise, as flows.py and beat do for what nobody waits for.
        "task_routes": {task: {"queue": queue.name} for queue in QUEUES for task in queue.tasks},
        "task_default_queue": "runs",
        # A misspelt queue is an error, not a queue that nobody reads; app.py lets links of callers name their own.
        "task_create_missing_queues": False,
        # JSON only: a message can hold no code.
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        # Progress and outcomes are in the ledger; Flower still sees every task.
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        # Finite and large: callbacks cut an endless policy down to three tries.
        "task_publish_retry_policy": {"max_retries": 100, "interval_start": 0, "interval_step": 0.2, "interval_max": 2},
        # The libraries' chatter is theirs; a log line names the task and so the run.
        "worker_hijack_root_logger": True,
        "timezone": "UTC",
        # Beat keeps no file: what was run stands in the ledger, where a new container and a second beat see it.
        "beat_scheduler": "workers.sweeps.ticking:TickingScheduler",
        # How long beat sleeps at most: a health check sees it tick.
        "beat_max_loop_interval": 30,
    }


def _results() -> dict[str, object]:
    return {
        # Steps have no results (the ledger has); it halves the cost and closes one window in which chords are lost.
        "task_ignore_result": True,
        # A chord's counting survives a restart of the broker only if the write is tried again.
        "result_backend_always_retry": True,
        "result_backend_max_retries": 100,
        "result_expires": timedelta(days=1),
        # An error goes to the caller as a text with its code, never as a pickled object.
        "result_extended": False,
    }


def _broker(settings: Settings) -> dict[str, object]:
    return {
        "broker_connection_retry_on_startup": True,
        # A broker that is away for a night comes back; the worker waits for it.
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            # Longer than any step: a step that still runs is never given to a second worker.
            "visibility_timeout": settings.step_timeout + _HARD_LIMIT_MARGIN + _OUTAGE,
            # What a killed worker held is given back when its consumer has shown no sign of life for a lease; it shows
            # one, and looks at the others, this often.
            "consumer_lease": settings.lease,
            "unacked_restore_interval": min(5, settings.lease / 3),
            "unacked_restore_throttle": 1,
            # So many in one look: after the loss of many workers the loop goes on serving in between.
            "unacked_restore_limit": 1000,
            "socket_timeout": 30,
            "socket_keepalive": True,
            "health_check_interval": 30,
            # One for each process that publishes, and some for consuming, events, control and the restoring.
            "max_connections": max(queue.concurrency for queue in QUEUES) + 16,
            "dead_letters_max": settings.dead_letters_max,
            # Lanes are queues; Redis priorities would be several lists for each queue.
            "priority_steps": [0],
        },
    }


def _limits(settings: Settings) -> dict[str, object]:
    return {
        # The soft limit is recorded as the item's failure; the hard one is for code that does not listen.
        "task_soft_time_limit": settings.step_timeout,
        "task_time_limit": settings.step_timeout + _HARD_LIMIT_MARGIN,
    }
