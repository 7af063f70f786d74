"""A Celery application of a few short tasks, to kill the workers of: `DELIVERY_URL` says where its broker is."""

import os
import time

from celery import Celery
from kombu import Queue
from redis import Redis

RAN = "ran"
QUEUES = ("short", "other")
BULK = "short.bulk"
VISIBILITY_TIMEOUT = 3

app = Celery("delivery", broker=os.environ.get("DELIVERY_URL", "memory://"), set_as_current=False)
app.conf.update(
    broker_transport="workers.transport:Transport",
    broker_connection_retry_on_startup=True,
    task_queues=[Queue(name) for name in (*QUEUES, BULK)],
    task_default_queue=QUEUES[0],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=4,
    worker_enable_remote_control=False,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_TIMEOUT,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "priority_steps": [0],
    },
)


@app.task(name="delivery.count", shared=False)
def count(number: int, seconds: float = 0.01) -> None:
    """Say that this task ran."""
    time.sleep(seconds)
    with Redis.from_url(os.environ["DELIVERY_URL"]) as redis:
        redis.hincrby(RAN, str(number), 1)
