"""Find the items of a run: drain the station's pages into the ledger before any work on them begins."""

import time
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from shared.context import Context
from shared.errors import ItemFailed, NothingFound, Rejected
from shared.models import Run
from shared.selection import Given, Search
from shared.stac.item import Found, Item
from shared.stac.search import Cql2
from shared.steps.standing import require_owner

_BATCH = 200


def find_items(context: Context, run: Run) -> int:
    """Put the items that a run selects into the ledger; returns how many items the run has.

    Running it again adds only what is new, so a search that was cut off by a crash is simply begun anew.

    Raises:
        Rejected: `unknown-collection`, `search-timeout`, `too-many-items`, and what the station's answers mean.
        Retryable: the station or the catalog could not answer.
    """
    context.catalog_of(run.request.owner).require_collection(run.request.collection)
    limit = context.settings.max_items
    for batch in _batches(_with_assets(run, _select(context, run)), _BATCH):
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
    found = chain.from_iterable(context.station.search(search, deadline) for search in selection.searches())
    return (chosen for one in found if (chosen := _chosen(selection, one)) is not None)


def _given(context: Context, run: Run, given: Given) -> Found:
    item = context.catalog_of(run.request.owner).get(run.request.collection, given.item_id)
    if item is None:
        raise Rejected("unknown-item", f"the collection {run.request.collection!r} has no item {given.item_id!r}")
    require_owner(run, item)
    return Found(item_id=item.id, item=item)


def _chosen(selection: Search, found: Found) -> Found | None:
    """The item if the policy takes it, None if not, and a failed one where the policy cannot tell."""
    if found.item is None:
        return found
    try:
        return found if selection.accepts(found.item) else None
    except ItemFailed as error:
        return Found.unusable(found.item_id, error.code, error.reason)


def _with_assets(run: Run, found: Iterator[Found]) -> Iterator[Found]:
    names = run.request.asset_names
    return found if names is None else (one.with_assets(names) for one in found)


def _batches(found: Iterator[Found], size: int) -> Iterator[Iterable[Found]]:
    while batch := list(islice(found, size)):
        yield batch
