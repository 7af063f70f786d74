"""Whose turn it is: the order in which a worker looks at its lists."""

from collections.abc import Sequence
from typing import Any, cast

from celery.worker import state

from shared.models import Lane
from workers.queues import lane_of_queue

MOST_IN_A_ROW = 7
"""On-demand messages that one worker takes while bulk ones wait.

Every eighth is bulk then: sweeps go on under any load at an eighth of the workers, which is all that they cost it.
"""


def bulk_in_work() -> int:
    """Return how many bulk tasks the processes of this worker work on; those that wait for their time do not count."""
    requests: set[Any] = cast("Any", state).reserved_requests
    keys = [str((request.delivery_info or {}).get("routing_key")) for request in requests]
    return sum(lane_of_queue(key) is Lane.BULK for key in keys)


class Turns:
    """What one worker has taken last, and so what it looks at first."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def order(self, queues: Sequence[str], bulk_max: int | None = None) -> list[str]:
        """Return the lists in the order to be looked at; those of one lane stay in the order given.

        Args:
            queues: the lists that the worker consumes.
            bulk_max: bulk tasks that its processes may work on at once; while they do, the bulk lists are left out.
                None means that there is no limit.
        """
        if bulk_max is not None and bulk_in_work() >= bulk_max:
            return [name for name in queues if lane_of_queue(name) is not Lane.BULK]
        first = Lane.BULK if self._in_a_row >= MOST_IN_A_ROW else Lane.ON_DEMAND
        return sorted(queues, key=lambda name: lane_of_queue(name) is not first)

    def took(self, queue: str) -> None:
        """Remember that a message was taken from a list."""
        self._in_a_row = 0 if lane_of_queue(queue) is Lane.BULK else self._in_a_row + 1
