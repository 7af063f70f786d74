"""The one table of queues: the app's routes, the compose services, the chart's Deployments all come from it.

A queue is named for the step that it carries; each has workers of its own, so that it scales apart from the
others. `tests/deploy` holds docker-compose.yml and helm/auxip-workers against this table.

A queue has a list for each lane, `staging` and `staging.bulk`. Its workers take from both (see `workers.lanes`), and
all steps of a run travel in the lane of its request.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from shared.models import Lane

if TYPE_CHECKING:
    from celery.app.task import Context as TaskRequest  # Celery takes half a second to import: not for `--help`

Pool = Literal["prefork", "threads", "solo"]

SHORT_GRACE = 60
"""Seconds that whatever has no long steps is given to stop: workers, and beat, the gate and Flower."""

_BULK = ".bulk"


@dataclass(frozen=True)
class Queue:
    """One queue and the workers it is given by default.

    Attributes:
        name: of the queue, of its list of on-demand messages, of its worker service and of its Deployment.
        tasks: public names of the tasks that run here.
        pool: Celery's worker pool. All are prefork: only there do time limits and the isolation of a crash hold.
        concurrency: processes per worker.
        reserved: of these, so many that bulk messages never occupy, so that an on-demand one begins at once. Worth it
            where one message may take minutes.
        grace: seconds that an engine gives a worker between SIGTERM and SIGKILL. None is as long as a step may take
            (AUXIP_STEP_TIMEOUT), for steps that lose work when they are handed back: a search and an expansion begin
            anew, a transfer loses what is on its way. The others are short, or have little to do again.
        bound_by: what to watch when deciding how many workers the queue needs.
    """

    name: str
    tasks: tuple[str, ...]
    pool: Pool
    concurrency: int
    grace: int | None
    bound_by: str
    reserved: int = 0

    @property
    def lists(self) -> tuple[str, ...]:
        """The names of its lists, one for each lane; a worker is given all of them."""
        return tuple(queue_name(self.name, lane) for lane in Lane)


def queue_name(queue: str, lane: Lane) -> str:
    """Return the name of a queue's list for a lane."""
    return queue + _BULK if lane is Lane.BULK else queue


def lane_of_queue(name: str) -> Lane:
    """Return the lane of a list, by its name; lists that are not of the table, such as of replies, are on-demand."""
    return Lane.BULK if name.endswith(_BULK) else Lane.ON_DEMAND


def lane_of(request: "TaskRequest") -> Lane:
    """Return the lane that the message of a running task has come in: the caller's choice for its run."""
    return lane_of_queue(str((request.delivery_info or {}).get("routing_key", "")))


def task_work(task_id: str) -> str:
    """Return the work that a task is claimed as which is no step: that of its message."""
    return f"task:{task_id}"


def queue_for(task: str, lane: Lane) -> str:
    """Return the name of the list that a task's message is put on.

    Args:
        task: public name, such as `auxip.step.stage_item`.
        lane: of its run.

    Raises:
        KeyError: the table has no such task.
    """
    return queue_name(_QUEUE_OF[task], lane)


def grace_of(lists: Iterable[str], step_timeout: float) -> float:
    """Return the seconds between SIGTERM and SIGKILL of a worker that is given these lists."""
    graces = [queue.grace or step_timeout for queue in QUEUES if set(queue.lists) & set(lists)]
    return max(graces, default=SHORT_GRACE)


QUEUES: tuple[Queue, ...] = (
    Queue(
        name="search",
        tasks=("auxip.search", "auxip.audit", "auxip.step.find_items"),
        pool="prefork",
        concurrency=2,
        grace=None,
        bound_by="the station's answers",
        reserved=1,
    ),
    Queue(
        name="staging",
        tasks=("auxip.step.stage_item",),
        pool="prefork",
        concurrency=12,  # a transfer waits more than it works: with 50 ms to each answer 4 leave two cores idle
        grace=None,
        bound_by="the network between station and S3",
        reserved=1,
    ),
    Queue(
        name="catalog",
        tasks=("auxip.step.publish_and_fetch", "auxip.step.publish_expanded"),
        pool="prefork",
        concurrency=2,
        grace=SHORT_GRACE,
        bound_by="the catalog's answers",
    ),
    Queue(
        name="decompress",
        tasks=("auxip.process_asset", "auxip.step.expand_asset"),
        pool="prefork",
        concurrency=2,
        grace=None,
        bound_by="CPU, and S3 writes",
    ),
    Queue(
        name="runs",
        tasks=(
            "auxip.staging",
            "auxip.on_demand_staging",
            "auxip.orbit",
            "auxip.aux",
            "auxip.unzip_decompress",
            "auxip.status",
            "auxip.cancel",
            "auxip.sweep",
            "auxip.sweep_now",
            "auxip.clean_up",
            "auxip.reconcile",
            "auxip.reply",
            "auxip.step.begin_items",
            "auxip.step.close_run",
        ),
        pool="prefork",
        concurrency=2,
        grace=SHORT_GRACE,
        bound_by="the number of items in flight",
        reserved=1,
    ),
)


def bulk_max_of(lists: Iterable[str], concurrency: int) -> int | None:
    """Return how many bulk tasks a worker of these lists works on at once; None means no limit.

    A worker of one process has nothing to reserve.
    """
    reserved = max((queue.reserved for queue in QUEUES if {*queue.lists} & {*lists}), default=0)
    return max(1, concurrency - reserved) if reserved else None


_QUEUE_OF = {task: queue.name for queue in QUEUES for task in queue.tasks}
