"""Queue `search`: what does the station have?"""

from shared.audit.slices import audit_slice
from shared.json_types import Json
from shared.ledger import lease
from shared.models import Lane
from shared.runs.close import item_collection
from shared.runs.outages import plain_search_waiting_for_systems
from shared.steps.find import search_items, search_run
from workers.app import app, context
from workers.base import GuardedTask, perform_search, retried
from workers.contract import AuditMessage, BoundTask, SearchMessage, takes
from workers.identity import require_own_id
from workers.queues import queue_for
from workers.sweeps import find_audit
from workers.sweeps.recurring import newest_due


@app.task(name="auxip.search", bind=True, base=GuardedTask, ignore_result=False)
@takes(SearchMessage)
def search(self: BoundTask, message: SearchMessage) -> Json | None:
    """Search a station; returns an ItemCollection, or None where nothing is found."""
    require_own_id(context(), self)
    wanted, stations = message.search(context().settings.queries_file), message.stations
    with plain_search_waiting_for_systems(context(), str(self.request.id), stations):
        items = search_items(context(), wanted, message.error_if_empty, stations)
    return item_collection(items) if items else None


@app.task(name="auxip.audit", bind=True, base=GuardedTask)
@takes(AuditMessage)
def audit(self: BoundTask, message: AuditMessage) -> None:
    """Compare a slice of a collection with the store, and put the next slice on the queue."""
    name, found = message.name, find_audit(context().settings, message.name)
    tick = found.tick(newest_due(message.at))
    with retried(self), lease(context().ledger.redis, f"audit:{name}", context().settings.lease):
        chain = audit_slice(context(), name, found.scope, tick, message.chain)
        if chain:
            self.apply_async((name, message.at, chain), queue=queue_for("auxip.audit", Lane.BULK))


@app.task(name="auxip.step.find_items", bind=True)
def find(self: BoundTask, run_id: str) -> None:
    """Drain a station's pages into the ledger."""
    perform_search(self, run_id, lambda: search_run(context(), run_id))
