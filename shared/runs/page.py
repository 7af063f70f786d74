"""The page of a run: as it was written when the run was closed, or from what the ledger knows of the run."""

import time
from contextlib import suppress
from typing import Final

from shared.answer import Answer
from shared.context import Context
from shared.errors import AuxipError
from shared.models import Run
from shared.page import Gathered, page_of
from shared.report import answer_of_run
from shared.stac.catalog import public_of
from shared.storage.keys import run_location

_DAY: Final = 86_400
_LARGEST: Final = 4 * 2**20


def stored_page(context: Context, run: Run) -> bytes | None:
    """Return the page that the closing of a run has written, or None where there is none, or none any more.

    Raises:
        Retryable: S3 could not answer.
        Refused: `s3-denied`.
    """
    place = context.owners[run.request.owner].place
    return context.store.get(run_location(place, run.id, "report.html"), _LARGEST) if run.artifact else None


def page_from_ledger(context: Context, run: Run) -> str:
    """Return the page of a run from what the ledger knows of it, also while the run goes on; without its files."""
    answer = answer_of_run(run, context.ledger.failed_items(run))
    gathered = gathering(context, run)
    for batch in context.ledger.record_batches(run.id):
        for record in batch:
            gathered.add(record)
    return written_page(context, run, answer, gathered)


def gathering(context: Context, run: Run) -> Gathered:
    """Return what the items of a run are gathered with for its page."""
    collection_url = ""
    if run.counts.failed < run.counts.items:
        with suppress(AuxipError):
            collection_url = context.catalog_of(run.request.owner).collection_url(run.request.collection)
    return Gathered(run, time.time(), collection_url, warn_until(context))


def warn_until(context: Context) -> float:
    """Return before when the eviction of an item that is not staged is worth a warning, in seconds since the epoch."""
    return time.time() + context.settings.eviction_warning_days * _DAY


def written_page(context: Context, run: Run, answer: Answer, gathered: Gathered) -> str:
    """Return the page of a run whose items are all gathered."""
    public = public_of(context.settings)
    return page_of(run, answer, gathered, public.url_of(run.artifact) if public is not None else "")
