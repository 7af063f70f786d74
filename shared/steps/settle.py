"""Settle an item: its last step, which says how it ended whatever the steps before have come to."""

from collections.abc import Sequence

from shared.context import Context
from shared.models import ItemRecord, ItemState, Outcome, Run
from shared.stac.item import Item
from shared.steps.standing import archives_of


def settle_item(context: Context, run: Run, record: ItemRecord) -> None:
    """Finish the record of an item and count it in its run; a second call changes nothing."""
    if record.finished is not None:
        return
    unusable = record.state in (ItemState.FAILED, ItemState.SKIPPED)
    item = None if unusable else context.ledger.stac_item(run.id, record.key)
    notes = [expansion.note for expansion in context.ledger.expansions(run.id, record.key).values() if expansion.note]
    context.ledger.settle(run.id, record.key, outcome(run, record, item, notes))


def outcome(run: Run, record: ItemRecord, item: Item | None, notes: Sequence[str] = ()) -> Outcome:
    """Say how an item ended.

    Args:
        run: the run it belongs to.
        record: how far it came.
        item: as the station gave it; None where that was unusable.
        notes: what was left out of its archives, where the settings allow that.
    """
    if record.state is ItemState.SKIPPED:
        return Outcome(state=ItemState.SKIPPED, code=record.code, reason=record.reason)
    if record.state is ItemState.FAILED or item is None:
        return Outcome(state=ItemState.FAILED, code=record.code, reason=record.reason)
    if record.intact:
        return Outcome(state=ItemState.SKIPPED, code="already-staged", reason="catalog and S3 have it as it should be")
    goal = ItemState.EXPANDED if run.request.decompress and archives_of(item) else ItemState.CATALOGUED
    if record.state is goal:
        return Outcome(state=goal, code="left-out" if notes else "", reason=" | ".join(notes))
    return Outcome(
        state=ItemState.FAILED,
        code="not-done",
        reason=f"its steps ended when it was {record.state}; run it again, what is done is kept",
    )
