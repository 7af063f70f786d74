"""Close a run: its result for the caller, its artifacts in S3, its final record; in little memory, however large."""

import json
import logging
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

from shared.answer import Answer
from shared.context import Context
from shared.errors import Rejected
from shared.json_types import Json
from shared.models import ItemRecord, ItemState, Run, RunKind, RunState
from shared.page import Gathered
from shared.report import EVICTED_SOON, REPORT_TAIL, answer_of_run, evicted_soon, report_head, report_items
from shared.runs.bury import bury_replay
from shared.runs.counting import run_counts
from shared.runs.page import gathering, warn_until, written_page
from shared.stac.item import Item
from shared.storage.documents import SEPARATOR, JsonList
from shared.storage.keys import run_location

GEOJSON: Final = "application/geo+json"
"""Type of the link to an ItemCollection that is too large for a result."""

_COLLECTION_HEAD: Final = '{"type":"FeatureCollection","features":[\n'
_COLLECTION_TAIL: Final = "]}"
_CANCELLED: Final = "the run was cancelled before its item was expanded"
_MOST_NAMED: Final = 5

_log = logging.getLogger(__name__)


def close(context: Context, run: Run) -> Json | list[bool | Json | None]:
    """Close a run whose work is done or was cancelled, and return its result; closing it again returns the same.

    Returns:
        Of a staging run `[status, ItemCollection or null]`, as in the reference; where the collection has more bytes
        than `AUXIP_MAX_RESULT_BYTES`, a link to it stands in its place:
        `{"rel": "items", "type": "application/geo+json", "href": "s3://..", "items": number, "bytes": number}`.
        Of a run that expanded the archives of an item, the item.

    Raises:
        Rejected: with the code and the reason with which the run as a whole, or its only item, failed; `cancelled`.
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
    if context.ledger.knows_run(run_id):
        _record(context, context.ledger.run(run_id), RunState.FAILED, code=code, reason=reason)


def item_collection(items: list[Item]) -> Json:
    """Return items as a GeoJSON FeatureCollection."""
    return {"type": "FeatureCollection", "features": [item.to_json() for item in items]}


def _close_staging(context: Context, run: Run) -> list[bool | Json | None]:
    at = partial(run_location, context.owners[run.request.owner].place, run.id)
    report = "" if is_routine(run) else at("report.json").href
    run = run.model_copy(update={"state": _state(run), "closed": time.time(), "artifact": report})
    answer = answer_of_run(run, context.ledger.failed_items(run))
    gathered = gathering(context, run) if report else None
    collected = _write_lists(context, run, answer, gathered)
    if gathered is not None:
        page = written_page(context, run, answer, gathered)
        context.store.put(at("report.html"), page.encode(), "text/html; charset=utf-8")
    _record(context, run, run.state, run.artifact)
    return [run.state is RunState.SUCCESSFUL, collected]


def is_routine(run: Run) -> bool:
    """Whether a run of a sweep has found nothing new: it leaves no report, since some sweeps run each minute."""
    counts, is_sweep = run.counts, bool(run.request.label)
    return is_sweep and run.cancelled is None and counts.skipped == counts.items


def _close_decompress(context: Context, run: Run) -> Json:
    record = next(context.ledger.items(run.id), None)
    if record is not None and record.state is ItemState.FAILED:
        _record(context, run, RunState.FAILED, code=record.code, reason=record.reason)
        raise Rejected(record.code, record.reason)
    if record is None or (run.cancelled is not None and record.state is not ItemState.EXPANDED):
        _record(context, run, RunState.CANCELLED, code="cancelled", reason=_CANCELLED)
        raise Rejected("cancelled", _CANCELLED)
    ((item,),) = context.catalog_of(run.request.owner).items(run.request.collection, [record.item_id])
    _record(context, run, _state(run))
    return item


def _record(context: Context, run: Run, state: RunState, artifact: str = "", code: str = "", reason: str = "") -> None:
    context.ledger.close_run(run.id, state, artifact, code, reason, run_counts(run, state, code))


def _state(run: Run) -> RunState:
    if run.cancelled is not None:
        return RunState.CANCELLED
    if not run.counts.failed:
        return RunState.SUCCESSFUL
    return RunState.FAILED if run.counts.failed == run.counts.items else RunState.PARTIAL


class _Collected:
    """The ItemCollection of a run: in memory up to a limit, in S3 from there on."""

    def __init__(self, document: JsonList, limit: int) -> None:
        self._document = document
        self._limit = limit
        self._held: list[str] = []
        self._items = 0
        self._bytes = len(_COLLECTION_HEAD) + len(_COLLECTION_TAIL) - len(SEPARATOR)

    def add(self, features: list[str]) -> None:
        """Take items, as JSON in ASCII."""
        self._held += features
        self._items += len(features)
        self._bytes += sum(len(feature) + len(SEPARATOR) for feature in features)
        if self._bytes > self._limit:
            self._document.add(self._held)
            self._held = []

    def result(self) -> Json | None:
        """Return the collection, or a link to it; None where there is no item. To be called when it is written."""
        written = self._document.written
        if written is not None:
            href = self._document.location.href
            return {"rel": "items", "type": GEOJSON, "href": href, "items": self._items, "bytes": written.size}
        if not self._items:
            return None
        return {"type": "FeatureCollection", "features": [json.loads(feature) for feature in self._held]}


def _write_lists(context: Context, run: Run, answer: Answer, gathered: Gathered | None) -> Json | None:
    """Write the report, the artifact of the reference where all is well, and the collection where it is large.

    In one pass over the ledger's records, and over the catalog's items beside it.

    Args:
        context: of the process.
        run: as it is closed.
        answer: about the run.
        gathered: receives the items for the page; None where there is neither a page nor a report.

    Returns:
        The ItemCollection, the link to it, or None where the run holds no item.
    """
    place, store = context.owners[run.request.owner].place, context.store
    at = partial(run_location, place, run.id)
    with (
        JsonList(store, at("item-collection.json"), _COLLECTION_HEAD, _COLLECTION_TAIL, GEOJSON) as large,
        JsonList(store, at("auxiliary-files.json")) as artifact,
        JsonList(store, at("report.json"), report_head(answer), REPORT_TAIL) as written,
    ):
        if gathered is not None:
            written.begin()
        collected = _Collected(large, context.settings.max_result_bytes)
        missing = _Missing(warn_until(context))
        passed = _passed(context.ledger.record_batches(run.id), written, gathered, missing)
        for items in context.catalog_of(run.request.owner).items(run.request.collection, _held(passed)):
            features = [json.dumps(item) for item in items]
            collected.add(features)
            if gathered is not None:
                gathered.show(items)
            if run.state is RunState.SUCCESSFUL and gathered is not None:
                artifact.add(features)
        missing.log(run)
    return collected.result()


class _Missing:
    """What a run has not staged and its station removes before an instant, in seconds since the epoch."""

    def __init__(self, until: float) -> None:
        self.until = until
        self._count = 0
        self._named: list[str] = []

    def add(self, record: ItemRecord) -> None:
        """Take the next item."""
        if evicted_soon(record, self.until):
            self._count += 1
            if len(self._named) < _MOST_NAMED:
                self._named.append(record.item_id)

    def log(self, run: Run) -> None:
        """Log a warning if there is any such item."""
        if self._count:
            said = "%s: the run %s has not staged %d items that their station removes soon, among them %s"
            _log.warning(said, EVICTED_SOON, run.id, self._count, ", ".join(self._named))


def _passed(
    batches: Iterable[list[ItemRecord]], report: JsonList, gathered: Gathered | None, missing: _Missing
) -> Iterator[ItemRecord]:
    """Pass the records of a run on, once they are in the report and on the page."""
    for batch in batches:
        if gathered is not None:
            report.add(report_items(batch, missing.until))
        for record in batch:
            if gathered is not None:
                gathered.add(record)
            missing.add(record)
            yield record


def _held(records: Iterable[ItemRecord]) -> Iterator[str]:
    """The ids of the items that the run has left in the catalog."""
    return (record.item_id for record in records if record.in_catalog)
