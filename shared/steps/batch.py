"""Publish an item together with others of its run: read by one search, written by one request, read back by one search.

A catalog has about the same work with one request as with a hundred items in it: pgSTAC spends 10 ms on each of the
three requests of an item that is published alone, and 1.5 ms on one of a hundred. What goes wrong with a batch is no
failure of its items. Those that are not shown as they were written are published alone, each by its own message, and
there they fail with their own code, or pass. So are those that the catalog has already, and that are to be changed.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from shared.context import Context
from shared.errors import AuxipError
from shared.models import ItemRecord, ItemState, Run
from shared.stac.flavours import hrefs
from shared.stac.item import Item
from shared.stac.many import ManyItems
from shared.steps.publish import item_to_write, publish_and_fetch

_log = logging.getLogger(__name__)

_LONGEST: Final = 30.0
"""Seconds after which a batch begins nothing more: less than a worker is given to stop, and much less than a step."""


def gather_others(context: Context, run_id: str, key: str) -> None:
    """Wait, before a staged item is claimed, until others of its run are staged; a fifth of a second at most."""
    if context.catalog_of(context.settings.default_owner).takes_many:
        context.ledger.batches.gather(run_id, key)


def publish_with_others(context: Context, run: Run, record: ItemRecord) -> None:
    """Publish a staged item as `publish_and_fetch` does, and with it those of its run that are staged by now.

    Raises:
        ItemFailed, Retryable, Rejected: as `publish_and_fetch`, which this item then was left to.
    """
    if record.catalogued is None and record.expanded is None and context.catalog_of(run.request.owner).takes_many:
        with context.ledger.batches.gathered(record, context.settings.lease) as others:
            if others:
                _publish_together(context, run, [record, *others])
                context.ledger.batches.record([one for one in others if one.catalogued is not None])
    publish_and_fetch(context, run, record)


def _publish_together(context: Context, run: Run, records: Sequence[ItemRecord]) -> None:
    """Publish what can be published together. Whatever goes wrong here will go wrong again for the item at fault."""
    until = time.monotonic() + _LONGEST
    many = ManyItems(context.catalog_of(run.request.owner), run.request.collection, until)
    try:
        shown = many.read([record.item_id for record in records])
        sure = [record for record in records if record.item_id in shown]
        _write(context, many, list(_new_items(context, run, sure, shown, until)))
    except AuxipError as error:
        _log.warning("%d items of run %s are published one by one: %s", len(records), run.id, error)


def _new_items(
    context: Context, run: Run, records: Sequence[ItemRecord], shown: Mapping[str, Item | None], until: float
) -> Iterator[tuple[ItemRecord, Item]]:
    """Yield the items that the catalog does not have, as they are to be written; what it has whole is recorded.

    An item that it has otherwise is left out, and one that cannot be published.
    """
    for record in records:
        if time.monotonic() >= until:
            return
        before = shown[record.item_id]
        try:
            item = item_to_write(context, run, record, before)
        except Exception as error:  # noqa: BLE001 - it comes again where the item is alone, and is recorded there
            _log.info("item %s of run %s is published alone: %s", record.key, run.id, type(error).__name__)
            continue
        if item is None:
            context.ledger.reach(record, ItemState.CATALOGUED)
        elif before is None:
            yield record, item


def _write(context: Context, many: ManyItems, new: Sequence[tuple[ItemRecord, Item]]) -> None:
    """Write new items, and record those as published that the catalog then shows as they were written."""
    if not new:
        return
    by_id = {item.id: record for record, item in new}

    def still_ours(items: Sequence[Item]) -> list[Item]:
        ours = {record.item_id for record in context.ledger.still_claimed([by_id[item.id] for item in items])}
        return [item for item in items if item.id in ours]

    many.write([item for _, item in new], still_ours)
    shown = many.read([*by_id])
    for record, item in new:
        now = shown.get(item.id)
        if now is not None and hrefs(item).items() <= hrefs(now).items():
            context.ledger.reach(record, ItemState.CATALOGUED)
