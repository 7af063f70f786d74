"""Say how an item ended, and what is to be done next in its run."""

from collections import deque
from collections.abc import Iterable, Iterator

from shared.context import Context
from shared.models import ItemRecord, ItemState, Outcome, Run, Settled
from shared.steps.bury import bury_item
from shared.steps.due import Step, StepName, due_steps, expanding, step_of
from shared.steps.standing import archives_of


def go_on(context: Context, run: Run, record: ItemRecord) -> list[Step]:
    """End the claim of an item whose step has ended, well or not; returns what is to be published next.

    Raises:
        Busy: `claim-lost`, it is another worker's by now.
    """
    steps = due_steps(run, record)
    if not steps:
        return settle_item(context, run, record)
    context.ledger.next(record)
    return [*steps]


def go_on_after(context: Context, run: Run, record: ItemRecord, part: str) -> list[Step]:
    """End the claim of an archive of an item; returns what is to be published next, nothing until all have ended.

    Raises:
        Busy: `claim-lost`.
    """
    parts = expanding(run, record)
    if context.ledger.next(record, part, parts):
        return []
    if len(parts) == 1:
        ended = record.model_copy(update={"ended": frozenset(parts), "claim": None})
    else:
        ended = context.ledger.item(run.id, record.key)  # another archive may have failed meanwhile
    return [*due_steps(run, ended)] or settle_item(context, run, ended)


def settle_item(context: Context, run: Run, record: ItemRecord) -> list[Step]:
    """Finish the record of an item and count it in its run, once; returns what is to be published then.

    Raises:
        Busy: `claim-lost`.
    """
    return list(_after(context, run, _settle(context, run, record)))


def feed(context: Context, run: Run) -> list[Step]:
    """Let as many items of a run have their turn as the window has room for; returns their first steps.

    Those that need none are settled at once, which makes room for others.
    """
    return list(_begin(context, run, context.ledger.feed(run.id)))


def _after(context: Context, run: Run, settled: Settled) -> Iterator[Step]:
    yield from _begin(context, run, settled.fed)
    if settled.last:
        yield step_of(run, StepName.CLOSE)


def _begin(context: Context, run: Run, keys: Iterable[str]) -> Iterator[Step]:
    """Yield the first steps of items; without recursion, since a whole run may need none."""
    turn = deque(keys)
    while turn:
        record = context.ledger.item(run.id, turn.popleft())
        steps = due_steps(run, record)
        yield from steps
        if not steps and record.finished is None:
            settled = _settle(context, run, record)
            turn.extend(settled.fed)
            if settled.last:
                yield step_of(run, StepName.CLOSE)


def _settle(context: Context, run: Run, record: ItemRecord) -> Settled:
    ended = outcome(run, record)
    if ended.state is ItemState.FAILED:
        # First, so that no kill comes between; its second call does nothing.
        bury_item(context, run, record.model_copy(update={"code": ended.code, "reason": ended.reason}))
    return context.ledger.settle(record, ended)


def outcome(run: Run, record: ItemRecord) -> Outcome:
    """Say how an item ended that goes no further."""
    if record.finished is not None or record.state in (ItemState.SKIPPED, ItemState.FAILED):
        return Outcome(state=record.state, code=record.code, reason=record.reason)
    if record.intact:
        return Outcome(state=ItemState.SKIPPED, code="already-staged", reason="catalog and S3 have it as it should be")
    goal = ItemState.EXPANDED if run.request.decompress and archives_of(record.stac_item()) else ItemState.CATALOGUED
    if record.state is goal:
        notes = [expansion.note for expansion in record.expansions.values() if expansion.note]
        return Outcome(state=goal, code="left-out" if notes else "", reason=" | ".join(notes))
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
