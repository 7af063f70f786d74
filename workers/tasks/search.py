"""Queue `search`: what does the station have?"""

from shared.stac.item import Json
from shared.steps.close import item_collection
from shared.steps.find import find_items, search_items
from workers import flows
from workers.app import app, context
from workers.base import BoundTask, perform_search, retried
from workers.contract import SearchMessage, decode


@app.task(name="auxip.search", bind=True, ignore_result=False)
def search(
    self: BoundTask,
    env: Json,
    auxip_cql2: Json,
    error_if_empty: bool = False,
    station: str | list[str] | None = None,
) -> Json | None:
    """Search a station; returns an ItemCollection, or None where nothing is found."""
    message = decode(SearchMessage, env=env, auxip_cql2=auxip_cql2, error_if_empty=error_if_empty, station=station)
    with retried(self):
        items = search_items(
            context(), message.search(context().settings.queries_file), message.error_if_empty, message.stations
        )
    return item_collection(items) if items else None


@app.task(name="auxip.step.find_items", bind=True)
def find(self: BoundTask, run_id: str) -> None:
    """Drain a station's pages into the ledger, then fan the run out."""
    perform_search(self, run_id, lambda: _find(run_id))


def _find(run_id: str) -> None:
    run = context().ledger.run(run_id)
    count = 0 if run.state.final else find_items(context(), run)
    if count == 0:  # or a worker was killed between closing the run and telling so
        flows.close(run_id, context().ledger.continuation(run_id), run.request.lane).apply_async()
        return
    pages = -(-count // context().settings.page_items)
    context().ledger.begin_work(run_id, pages)
    for number in range(pages):
        flows.page(run_id, number, run.request.lane).apply_async()
