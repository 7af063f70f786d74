"""Close a run: its result for the caller, its artifact in S3, its final record."""

from shared.context import Context
from shared.errors import Rejected
from shared.models import ItemState, Run, RunKind, RunState
from shared.report import artifact_of, page_of, report_of
from shared.stac.item import Item, Json
from shared.steps.bury import bury_replay
from shared.storage.keys import run_location

_JSON = "application/json"


def close(context: Context, run: Run) -> Json | list[bool | Json | None]:
    """Close a run whose work is done, and return its result; closing it again returns the same.

    Returns:
        Of a staging run `[status, ItemCollection or null]`, as in the reference; of one that expanded the archives of
        an item, the item.

    Raises:
        Rejected: with the code and the reason with which the run as a whole, or its only item, failed.
        Retryable: the catalog or S3 could not answer; nothing is closed then.
    """
    if run.code:
        raise Rejected(run.code, run.reason)
    if run.request.kind is RunKind.DECOMPRESS:
        return _close_decompress(context, run)
    return _close_staging(context, run)


def close_work(run_id: str) -> str:
    """Return the work that the closing of a run is claimed as."""
    return f"close:{run_id}"


def close_failed(context: Context, run_id: str, code: str, reason: str) -> None:
    """Close a run that failed as a whole: its search found no answer, or its request is wrong."""
    bury_replay(context, run_id, code, reason)
    context.ledger.close_run(run_id, RunState.FAILED, code=code, reason=reason)


def item_collection(items: list[Item]) -> Json:
    """Return items as a GeoJSON FeatureCollection."""
    return {"type": "FeatureCollection", "features": [item.to_json() for item in items]}


def _close_staging(context: Context, run: Run) -> list[bool | Json | None]:
    failed, held = _split(context, run)
    items = list(context.catalog_of(run.request.owner).items(run.request.collection, held))
    state = _state(run, failed)
    artifact = _write_artifacts(context, run, state, items)
    context.ledger.close_run(run.id, state, artifact)
    return [not failed, item_collection(items) if items else None]


def _close_decompress(context: Context, run: Run) -> Json:
    record = next(context.ledger.items(run.id))
    if record.state is ItemState.FAILED:
        context.ledger.close_run(run.id, RunState.FAILED, code=record.code, reason=record.reason)
        raise Rejected(record.code, record.reason)
    item = next(context.catalog_of(run.request.owner).items(run.request.collection, [record.item_id]))
    context.ledger.close_run(run.id, RunState.SUCCESSFUL)
    return item.to_json()


def _split(context: Context, run: Run) -> tuple[list[str], list[str]]:
    """The ids of the items that failed, and of those that the run has left in the catalog."""
    failed: list[str] = []
    held: list[str] = []
    for record in context.ledger.items(run.id):
        if record.state is ItemState.FAILED:
            failed.append(record.item_id)
        if record.intact or record.catalogued is not None:
            held.append(record.item_id)
    return failed, held


def _state(run: Run, failed: list[str]) -> RunState:
    if not failed:
        return RunState.SUCCESSFUL
    return RunState.FAILED if len(failed) == run.counts.items else RunState.PARTIAL


def _write_artifacts(context: Context, run: Run, state: RunState, items: list[Item]) -> str:
    """Write the report and, where all is well, the artifact of the reference; returns the href of the report."""
    report = report_of(run, state, context.ledger.items(run.id))
    place = context.owners[run.request.owner].place
    location = run_location(place, run.id, "report.json")
    context.store.put(location, report.model_dump_json(indent=1).encode(), _JSON)
    context.store.put(run_location(place, run.id, "report.html"), page_of(report).encode(), "text/html")
    if state is RunState.SUCCESSFUL and items:
        artifact = run_location(place, run.id, "auxiliary-files.json")
        context.store.put(artifact, artifact_of(items), _JSON)
    return location.href
