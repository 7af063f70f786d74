"""Instants: every spelling of a station becomes UTC, and what is none is refused."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Rejected
from shared.times import OPEN_END, format_instant, parse_duration, parse_instant

NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-31T12:00:00Z",
        "2024-01-31T12:00:00",
        "2024-01-31T12:00:00+00:00",
        "2024-01-31T14:00:00+02:00",
        "2024-01-31T06:30:00-05:30",
        "2024-01-31 12:00:00Z",
        "20240131T120000",
        "20240131T120000Z",
    ],
)
def test_every_spelling_of_an_instant_is_the_same_instant_in_utc(text: str) -> None:
    instant = parse_instant(text)
    assert instant == NOON
    assert instant.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    ["99991231T235959", "99999999T999999", "9999-12-31T23:59:59Z", "9999-99-99T99:99:99", "9999-99-99T99:99:99Z"],
)
def test_a_validity_without_an_end_lasts_to_the_last_second_there_is(text: str) -> None:
    assert parse_instant(text) == OPEN_END


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "..",
        "2024-13-01T00:00:00Z",
        "2024-02-30T00:00:00Z",
        "2024-01-31T25:00:00Z",
        "1706702400",
        "x" * 10**5,
    ],
)
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="bad-datetime") as raised:
        parse_instant(text)
    assert len(raised.value.reason) < 200


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"])
def test_an_offset_that_leads_out_of_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="bad-datetime"):
        parse_instant(text)


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (NOON, "2024-01-31T12:00:00Z"),
        (NOON.replace(microsecond=120_000), "2024-01-31T12:00:00.120Z"),
        (NOON.astimezone(timezone(timedelta(hours=5))), "2024-01-31T12:00:00Z"),
        (OPEN_END, "9999-12-31T23:59:59Z"),
    ],
)
def test_an_instant_is_spelled_in_utc(instant: datetime, text: str) -> None:
    assert format_instant(instant) == text


OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
INSTANTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=OFFSETS)  # noqa: DTZ001 - bounds


@given(instant=INSTANTS)
def test_an_instant_is_read_as_it_was_spelled_to_the_millisecond(instant: datetime) -> None:
    again = parse_instant(format_instant(instant))
    assert again == instant.replace(microsecond=instant.microsecond // 1000 * 1000)


@given(instant=INSTANTS)
def test_spellings_sort_as_their_instants_do_within_a_precision(instant: datetime) -> None:
    whole = instant.replace(microsecond=0)
    assert (format_instant(whole) < format_instant(NOON)) == (whole < NOON)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("6h", 21_600),
        ("1d", 86_400),
        ("5", 5),
        (2.5, 2.5),
        ("-3h", -10_800),
        (" +2 m ", 120),
    ],
)
def test_a_duration_is_a_number_with_a_unit_or_of_seconds(text: object, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "h", "1w", "1h30m", "an hour", "1e3", True, None, "inf", "9" * 400, "PT6S"])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"is no duration such as 90s|is too long a duration"):
        parse_duration(text)
