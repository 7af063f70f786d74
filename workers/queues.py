"""The one table of queues: the app's routes, the compose services, the chart's Deployments all come from it.

A queue is named for the step that it carries; each has workers of its own, so that it scales apart from the
others. `tests/deploy` holds docker-compose.yml and helm/auxip-workers against this table.
"""

from dataclasses import dataclass
from typing import Literal

Pool = Literal["prefork", "threads", "solo"]


@dataclass(frozen=True)
class Queue:
    """One queue and the workers it is given by default.

    Attributes:
        name: of the queue, of its worker service and of its Deployment.
        tasks: public names of the tasks that run here.
        pool: Celery's worker pool. All are prefork: only there do time limits and the isolation of a crash hold.
        concurrency: processes per worker.
        bound_by: what to watch when deciding how many workers the queue needs.
    """

    name: str
    tasks: tuple[str, ...]
    pool: Pool
    concurrency: int
    bound_by: str


QUEUES: tuple[Queue, ...] = (
    Queue(
        name="search",
        tasks=("auxip.search", "auxip.step.find_items"),
        pool="prefork",
        concurrency=1,
        bound_by="the station's answers",
    ),
    Queue(
        name="staging",
        tasks=("auxip.step.stage_item",),
        pool="prefork",
        concurrency=12,  # a transfer waits more than it works: with 50 ms to each answer 4 leave two cores idle
        bound_by="the network between station and S3",
    ),
    Queue(
        name="catalog",
        tasks=("auxip.step.publish_item", "auxip.step.publish_expanded"),
        pool="prefork",
        concurrency=2,
        bound_by="the catalog's answers",
    ),
    Queue(
        name="decompress",
        tasks=("auxip.process_asset", "auxip.step.expand_asset"),
        pool="prefork",
        concurrency=2,
        bound_by="CPU, and S3 writes",
    ),
    Queue(
        name="runs",
        tasks=(
            "auxip.staging",
            "auxip.on_demand_staging",
            "auxip.unzip_decompress",
            "auxip.sweep",
            "auxip.sweep_now",
            "auxip.clean_up",
            "auxip.reconcile",
            "auxip.step.close_run",
        ),
        pool="prefork",
        concurrency=1,
        bound_by="the number of items in flight",
    ),
)
