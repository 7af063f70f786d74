"""The windows of sweeps by publication: bounded, overlapping, and without a gap."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.runs.windows import next_window, windows_between

DAY = 86_400
HOUR = 3600
OVERLAP = 2400


def test_a_window_begins_the_overlap_before_the_watermark_and_ends_at_the_target() -> None:
    assert next_window(DAY, DAY + HOUR, OVERLAP, DAY) == (DAY - OVERLAP, DAY + HOUR)


def test_a_window_is_no_longer_than_it_may_be() -> None:
    assert next_window(DAY, 10 * DAY, OVERLAP, DAY) == (DAY - OVERLAP, 2 * DAY - OVERLAP)


def test_there_is_no_window_where_all_is_searched_that_is_due() -> None:
    assert next_window(DAY, DAY, OVERLAP, DAY) is None
    assert next_window(DAY + 1, DAY, OVERLAP, DAY) is None


@given(
    start=st.integers(0, 2**31),
    behind=st.integers(0, 100_000),
    overlap=st.integers(0, 5000),
    more=st.integers(500, 100_000),
)
def test_windows_that_follow_each_other_come_to_the_target_and_leave_no_second_out(
    start: int, behind: int, overlap: int, more: int
) -> None:
    watermark, target, longest = start, start + behind, overlap + more
    while window := next_window(watermark, target, overlap, longest):
        begin, end = window
        assert begin == watermark - overlap
        assert watermark < end <= target
        assert end - begin <= longest
        watermark = end
    assert watermark == target


@given(begin=st.integers(0, 2**31), seconds=st.integers(0, 100_000), longest=st.integers(500, 100_000))
def test_windows_between_two_instants_are_all_the_time_between_them(begin: int, seconds: int, longest: int) -> None:
    windows = list(windows_between(begin, begin + seconds, longest))
    bounds = [begin, *(end for _, end in windows)]
    assert windows == list(pairwise(bounds))
    assert bounds[-1] == begin + seconds
    assert all(end - start <= longest for start, end in windows)
