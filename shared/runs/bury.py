"""Bury an item that failed for good: a dead letter of it is kept, or not, as the rules say, and replayed by a new run.

A letter's payload holds the request of the run that replays it, so that nothing depends on how long the ledger keeps
the run that failed.
"""

import uuid

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.context import Context
from shared.errors import Rejected
from shared.json_types import Json
from shared.ledger.dead_letters import WHOLE_RUN, trimmed
from shared.letter_rules import rule_for
from shared.models import ItemRecord, Run, RunRequest
from shared.selection import Given, OrbitSelection, PolicySelection
from shared.stac.search import RECORDED, Cql2
from shared.validation import first_problem

_RUNS = uuid.UUID("c41c1c9e-6f5f-5d0c-9a53-0d1b7a1f5e52")
_SHOWN_ID = 100


class FailedWork(BaseModel):
    """The payload of a letter of the kind `item`.

    Attributes:
        run: the run that failed at it.
        key: of the item in the run; `*` where the letter is about the run.
        item_id: of the item; empty where the letter is about the run.
        code: of the failure.
        reason: of the failure.
        attempts: how often its steps were tried in vain.
        request: what the run that replays it is to do.
    """

    model_config = ConfigDict(frozen=True)

    run: str
    key: str
    item_id: str = ""
    code: str
    reason: str
    attempts: int = 0
    request: RunRequest


def bury_item(context: Context, run: Run, record: ItemRecord) -> None:
    """Apply the rules to an item of a run that failed for good; a second call for it changes nothing.

    Of one run so many items have letters of their own (`DeadLetters.run_share`); one more letter, `many-failed`, stands
    for all the others, and is replayed by doing the whole request again.

    Args:
        context: of the process.
        run: the run.
        record: of the item as it is settled, with the code and the reason.
    """
    work = FailedWork(
        run=run.id,
        key=record.key,
        item_id=record.item_id,
        code=record.code,
        reason=trimmed(record.reason),
        attempts=record.attempts,
        request=_request_for(run, record),
    )
    if not _bury(context, work, f"{record.item_id[:_SHOWN_ID]}: {record.reason}"):
        share = context.dead_letters.run_share
        reason = f"more than {share} items of the run failed; this letter stands for all but {share} of them"
        _bury_run(context, run, code="many-failed", reason=reason)


def bury_replay(context: Context, run_id: str, code: str, reason: str) -> None:
    """Apply the rules to a run that has failed as a whole, where it was a replay: its letter is there no more.

    Any other run that fails so is its caller's to ask for again.
    """
    try:
        run = context.ledger.run(run_id)
    except Rejected:
        return  # nothing tells any more what it was to do
    if run.request.replays:
        _bury_run(context, run, code, f"{run.request.label}: {reason}")


def open_replay(context: Context, letter_id: str) -> str:
    """Open the run that replays a letter of the kind `item`, and return its id: always the same for one letter.

    The letter stays: whoever calls this puts the first step of the run on its queue, and only then drops the letter.

    Raises:
        Rejected: `unknown-letter`; `not-replayable`, its payload does not say what is to be done.
    """
    payload = context.dead_letters.payload(letter_id)
    try:
        work = FailedWork.model_validate_json(payload, context=RECORDED)
    except ValidationError as error:
        raise Rejected("not-replayable", f"{letter_id} cannot be read: {first_problem(error)}") from None
    run_id = str(uuid.uuid5(_RUNS, letter_id))
    context.ledger.open_run(run_id, work.request)
    return run_id


def _bury_run(context: Context, run: Run, code: str, reason: str) -> None:
    label = run.request.label if run.request.replays else f"replay of {run.request.label or run.id}"
    request = run.request.model_copy(update={"label": label, "replays": run.request.replays + 1})
    _bury(context, FailedWork(run=run.id, key=WHOLE_RUN, code=code, reason=trimmed(reason), request=request), reason)


def _bury(context: Context, work: FailedWork, reason: str) -> bool:
    """Apply the rules; returns whether the work needs no letter any more, else the run has its share of them."""
    rule = rule_for(context.settings.dead_letter_rules, work.code)
    if rule.then == "drop":
        return True
    again = rule.then == "retry" and work.request.replays <= rule.at_most
    again_in = rule.after.total_seconds() if again else None
    payload = work.model_dump_json().encode()
    return context.dead_letters.park_item(work.run, work.key, payload, work.code, reason, again_in)


def _request_for(run: Run, record: ItemRecord) -> RunRequest:
    """What the failed run was asked for, for this one item; what no policy could judge is to be judged again."""
    selection = run.request.selection
    unjudged = isinstance(selection, PolicySelection | OrbitSelection) and record.claimed is None
    if not unjudged and not isinstance(selection, Given):
        by_id: Json = {"op": "=", "args": [{"property": "id"}, record.item_id]}
        # Not validated: what we make ourselves is CQL2, and to check it takes 30 ms.
        selection = Cql2.model_construct(filter=by_id, limit=None, sortby=())
    label = trimmed(f"replay of {record.item_id[:_SHOWN_ID]}")
    return run.request.model_copy(update={"selection": selection, "label": label, "replays": run.request.replays + 1})
