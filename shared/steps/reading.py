"""Read what the catalog shows of an item that is to be staged, and with it of those that come next in its run."""

import time
from typing import Final

from shared.context import Context
from shared.errors import AuxipError
from shared.ledger.answers import ToRead
from shared.ledger.records import item_json
from shared.models import ItemRecord, Run
from shared.stac.item import Item
from shared.stac.many import ManyItems

_PAUSES: Final = (0.02, 0.04, 0.08, 0.16, 0.2)
"""Seconds that are waited for another worker's search: to ask for the item alone costs the catalog as much again."""

_LONGEST: Final = 10.0


def shown_lately(context: Context, run: Run, record: ItemRecord) -> Item | None:
    """Return an item as the catalog has shown it within the last ten seconds, or None where it has none.

    That is good enough to decide what to stage. What is written of us since then is in it, see `ledger.answers`. Of
    what others have written, nothing is lost: an item is read anew before it is published, and one that needs nothing
    is found so by its objects, which are looked at in the store now. Whoever deletes an item of the catalog within
    these seconds does so as if he had come a few seconds later.
    """
    catalog = context.catalog_of(run.request.owner)
    if not catalog.takes_many:
        return catalog.get(run.request.collection, record.item_id)
    found = context.ledger.answers.take(run.id, record.key)
    for pause in _PAUSES:
        if found is not None:
            break
        time.sleep(pause)
        found = context.ledger.answers.take(run.id, record.key)
    if isinstance(found, str):
        return Item.model_validate_json(found) if found else None
    if found is not None and found.others:
        return _read_with_others(context, run, record, found)
    shown = catalog.get(run.request.collection, record.item_id)
    if found is not None:
        context.ledger.answers.leave(found, [record.key], {})
    return shown


def _read_with_others(context: Context, run: Run, record: ItemRecord, to_read: ToRead) -> Item | None:
    catalog, shown = context.catalog_of(run.request.owner), dict[str, Item | None]()
    many = ManyItems(catalog, run.request.collection, time.monotonic() + _LONGEST)
    try:
        shown = many.read([record.item_id, *to_read.others.values()])
    except AuxipError:
        pass  # it comes again below, if it is not for the others
    finally:
        known = {key: shown[item_id] for key, item_id in to_read.others.items() if item_id in shown}
        texts = {key: "" if item is None else item_json(item) for key, item in known.items()}
        context.ledger.answers.leave(to_read, [record.key, *to_read.others], texts)
    if record.item_id in shown:
        return shown[record.item_id]
    return catalog.get(run.request.collection, record.item_id)
