"""What passes the door is taken by pgSTAC, as the same instants; what the door refuses, pgSTAC refuses as well."""

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from local import samples
from local.products.product import Product, item
from shared.errors import ItemFailed
from shared.json_types import Json
from shared.selection.policies import validity
from shared.stac.catalog import Catalog
from shared.stac.item import Item, offered_item
from shared.stac.publication import composed
from shared.times import parse_instant
from tests.integration.conftest import of_type
from tests.integration.test_already_staged import PLAIN, feature, offering
from tests.peers.deployment import Deployment
from tests.peers.pgstac import PgStac
from tests.unit.making import item_json, settings_of
from tests.unit.test_requirements import POINT, REFUSED, WHEN

GOOD = samples.product(samples.OPEN_ENDED)
WORLD: Json = {"type": "Polygon", "coordinates": [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]]}


@pytest.fixture(scope="module")
def catalog(pgstac: PgStac) -> Iterator[Catalog]:
    catalog = Catalog(settings_of(catalog_url=pgstac.url), None)
    with closing(catalog.api):
        yield catalog


@pytest.fixture(scope="module")
def shelf(pgstac: PgStac) -> str:
    """A collection for all tests of this file."""
    return pgstac.new_collection()


def published(catalog: Catalog, shelf: str, item: Item) -> Item:
    item.id, item.collection = uuid.uuid4().hex, shelf
    return catalog.publish(composed(item))


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("00000000T000000", "99999999T999999"),
        ("0000-00-00T00:00:00", "9999-99-99T99:99:99"),
        ("20240101T000000", "99991231T235959"),
        ("2024-01-01 00:00:00", "9999-12-31T23:59:59.999999Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:60Z"),
    ],
)
def test_a_validity_of_a_stations_spelling_is_taken_and_found_by_its_instants(
    catalog: Catalog, pgstac: PgStac, shelf: str, start: str, end: str
) -> None:
    offered = offered_item(item_json(properties={"start_datetime": start, "end_datetime": end}))
    stated = validity(offered)
    shown = published(catalog, shelf, offered)
    assert validity(shown) == stated

    wanted = {"collections": [shelf], "ids": [shown.id], "datetime": str(shown.properties["start_datetime"])}
    assert [found["id"] for found in pgstac.call("POST", "/search", wanted).json()["features"]] == [shown.id]


NO_JSON = {"a number that is none", "infinity"}
"""RFC 8259 knows no such number: stac-fastapi reads it all the same, but we can not send it."""


@pytest.mark.parametrize("case", [case for case in REFUSED if case not in NO_JSON])
def test_what_the_door_refuses_is_refused_by_pgstac_or_never_shown_by_it(pgstac: PgStac, case: str) -> None:
    fields, _ = REFUSED[case]
    world = {} if "geometry" in fields else {"geometry": WORLD, "bbox": [-180, -90, 180, 90]}
    shelf = pgstac.new_collection()  # of its own, since some make every search of theirs fail
    body = {**item_json("X"), **world, "stac_version": "1.1.0", "collection": shelf, "properties": WHEN, **fields}
    url = f"{pgstac.url}/collections/{shelf}/items"
    headers = {"content-type": "application/json"}
    posted = httpx.post(url, content=json.dumps(body), headers=headers, trust_env=False)
    assert posted.is_error or httpx.get(f"{url}/X", trust_env=False).is_server_error


NOT_EMBEDDED = {"a number that poisons a search", "half a character"}
"""pgSTAC takes the first and never shows it again, the embedded catalog shows it; the second nobody can encode."""

ODD_DATES = ("99999999T999999", "20240101T000000", "2024-01-01T00:00:00", "2024-01-01 00:00:00Z", "2024-01-01", "")
BOUNDS: Json = {"datetime": None, "start_datetime": "2024-01-01T00:00:00Z", "end_datetime": "2024-01-02T00:00:00Z"}


DATES = st.sampled_from(
    [
        *("2024-01-01T00:00:00Z", "20240102T000000", "2024-01-03 00:00:00", "2024-01-04T00:00:00.1234567Z"),
        *("00000000T000000", "0000-00-00T00:00:00", "99999999T999999", "9999-12-31T23:59:59.999999Z"),
        *("2016-12-31T23:59:60Z", "2024-01-01T00:00:00+05:30", "2024-01-01T00:00+02", "2024-W01-1T00:00:00"),
        *("9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00", "2024-01-01T00", "2024-01-01", "soon", ""),
        *("2024-06-30T23:59:60,5Z", "2024-01-01t00:00:00z", "2024-01-01T24:00:00Z", "2024-01-01T00:00:00-00:00"),
    ]
)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**308, 10**309, -(2**63) - 1, 2**64, float("nan"), 1e308])
    | st.floats()
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
DATE_FIELDS = ("datetime", "start_datetime", "end_datetime", "created", "updated", "published", "expires")
GOOD_DATES = DATES.filter(lambda text: text[:2] == "20" and len(text) > 13)
PROPERTIES = st.fixed_dictionaries(
    {"start_datetime": st.just("00000000T000000") | DATES, "end_datetime": st.just("99999999T999999") | DATES},
    optional={
        **dict.fromkeys(("datetime", "created", "updated", "published", "expires"), GOOD_DATES | DATES | st.none()),
        "processing:datetime": DATES | ANYTHING,
        "title": st.sampled_from(["a", "", None, 5]),
        "platform": st.sampled_from(["a", None]),
        "instruments": st.sampled_from([["a"], [], None, [5]]),
        "providers": st.sampled_from([[{"name": "x", "roles": ["host"]}], None, [{"name": "x", "url": 5}]]),
        "gsd": st.sampled_from([10, "10", 0, None, True]),
        "more": ANYTHING,
    },
)
PLACES = st.sampled_from(
    [
        [None, None],
        [None, [0, 0, 1, 1]],
        [WORLD, [-180, -90, 180, 90]],
        [WORLD, [0, 0, 0]],
        [POINT, [170, 0, -170, 0]],
        [POINT, [0, 1, 0, 0]],
        [{"type": "Point", "coordinates": [0, 0, 1, 2]}, [0, 0, 0, 0]],
        [{"type": "Point", "coordinates": ["1", True]}, [0, 0, "1", 1]],
        [{"type": "Polygon", "coordinates": []}, [0, 0, 0, 0, 0, 0]],
        [{"type": "GeometryCollection", "geometries": [POINT, {"type": "Point", "coordinates": [0, 0, 0]}]}, [0] * 4],
    ]
)
NAMES = st.text(st.characters(codec="utf-8"), max_size=5)
ASSETS = st.fixed_dictionaries(
    {"href": st.sampled_from(["https://example.com/a", "s3://bucket/a", "a b", "/a"])},
    optional={
        "type": st.sampled_from(["text/plain", "", None, 5]),
        "roles": st.sampled_from([["data"], [], None]),
        "file:size": st.sampled_from([5, "5", None]),
        "created": DATES | ANYTHING,
    },
)
MORE = st.fixed_dictionaries(
    {},
    optional={
        "stac_version": st.sampled_from(["1.0.0", "1.1.0-beta.1", "1.1.0-beta..1", "1.0.0-01"]),
        "stac_extensions": st.sampled_from([[], None, ["https://example.com/v1.0.0/schema.json"], ["x"], [""]]),
        "more": ANYTHING,
    },
)


@pytest.mark.long
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(properties=PROPERTIES, place=PLACES, assets=st.dictionaries(NAMES, ASSETS, min_size=1, max_size=2), more=MORE)
def test_what_passes_the_door_is_taken_as_the_same_instants(
    catalog: Catalog, shelf: str, properties: Json, place: list[Any], assets: Any, more: dict[str, Any]
) -> None:
    feature = item_json(properties=properties, assets=assets, geometry=place[0], bbox=place[1], **more)
    try:
        item = offered_item(json.loads(json.dumps(feature)))
    except (ItemFailed, ValidationError):
        return
    shown = published(catalog, shelf, item)
    for name in DATE_FIELDS:
        if (stated := properties.get(name)) is not None:
            assert parse_instant(str(shown.properties[name])) == parse_instant(str(stated))


ROUND: Json = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
STRICT: dict[str, dict[str, Any]] = {
    "all is well": {},
    **{case: fields for case, (fields, _) in REFUSED.items() if case not in NO_JSON | NOT_EMBEDDED},
    "no geometry": {"geometry": None},
    "a reserved character": {"id": "a:b"},
    **{f"end {text}": {"properties": {**BOUNDS, "end_datetime": text}} for text in ODD_DATES},
    **{f"created {text}": {"properties": {**BOUNDS, "created": text}} for text in ODD_DATES},
    "an end before its start": {"properties": {**BOUNDS, "end_datetime": "2023-01-01T00:00:00Z"}},
    "a start alone": {"properties": {**WHEN, "start_datetime": "2023-01-01T00:00:00Z"}},
    "no datetime": {"properties": {name: value for name, value in BOUNDS.items() if name != "datetime"}},
    "a datetime of null alone": {"properties": {"datetime": None}},
    "links that are none": {"links": [{"rel": "x"}]},
}


def status_of(url: str, headers: dict[str, str], collection: str, fields: dict[str, Any]) -> int:
    """What a catalog answers when it is to create an item with these fields."""
    known = {"geometry": ROUND, "bbox": [0, 0, 1, 1], "stac_version": "1.1.0", "properties": WHEN}
    body = {**item_json(uuid.uuid4().hex), **known, "collection": collection, **fields}
    place = f"{url}/collections/{collection}/items"
    return httpx.post(place, json=body, headers=headers, trust_env=False, timeout=60).status_code


@pytest.mark.long
def test_the_embedded_catalog_refuses_with_the_status_of_pgstac(on_pgstac: Deployment, pgstac: PgStac) -> None:
    environ = on_pgstac.stack.environment()
    asked = {
        "pgstac": (pgstac.url, {}, pgstac.new_collection()),
        "embedded": (environ["AUXIP_CATALOG_URL"], {"x-api-key": environ["AUXIP_CATALOG_API_KEY"]}, "aux"),
    }
    statuses = {
        name: {case: status_of(*where, fields) for case, fields in STRICT.items()} for name, where in asked.items()
    }
    assert statuses["embedded"] == statuses["pgstac"]


@pytest.fixture(scope="module")
def into_pgstac(pgstac: PgStac) -> Iterator[Deployment]:
    """The project with the embedded station, which says what it is told to, and pgSTAC as its catalog."""
    with Deployment({"AUXIP_CATALOG_URL": pgstac.url}) as deployment:
        yield deployment


def properties_of(product: Product, **changes: JsonValue) -> Json:
    described: Json = json.loads(json.dumps(item([product], {})["properties"]))
    return {**described, **changes}


@pytest.mark.long
def test_an_item_in_a_stations_spelling_is_staged_into_pgstac(
    into_pgstac: Deployment, pgstac: PgStac, collection: str
) -> None:
    odd = {"datetime": None, "start_datetime": "00000000T000000", "end_datetime": "99999999T999999"}
    properties = properties_of(PLAIN, **odd, created="20240325T100000")
    stack = into_pgstac.stack
    with offering(stack, feature(stack, [PLAIN], properties=properties)):
        run = into_pgstac.run(collection, cql2_filter=of_type("ANY"))

    assert into_pgstac.failures(run) == []
    shown = pgstac.item(collection, PLAIN.item_id)["properties"]
    assert (shown["start_datetime"], shown["end_datetime"]) == ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z")
    assert shown["created"] == "2024-03-25T10:00:00Z"


@pytest.mark.long
def test_an_item_that_pgstac_refuses_fails_before_any_byte_is_moved(
    into_pgstac: Deployment, pgstac: PgStac, collection: str
) -> None:
    stack = into_pgstac.stack
    bad = feature(stack, [PLAIN], properties=properties_of(PLAIN, end_datetime="soon"))
    downloads = stack.station_traffic().downloads
    with offering(stack, bad, feature(stack, [GOOD])):
        run = into_pgstac.run(collection, cql2_filter=of_type("ANY"))

    ((item_id, code, reason),) = into_pgstac.failures(run)
    assert (item_id, code) == (PLAIN.item_id, "bad-item")
    assert "properties.end_datetime" in reason
    assert stack.station_traffic().downloads == downloads + 1
    assert set(pgstac.items(collection)) == {GOOD.item_id}
