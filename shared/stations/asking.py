"""How a page of a search is asked for: again after a pause where that helps, and within the search's time."""

import itertools
import time
from collections.abc import Callable
from typing import Final, TypeVar

from shared.errors import Busy, ItemFailed, Refused, Rejected, Retryable
from shared.retries import delay_before_retry
from shared.settings import Settings

_PATIENCE: Final = 10.0
"""Seconds to wait in place for a page; a longer pause is spent without holding a worker."""

_Page = TypeVar("_Page")


def asked(ask: Callable[[float | None], _Page], deadline: float | None, tries: int, settings: Settings) -> _Page:
    """Return a page of a search, asked for up to so many times.

    Args:
        ask: asks once; it is given the seconds that are left, or None where there is no limit.
        deadline: instant of `time.monotonic()` at which the search must be over.
        tries: how often the page is asked for.
        settings: the pauses.

    Raises:
        Rejected: `search-timeout`, the deadline has passed; `station-foreign-link`, a redirect leads to another host.
        Retryable: what the last try ended with.
    """
    for attempt in itertools.count(1):
        try:
            return ask(seconds_left(deadline))
        except (Busy, Refused):
            raise
        except ItemFailed as error:  # a redirect that the transport refuses
            raise Rejected("station-foreign-link", error.reason) from None
        except Retryable as error:
            left = seconds_left(deadline)
            delay = delay_before_retry(error, attempt, settings) if attempt < tries else None
            if delay is None or delay > _PATIENCE:
                raise
            time.sleep(delay if left is None else min(delay, left))
    raise AssertionError  # the loop ends by itself


def seconds_left(deadline: float | None) -> float | None:
    """Return the seconds until the deadline of a search, or None where it has none.

    Raises:
        Rejected: `search-timeout`, it has passed.
    """
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise Rejected("search-timeout", "the search took longer than its timeout_seconds")
    return left
