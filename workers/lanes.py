"""Whose turn it is: the order in which a worker looks at its lists."""

from collections.abc import Sequence

from shared.models import Lane
from workers.queues import lane_of_queue

MOST_IN_A_ROW = 7
"""On-demand messages that one worker takes while bulk ones wait.

Every eighth is bulk then: sweeps go on under any load at an eighth of the workers, which is all that they cost it.
"""


class Turns:
    """What one worker has taken last, and so what it looks at first."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def order(self, queues: Sequence[str]) -> list[str]:
        """Return the lists in the order to be looked at; those of one lane stay in the order given."""
        first = Lane.BULK if self._in_a_row >= MOST_IN_A_ROW else Lane.ON_DEMAND
        return sorted(queues, key=lambda name: lane_of_queue(name) is not first)

    def took(self, queue: str) -> None:
        """Remember that a message was taken from a list."""
        self._in_a_row = 0 if lane_of_queue(queue) is Lane.BULK else self._in_a_row + 1
