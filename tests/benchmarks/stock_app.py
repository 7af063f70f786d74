"""What this project is compared with: tasks that do nothing, on Celery as it comes: `tests.benchmarks.stock_app:app`.

The settings are those of this project; transport and results are Celery's own. The steps go over the queues that ours
go over, so the same workers take them.
"""

from celery import Celery, chain, chord
from celery.canvas import Signature
from celery.result import AsyncResult, GroupResult

from shared.settings import load_settings
from workers.config import celery_config
from workers.queues import QUEUES

app = Celery("stock", set_as_current=False)


def _configure() -> dict[str, object]:
    # Named in full: `workers.app` gives the scheme of the URL another transport in a process that imports it.
    settings = load_settings()
    return {
        **celery_config(settings),
        "task_routes": {},
        "broker_transport": "kombu.transport.redis:Transport",
        "result_backend": settings.redis_url.get_secret_value(),
    }


app.add_defaults(_configure)


@app.task(name="stock.step")
def step(run_id: str, key: str) -> None:
    """Do nothing; the arguments are those of a step."""


@app.task(name="stock.part")
def part(run_id: str, key: str, name: str) -> None:
    """Do nothing; the arguments are those of an archive's expansion."""


@app.task(name="stock.end", ignore_result=False)
def end(run_id: str) -> None:
    """End a chord: its result tells the caller so."""


def canvas_of_item(run_id: str, key: str, archives: int) -> Signature:
    """One item as its steps, with no result: stage, publish, expand each archive, publish again.

    Several archives are a chord, one is a link of the chain.
    """
    stage, publish, publish_expanded = (
        step.si(run_id, key).set(queue=queue) for queue in ("staging", "catalog", "catalog")
    )
    expand = [part.si(run_id, key, f"{number}.TGZ").set(queue="decompress") for number in range(archives)]
    if archives == 1:
        return chain(stage, publish, *expand, publish_expanded)
    return chain(stage, publish, chord(expand, publish_expanded))


def chord_of_tasks(run_id: str, items: int) -> Signature:
    """As many tasks of one step, spread over the workers of all queues, and one task when all are done."""
    queues = [queue.name for queue in QUEUES]
    header = [step.si(run_id, f"{number:024x}").set(queue=queues[number % len(queues)]) for number in range(items)]
    return chord(header, end.si(run_id).set(queue="runs"))


def let_go(result: AsyncResult[object]) -> None:
    """End the subscriptions of a chord's result: Celery's client keeps one for each task."""
    header = result.parent
    for each in (header.results or []) if isinstance(header, GroupResult) else []:
        app.backend.result_consumer.cancel_for(each.id)  # type: ignore[attr-defined]  # of Redis; the stubs lack it
