"""Say how an item ended, and what is to be done next in its run."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from shared.context import Context
from shared.models import ItemRecord, ItemState, Outcome, Run, RunState, Settled
from shared.runs.bury import bury_item
from shared.runs.counting import item_counts
from shared.runs.due import Plan, closing, rest_of
from shared.runs.systems import needs_of_items
from shared.steps.standing import archives_of

_FEW: Final = 2
_REPAIRED: Final = "the catalog had it, and objects of it were missing or wrong; they are there again"


def settle_item(context: Context, run: Run, record: ItemRecord) -> list[Plan]:
    """Finish the record of an item and count it in its run, once; returns the plans that this lets begin.

    Raises:
        Busy: `claim-lost`.
    """
    settled = _settle(context, run, record)
    plans = list(_begin(context, run, settled.fed))
    return [*plans, closing(run)] if settled.last else plans


def begin_items(context: Context, run_id: str) -> list[Plan]:
    """Let the first items of a run that is searched have their turn; returns their plans, or that of its closing."""
    run = context.ledger.run(run_id)
    if run.state is RunState.ACCEPTED:
        return []  # the search goes on: a copy of its message has ended early
    if run.state.final or run.counts.finished == run.counts.items:
        return [closing(run)]
    return feed(context, run)


def feed(context: Context, run: Run) -> list[Plan]:
    """Let as many items of a run have their turn as the window has room for; returns their plans.

    Items that need no step are settled at once, which makes room for others.
    """
    return list(_begin(context, run, context.ledger.feed(run.id, _most(context, run))))


def _most(context: Context, run: Run) -> int | None:
    """Return how many items may have their turn while a system that they need cannot be used; None where all can.

    The others stand in the ledger, and not as messages that come and go. The first item that ends lets them follow.
    """
    return _FEW if needs_of_items(context, run).missing(context.outages.all()) else None


def _begin(context: Context, run: Run, keys: Iterable[str]) -> Iterator[Plan]:
    """Yield the plans of items; without recursion, since a whole run may need none."""
    turn = deque(keys)
    while turn:
        record = context.ledger.item(run.id, turn.popleft())
        plan = tuple(rest_of(run, record))
        if plan:
            yield plan
        elif record.finished is None:
            settled = _settle(context, run, record)
            turn.extend(settled.fed)
            if settled.last:
                yield closing(run)


def _settle(context: Context, run: Run, record: ItemRecord) -> Settled:
    ended = outcome(run, record)
    if ended.state is ItemState.FAILED:
        # First, so that no kill comes between; its second call does nothing.
        bury_item(context, run, record.model_copy(update={"code": ended.code, "reason": ended.reason}))
    return context.ledger.settle(record, ended, _most(context, run), item_counts(run, record, ended))


def outcome(run: Run, record: ItemRecord) -> Outcome:
    """Say how an item ended that goes no further."""
    if record.finished is not None or record.state in (ItemState.SKIPPED, ItemState.FAILED):
        return Outcome(state=record.state, code=record.code, reason=record.reason)
    if record.intact and record.damaged:  # mended by a try that did not come to its end, or by another run
        return Outcome(state=ItemState.REPAIRED, code="repaired", reason=_REPAIRED)
    if record.intact:
        return Outcome(state=ItemState.SKIPPED, code="already-staged", reason="catalog and S3 have it as it should be")
    expands = run.request.decompress and archives_of(record.stac_item(), run.request.dbl)
    goal = ItemState.EXPANDED if expands else ItemState.CATALOGUED
    if record.state is goal:
        left_out = [expansion.note for expansion in record.expansions.values() if expansion.note]
        notes = [*left_out, *([record.unproven] if record.unproven else [])]
        if record.damaged:
            return Outcome(state=ItemState.REPAIRED, code="repaired", reason=" | ".join([_REPAIRED, *notes]))
        code = "left-out" if left_out else "unproven" if notes else ""
        return Outcome(state=goal, code=code, reason=" | ".join(notes))
    if run.cancelled is not None:
        return Outcome(
            state=ItemState.SKIPPED,
            code="cancelled",
            reason=f"the run was cancelled when the item was {record.state}; run it again, what is done is kept",
        )
    return Outcome(
        state=ItemState.FAILED,
        code="not-done",
        reason=f"its steps ended when it was {record.state}; run it again, what is done is kept",
    )
