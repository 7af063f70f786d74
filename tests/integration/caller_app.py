"""The application of another system: its own queue, its own tasks, and ours by their public names only."""

import json
import os

from celery import Celery
from kombu import Queue
from redis import Redis

QUEUE = "their.own.queue"
NOTES = "their:notes"

app = Celery(
    "theirs",
    broker=os.environ.get("AUXIP_REDIS_URL", "memory://"),
    backend=os.environ.get("AUXIP_REDIS_URL", "cache+memory://"),
    set_as_current=False,
)
app.conf.update(task_queues=[Queue(QUEUE)], task_default_queue=QUEUE, worker_enable_remote_control=False)


@app.task(name="theirs.note", shared=False)
def note(result: object, name: str) -> object:
    """Write down what came before."""
    with Redis.from_url(os.environ["AUXIP_REDIS_URL"]) as redis:
        redis.rpush(NOTES, json.dumps([name, result]))
    return result


@app.task(name="theirs.note_error", shared=False)
def note_error(task_id: str, name: str) -> None:
    """Write down that something has failed."""
    with Redis.from_url(os.environ["AUXIP_REDIS_URL"]) as redis:
        redis.rpush(NOTES, json.dumps([name, task_id]))
