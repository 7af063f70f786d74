"""Everything that a station has published within a window: no search is narrower, and nothing outside is taken."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.errors import Rejected
from shared.json_types import Json
from shared.selection import Published
from shared.stac.item import Found
from shared.stac.search import Cql2
from tests.unit.making import item_of

NOON = datetime(2024, 3, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
WITHIN: list[Json] = [
    {"op": ">=", "args": [{"property": "published"}, {"timestamp": "2024-03-25T12:00:00Z"}]},
    {"op": "<", "args": [{"property": "published"}, {"timestamp": "2024-03-25T13:00:00Z"}]},
]
CLOUDS: Json = {"op": "<", "args": [{"property": "eo:cloud_cover"}, 10]}


def selection(**changes: object) -> Published:
    return Published.model_validate({"product_types": ["A"], "begin": NOON, "end": NOON + HOUR, **changes})


def filters(selection: Published) -> list[Json]:
    return [search.filter for search in selection.searches()]


def found(published: object) -> Found:
    properties = {} if published is None else {"published": published}
    return Found(item_id="X", item=item_of(properties=properties))


def taken(selection: Published, *offered: Found) -> list[Found]:
    def ask(_: Cql2) -> list[Found]:
        return list(offered)

    return list(selection.choose(ask))


def test_a_search_has_the_product_type_and_the_half_open_window() -> None:
    equal: Json = {"op": "=", "args": [{"property": "product:type"}, "A"]}
    assert filters(selection()) == [{"op": "and", "args": [equal, *WITHIN]}]


def test_each_product_type_is_searched_alone_with_platform_and_filter() -> None:
    searched = filters(selection(product_types=["A", "B", "A"], platform="sentinel-1a", filter=CLOUDS))
    platform: Json = {"op": "=", "args": [{"property": "platform"}, "sentinel-1a"]}
    types: list[Json] = [{"op": "=", "args": [{"property": "product:type"}, each]} for each in ("A", "B")]
    assert searched == [{"op": "and", "args": [each, platform, CLOUDS, *WITHIN]} for each in types]


def test_a_filter_alone_is_one_search() -> None:
    assert filters(selection(product_types=[], filter=CLOUDS)) == [{"op": "and", "args": [CLOUDS, *WITHIN]}]


def test_a_window_between_two_seconds_is_asked_for_in_whole_seconds_that_hold_it() -> None:
    between = selection(begin=NOON + timedelta(seconds=0.5), end=NOON + HOUR - timedelta(seconds=0.5))
    assert filters(between) == filters(selection())


@pytest.mark.parametrize(
    ("published", "taken_at_all"),
    [
        ("2024-03-25T12:00:00Z", True),
        ("2024-03-25T14:59:59.999999+02:00", True),
        ("2024-03-25T11:59:59.999Z", False),
        ("2024-03-25T13:00:00Z", False),
        (None, True),
    ],
    ids=["begin", "just before the end", "just before the begin", "end", "none"],
)
def test_what_the_station_answers_is_judged_by_its_publication(published: object, taken_at_all: bool) -> None:
    assert bool(taken(selection(), found(published))) is taken_at_all


def test_what_cannot_be_used_is_passed_on_so_that_it_is_reported() -> None:
    unusable = Found.unusable("X", "bad-item", "no geometry")
    assert taken(selection(), unusable) == [unusable]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"product_types": []}, "bad-filter"),
        ({"end": NOON}, "bad-window"),
        ({"filter": {"op": "near"}}, "bad-filter"),
    ],
)
def test_a_selection_of_nothing_is_refused(changes: dict[str, object], code: str) -> None:
    with pytest.raises(Rejected) as raised:
        selection(**changes)
    assert raised.value.code == code
