"""Retries: backoff grows with full jitter, the other side's wish is honoured, the budget is never overdrawn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Retryable
from shared.retries import (
    RESUMES,
    delay_before_look,
    delay_before_probe,
    delay_before_resume,
    delay_before_retry,
    delay_until_probe_ends,
    delay_until_probed,
    longest_search,
)
from tests.unit.making import settings_of

SETTINGS = settings_of(attempts=5, backoff_base=1.0, backoff_max=6.0)
FAULT = Retryable("station-unavailable", "answered 500")


@pytest.mark.parametrize(("attempt", "ceiling"), [(1, 1), (2, 2), (3, 4), (4, 6)])
def test_the_wait_is_anything_up_to_a_ceiling_that_doubles_until_the_longest_wait(attempt: int, ceiling: float) -> None:
    delays = [delay_before_retry(FAULT, attempt, SETTINGS) for _ in range(300)]

    assert all(delay is not None and 0 <= delay <= ceiling for delay in delays)
    assert max(delay or 0 for delay in delays) > ceiling / 2
    assert min(delay or 0 for delay in delays) < ceiling / 2


@pytest.mark.parametrize(("asked", "waited"), [(0, 0), (2.5, 2.5), (6, 6), (3600, 6), (float("inf"), 6)])
def test_the_wait_that_the_other_side_asks_for_is_honoured_up_to_the_longest(asked: float, waited: float) -> None:
    assert delay_before_retry(Retryable("station-rate-limited", "429", asked), 1, SETTINGS) == waited


@pytest.mark.parametrize("delay", [None, 0.0])
def test_the_last_try_is_followed_by_none(delay: float | None) -> None:
    error = Retryable("station-unavailable", "", delay)
    assert delay_before_retry(error, 4, SETTINGS) is not None
    assert delay_before_retry(error, 5, SETTINGS) is None
    assert delay_before_retry(error, 6, SETTINGS) is None


def test_with_one_attempt_nothing_is_tried_again() -> None:
    assert delay_before_retry(FAULT, 1, settings_of(attempts=1)) is None


@given(attempt=st.integers(1, 100), base=st.floats(0.001, 1e6), longest=st.floats(0.001, 1e6))
def test_no_wait_is_longer_than_the_longest(attempt: int, base: float, longest: float) -> None:
    delay = delay_before_retry(FAULT, attempt, settings_of(attempts=101, backoff_base=base, backoff_max=longest))
    assert delay is not None
    assert 0 <= delay <= longest


@pytest.mark.parametrize(
    ("waited", "pause"), [(0, 5), (49, 5), (100, 10), (300, 30), (600, 60), (7200, 60), (float("inf"), 60)]
)
def test_a_job_is_looked_at_after_a_tenth_of_its_age_at_least_the_poll_and_at_most_a_minute(
    waited: float, pause: float
) -> None:
    delays = [delay_before_look(waited, settings_of(staging_poll=5.0)) for _ in range(300)]

    assert all(0.8 * pause <= delay <= 1.2 * pause for delay in delays)
    assert max(delays) > pause > min(delays)


@pytest.mark.parametrize(("fruitless", "ceiling"), [(0, 1), (1, 1), (2, 2), (3, 4)])
def test_a_download_is_taken_up_again_after_a_wait_that_grows_while_nothing_comes(
    fruitless: int, ceiling: float
) -> None:
    delays = [delay_before_resume(FAULT, fruitless, SETTINGS) for _ in range(300)]
    assert all(delay is not None and 0 <= delay <= ceiling for delay in delays)
    assert max(delay or 0 for delay in delays) > ceiling / 2


def test_a_download_that_brings_nothing_is_left_to_the_next_try_of_its_step() -> None:
    assert delay_before_resume(FAULT, RESUMES + 1, SETTINGS) is None


@pytest.mark.parametrize(("probes", "pause"), [(1, 1), (2, 2), (6, 32), (7, 60), (100_000, 60)])
def test_a_system_that_does_not_answer_is_probed_at_growing_pauses_of_a_minute_at_most(
    probes: int, pause: float
) -> None:
    assert delay_before_probe(probes, settings_of(backoff_base=1.0, backoff_max=120.0)) == pause


def test_what_waits_for_a_system_comes_back_after_the_probe_and_not_all_at_once() -> None:
    delays = [delay_until_probed(30, settings_of(backoff_base=1.0)) for _ in range(300)]
    assert all(30 <= delay <= 45 for delay in delays)
    assert max(delays) - min(delays) > 10


@pytest.mark.parametrize(("left", "least", "most"), [(80, 1, 10), (4, 1, 4), (0.5, 0.5, 0.5)])
def test_what_waits_for_a_probe_that_hangs_does_not_ask_each_second(left: float, least: float, most: float) -> None:
    delays = [delay_until_probe_ends(left, settings_of(backoff_base=1.0)) for _ in range(300)]
    assert all(least <= delay <= most for delay in delays)
    assert max(delays) - min(delays) >= 0.8 * (most - least)


def test_a_search_without_a_time_of_its_own_waits_as_long_as_a_step_may_take() -> None:
    assert longest_search(settings_of(step_timeout=7.0)) == 7.0
