"""Dates and times of an item: RFC 3339 whatever the station's spelling, and the same instant for the policies."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from shared.errors import ItemFailed, Rejected
from shared.json_types import Json
from shared.selection.generation import generation_time
from shared.selection.policies import validity
from shared.stac.item import offered_item
from shared.stac.times import rfc3339
from shared.times import OPEN_END, parse_instant
from tests.unit.making import item_json

LAST = "9999-12-31T23:59:59Z"
FIRST = "0001-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("99999999T999999", LAST),
        ("9999-99-99T99:99:99", LAST),
        ("9999-99-99 99:99:99", LAST),
        ("99991231T235959", LAST),
        ("00000000T000000", FIRST),
        ("0000-00-00T00:00:00", FIRST),
        ("0000-00-00T00:00:00.000000Z", FIRST),
        ("20240131T120000", "2024-01-31T12:00:00Z"),
        ("20240131T120000Z", "2024-01-31T12:00:00Z"),
        ("2024-01-31T12:00:00", "2024-01-31T12:00:00Z"),
        ("2024-01-31T12:00:00.123456", "2024-01-31T12:00:00.123456Z"),
        ("2024-01-31 12:00:00", "2024-01-31T12:00:00Z"),
        ("2024-01-31 14:00:00+02:00", "2024-01-31T12:00:00Z"),
        ("2024-01-31t12:00:00z", "2024-01-31T12:00:00Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("20150630T235960", "2015-07-01T00:00:00Z"),
        ("2016-12-31T23:59:60.250Z", "2017-01-01T00:00:00.250000Z"),
        ("2017-01-01T00:59:60+01:00", "2017-01-01T00:00:00Z"),
    ],
)
def test_what_says_one_instant_is_spelled_as_rfc_3339(text: str, spelled: str) -> None:
    assert rfc3339(text) == spelled


@pytest.mark.parametrize(
    "text",
    [
        LAST,
        "2024-01-31T12:00:00Z",
        "2024-01-31T14:00:00+02:00",
        "2024-01-31T12:00:00.1234567Z",
        "9999-12-31T23:59:59.999999Z",
    ],
)
def test_what_is_rfc_3339_stays_as_it_came(text: str) -> None:
    assert rfc3339(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2024-01-31",
        "20240131",
        "1706702400",
        "2024-13-01T00:00:00Z",
        "2024-06-15T12:30:60Z",
        "2024-06-15T23:59:60Z",
        "2024-06-30T23:59:61Z",
        "9999-12-31T23:59:59-01:00",
        "0000-00-00T00:00:01",
        "0000-01-01T00:00:00Z",
    ],
)
def test_what_says_no_instant_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="bad-datetime"):
        rfc3339(text)


INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
FORMS = st.sampled_from(
    ["%Y%m%dT%H%M%S", "%Y%m%dT%H%M%SZ", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f+01:00"]
)
SPELLINGS = st.builds(lambda instant, form: instant.strftime(form).zfill(15), INSTANTS, FORMS) | st.sampled_from(
    ["99999999T999999", "9999-99-99T99:99:99", "0000-00-00T00:00:00", "2016-12-31T23:59:60Z", LAST, FIRST]
)


@given(text=SPELLINGS | st.text(max_size=30))
def test_spelling_an_instant_anew_keeps_it_and_happens_once(text: str) -> None:
    try:
        spelled = rfc3339(text)
    except Rejected:
        return
    assert parse_instant(spelled) == parse_instant(text)
    assert rfc3339(spelled) == spelled
    assert parse_instant(spelled.replace("Z", "+00:00")).tzinfo is UTC


def properties_of(**properties: JsonValue) -> Json:
    return offered_item(item_json(properties=properties)).properties


BOUNDS: dict[str, JsonValue] = {"start_datetime": "2024-01-01T00:00:00Z", "end_datetime": "2024-01-02T00:00:00Z"}


@pytest.mark.parametrize(
    "name", ["datetime", "start_datetime", "created", "updated", "published", "expires", "processing:datetime"]
)
def test_each_date_of_an_item_is_spelled_anew(name: str) -> None:
    assert properties_of(**{**BOUNDS, name: "20240101T000000"})[name] == "2024-01-01T00:00:00Z"


def test_the_dates_of_an_asset_are_spelled_anew_where_they_are_instants() -> None:
    asset: dict[str, Any] = {"href": "h", "created": "20240101T000000", "eviction_datetime": "99999999T999999"}
    item = offered_item(item_json(assets={"a": {**asset, "updated": "soon", "title": "20240101T000000"}}))
    assert item.to_json()["assets"] == {
        "a": {
            "href": "h",
            "created": "2024-01-01T00:00:00Z",
            "eviction_datetime": LAST,
            "updated": "soon",
            "title": "20240101T000000",
        }
    }


@pytest.mark.parametrize(
    "name", ["datetime", "start_datetime", "end_datetime", "created", "updated", "published", "expires"]
)
@pytest.mark.parametrize("value", ["soon", "", "2024-01-01", 5, True, ["2024-01-01T00:00:00Z"]])
def test_a_date_that_catalogs_check_and_is_none_is_refused_with_its_field(name: str, value: JsonValue) -> None:
    with pytest.raises(ItemFailed, match=rf"bad-item: .*properties\.{name}: .*ask the station's operator"):
        properties_of(**{**BOUNDS, name: value})


@pytest.mark.parametrize("value", ["soon", "", None, 5])
def test_a_date_that_no_catalog_checks_is_left_as_it_came(value: JsonValue) -> None:
    assert properties_of(**{**BOUNDS, "processing:datetime": value})["processing:datetime"] == value


def test_a_datetime_that_is_null_beside_a_validity_is_kept_and_one_that_is_absent_is_null() -> None:
    assert properties_of(**BOUNDS, datetime=None)["datetime"] is None
    assert properties_of(**BOUNDS)["datetime"] is None


@pytest.mark.parametrize(
    ("properties", "field"),
    [
        ({}, "datetime"),
        ({"datetime": None}, "datetime"),
        ({"datetime": None, "start_datetime": None, "end_datetime": None}, "datetime"),
        ({"datetime": LAST, "start_datetime": FIRST}, "end_datetime"),
        ({"datetime": LAST, "end_datetime": LAST}, "start_datetime"),
        ({"start_datetime": "2024-01-02T00:00:00Z", "end_datetime": "20240101T000000"}, "end_datetime"),
        ({"datetime": LAST, "start_datetime": LAST, "end_datetime": FIRST}, "end_datetime"),
    ],
)
def test_an_item_that_does_not_say_when_it_is_is_refused_with_the_field(properties: Json, field: str) -> None:
    with pytest.raises(ItemFailed, match=rf"bad-item: .*properties\.{field}: "):
        properties_of(**properties)


def test_a_validity_of_no_length_is_taken() -> None:
    assert properties_of(start_datetime=LAST, end_datetime=LAST)["end_datetime"] == LAST


@given(start=SPELLINGS, end=SPELLINGS)
def test_a_policy_judges_the_validity_that_the_station_stated(start: str, end: str) -> None:
    try:
        item = offered_item(item_json(properties={"start_datetime": start, "end_datetime": end}))
    except ItemFailed:
        return
    assert validity(item) == (min(parse_instant(start), OPEN_END), min(parse_instant(end), OPEN_END))


@pytest.mark.parametrize("text", ["00000000T000000", "99999999T999999"])
def test_an_end_of_the_calendar_is_no_generation_time(text: str) -> None:
    item = offered_item(item_json(properties={**BOUNDS, "processing:datetime": text, "created": "20240103T000000"}))
    assert generation_time(item) == datetime(2024, 1, 2, tzinfo=UTC) + timedelta(days=1)
