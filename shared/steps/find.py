"""Find the items of a run: drain the station's pages into the ledger before any work on them begins."""

import time
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice

from shared.context import Context
from shared.errors import NothingFound, Rejected
from shared.models import Run
from shared.selection import Given, PolicySelection, choose
from shared.stac.item import Found, Item
from shared.stac.search import Cql2

_BATCH = 200


def find_items(context: Context, run: Run) -> int:
    """Put the items that a run selects into the ledger; returns how many items the run has.

    Running it again adds only what is new, so a search that was cut off by a crash is simply begun anew.

    Raises:
        Rejected: `unknown-collection`, `search-timeout`, `too-many-items`, and what the station's answers mean.
        Retryable: the station or the catalog could not answer.
    """
    context.catalog.require_collection(run.request.collection)
    limit = context.settings.max_items
    for batch in _batches(_select(context, run), _BATCH):
        context.ledger.add_items(run.id, batch)
        if context.ledger.run(run.id).counts.items > limit:
            raise Rejected("too-many-items", f"the search finds more than {limit} items (AUXIP_MAX_ITEMS); narrow it")
    return context.ledger.run(run.id).counts.items


def search_items(context: Context, search: Cql2, error_if_empty: bool) -> list[Item]:
    """Return the items that a plain search finds, for a caller that wants them at once.

    Raises:
        NothingFound: there is none, and the caller takes that for an error.
        Rejected: `too-many-items`, or `bad-item` for an item that is malformed.
    """
    limit = context.settings.max_items
    items: list[Item] = []
    for found in context.station.search(search):
        if found.item is None and found.code != "no-assets":
            raise Rejected(found.code, f"{found.item_id}: {found.reason}")
        if found.item is not None:
            items.append(found.item)
        if len(items) > limit:
            raise Rejected("too-many-items", f"the search finds more than {limit} items (AUXIP_MAX_ITEMS); narrow it")
    if not items and error_if_empty:
        raise NothingFound(str(search.filter)[:500])
    return items


def _select(context: Context, run: Run) -> Iterator[Found]:
    selection = run.request.selection
    if isinstance(selection, Given):
        return iter([_given(context, run, selection)])
    timeout = run.request.timeout_seconds
    deadline = time.monotonic() + timeout if timeout >= 0 else None
    search = partial(context.station.search, deadline=deadline)
    return choose(selection, search) if isinstance(selection, PolicySelection) else search(selection)


def _given(context: Context, run: Run, given: Given) -> Found:
    item = context.catalog.get(run.request.collection, given.item_id)
    if item is None:
        raise Rejected("unknown-item", f"the collection {run.request.collection!r} has no item {given.item_id!r}")
    return Found(item_id=item.id, item=item)


def _batches(found: Iterator[Found], size: int) -> Iterator[Iterable[Found]]:
    while batch := list(islice(found, size)):
        yield batch
