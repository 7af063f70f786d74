"""When a step is tried again: exponential backoff with full jitter, or the delay that the other side asked for.

And when a job that goes on elsewhere is looked at again, which is no try.
"""

import random
from typing import Final

from shared.errors import Retryable
from shared.settings import Settings

_LONGEST_POLL = 60.0
_SPREAD = 0.2
_POLLS = 0.1
_DOUBLINGS = 16
_ANSWERS = 10
RESUMES: Final = 3
"""Connections in a row that bring nothing before a download is left to the next try of its step."""


def delay_before_retry(error: Retryable, attempt: int, settings: Settings) -> float | None:
    """Return the seconds to wait before the next try, or None where the budget is used up.

    Args:
        error: what the last try ended with; its own delay is honoured up to `backoff_max`.
        attempt: how many tries there were, the first being 1.
        settings: `attempts`, `backoff_base` and `backoff_max`.
    """
    if attempt >= settings.attempts:
        return None
    return _wait(error, attempt, settings)


def delay_before_resume(error: Retryable, fruitless: int, settings: Settings) -> float | None:
    """Return the seconds to wait before a download is taken up again, or None where that is left to another try.

    Args:
        error: what the last connection ended with.
        fruitless: how many connections in a row have brought nothing, this one included; 0 if it brought something.
        settings: `backoff_base` and `backoff_max`.
    """
    return None if fruitless > RESUMES else _wait(error, max(1, fruitless), settings)


def _wait(error: Retryable, attempt: int, settings: Settings) -> float:
    if error.delay is not None:
        return min(error.delay, settings.backoff_max)
    ceiling = min(settings.backoff_max, settings.backoff_base * 2 ** (attempt - 1))
    # Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    return random.uniform(0, ceiling)  # noqa: S311 - spreads load, guards nothing


def delay_before_look(waited: float, settings: Settings) -> float:
    """Return the seconds to wait before a job is looked at again: a tenth of its age, so that a long one costs little.

    At least `staging_poll` and at most a minute, 20 % more or less so that the jobs of a page are not all asked for at
    once.

    Args:
        waited: seconds since the job was begun.
        settings: `staging_poll`.
    """
    pause = min(max(settings.staging_poll, _POLLS * waited), _LONGEST_POLL)
    return pause * random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311 - spreads load, guards nothing


def delay_before_probe(probes: int, settings: Settings) -> float:
    """Return the seconds before a system that cannot be used is probed again; a minute at most.

    Args:
        probes: how many have failed.
        settings: `backoff_base` and `backoff_max`.
    """
    longest = min(settings.backoff_max, _LONGEST_POLL)
    return min(longest, settings.backoff_base * 2.0 ** min(probes - 1, _DOUBLINGS))


def delay_until_probed(left: float, settings: Settings) -> float:
    """Return the seconds before a step that waits for a system comes back: after the next probe, not all at once.

    Args:
        left: seconds until the next probe may begin.
        settings: `backoff_base`.
    """
    return left + random.uniform(0, max(settings.backoff_base, left / 2))  # noqa: S311 - spreads load, guards nothing


def delay_until_probe_ends(left: float, settings: Settings) -> float:
    """Return the seconds before a step asks what a probe has found that is under way.

    Most probes end at once, and one that hangs must not be asked about by every step each second.

    Args:
        left: seconds after which the probe has ended, or its worker is dead.
        settings: `backoff_base`.
    """
    longest = min(left, _ANSWERS * settings.backoff_base)
    return random.uniform(min(left, settings.backoff_base), longest)  # noqa: S311 - spreads load, guards nothing


def longest_search(settings: Settings) -> float:
    """Return the seconds that a search without a time of its own may wait for systems, all its tries together.

    A count of tries is no bound: they are over in seconds, or never where waiting uses up none.
    """
    return settings.step_timeout


def longest_wait(settings: Settings) -> float:
    """Return the seconds that no step has to wait longer for before it is tried or looked at again."""
    look = _LONGEST_POLL * (1 + _SPREAD) if settings.staging_backend == "ogc" else 0
    return max(settings.backoff_max, settings.lease, look)
