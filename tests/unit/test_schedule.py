"""When sweeps are due: periods since 1970, and cron lines as Celery reads them, in UTC."""

from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery
from celery.schedules import crontab
from hypothesis import given
from hypothesis import strategies as st

from workers.sweeps.schedule import Cron, Period, Schedule

MOMENT = timedelta.resolution
INSTANTS = st.integers(0, 4 * 10**15).map(lambda each: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=each))
LINES = [
    "* * * * *",
    "*/15 * * * *",
    "7,37 3-5 * * *",
    "30 3 * * mon-fri",
    "0 0 31 * *",
    "0 6 1-7 * 1",
    "59 23 29 2 *",
    "0 12 * jan,jul sun",
    "5-59/20 22-2 * */3 *",
]
SCHEDULES: list[Schedule] = [
    *map(Cron.parse, LINES),
    *(Period(timedelta(seconds=each)) for each in (1, 7.5, 3600, 86_400)),
]


@given(at=INSTANTS, schedule=st.sampled_from(SCHEDULES))
def test_the_last_tick_is_the_newest_that_is_not_in_the_future(at: datetime, schedule: Schedule) -> None:
    last = schedule.last(at)
    assert last <= at < schedule.next(last)
    assert schedule.next(last - MOMENT) == last
    assert schedule.next(at) == schedule.next(last)


@given(at=INSTANTS, schedule=st.sampled_from(SCHEDULES))
def test_no_two_ticks_are_closer_than_the_schedule_says(at: datetime, schedule: Schedule) -> None:
    tick = schedule.next(at)
    assert schedule.next(tick) - tick >= schedule.shortest


@given(at=INSTANTS, line=st.sampled_from(LINES))
def test_a_cron_line_means_what_it_means_to_celery(at: datetime, line: str) -> None:
    numbers = line.replace("mon-fri", "1-5").replace("jan,jul", "1,7").replace("sun", "0")
    theirs = crontab.from_string(numbers)
    theirs.app = Celery(set_as_current=False)  # it asks its app for the present; ours has no settings here
    last, delta, _ = theirs.remaining_delta(at, tz=UTC)
    assert Cron.parse(line).next(at) == last + delta


@pytest.mark.parametrize(
    ("line", "shortest"),
    [
        ("* * * * *", timedelta(minutes=1)),
        ("0,10,59 * * * *", timedelta(minutes=1)),
        ("0,20 6 * * *", timedelta(minutes=20)),
        ("0 1,23 * * *", timedelta(hours=2)),
        ("0 3 * * *", timedelta(days=1)),
    ],
)
def test_the_shortest_time_between_two_ticks_spans_midnight(line: str, shortest: timedelta) -> None:
    assert Cron.parse(line).shortest == shortest


def test_periods_are_counted_from_1970() -> None:
    hourly = Period(timedelta(hours=1))
    assert hourly.last(datetime(2024, 3, 25, 12, 34, 56, tzinfo=UTC)) == datetime(2024, 3, 25, 12, tzinfo=UTC)


def test_case_and_spaces_of_a_cron_line_do_not_matter() -> None:
    assert Cron.parse("  0  3 * *  MON-Fri ") == Cron.parse("0 3 * * mon-fri")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "no cron line of five fields"),
        ("* * * *", "no cron line of five fields"),
        ("* * * * * *", "no cron line of five fields"),
        (5, "no cron line of five fields"),
        ("@daily", "no cron line of five fields"),
        ("60 * * * *", "'60' as minute"),
        ("* 24 * * *", "'24' as hour"),
        ("* * 0 * *", "'0' as day of the month"),
        ("* * * 13 *", "'13' as month"),
        ("* * * * 7", "'7' as weekday"),
        ("mon * * * *", "'mon' as minute"),
        ("* * * * jan", "'jan' as weekday"),
        ("1-5-7 * * * *", "'1-5-7' as minute"),
        ("1-5/2.5 * * * *", "'1-5/2.5' as minute"),
        ("*/0 * * * *", r"'\*/0' as minute"),
        ("5/2 * * * *", "'5/2' as minute"),
        ("1,,2 * * * *", "'1,,2' as minute"),
        ("-1 * * * *", "'-1' as minute"),
        ("0 0 30 2 *", "a day that never comes"),
        ("0 0 31 4,6,9,11 *", "a day that never comes"),
    ],
)
def test_what_is_no_cron_line_is_refused(line: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Cron.parse(line)
