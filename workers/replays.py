"""Replays of items that failed for good: for each dead letter a run of its own, however often that is begun."""

import logging
from contextlib import suppress

from shared.context import Context
from shared.errors import Rejected
from shared.runs.bury import open_replay
from shared.runs.due import searching
from workers.base import publish

_log = logging.getLogger(__name__)


def replay_item(context: Context, letter_id: str) -> str:
    """Begin the run that replays a letter of the kind `item`, then drop the letter; returns the run's id.

    Raises:
        Rejected: `unknown-letter`, `not-replayable`.
    """
    run_id = open_replay(context, letter_id)
    publish([searching(context.ledger.run(run_id))])
    with suppress(Rejected):  # another has replayed or dropped it meanwhile: there is one run all the same
        context.dead_letters.drop(letter_id)
    return run_id


def replay_due(context: Context) -> int:
    """Replay the letters whose time has come, a hundred at most; returns how many runs were begun.

    One that cannot be replayed waits for a person from now on.
    """
    begun = 0
    for letter in context.dead_letters.due():
        try:
            run_id = replay_item(context, letter.id)
        except Rejected as error:
            _log.error("the dead letter %s is left to a person: %s", letter.id, error)
            context.dead_letters.leave_to_a_person(letter.id)
        else:
            _log.info("the dead letter %s is replayed by the run %s", letter.id, run_id)
            begun += 1
    return begun
