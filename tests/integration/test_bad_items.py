"""Malformed items and assets: each fails with its code and its reason, nothing of it is kept, its neighbours go on."""

import pytest

from local import samples
from local.samples import Defect
from local.stack import Stack
from shared.context import Context
from shared.json_types import Json
from shared.storage.location import Location
from tests.integration.conftest import Caller, of_id, of_type
from tests.integration.test_already_staged import BOTH, ORBIT, PLAIN, ZIP, done, feature, offering, shown
from tests.integration.test_runs import SECONDS, result_of

GOOD = samples.product(samples.OPEN_ENDED)
WORLD: Json = {"type": "Polygon", "coordinates": [[[180, -90], [180, 90], [-180, 90], [-180, -90], [180, -90]]]}
ANY = of_type("ANY")


def asset_with(stack: Stack, **fields: object) -> Json:
    """An item whose one asset is like no asset."""
    item = feature(stack, [PLAIN])
    return {**item, "assets": {PLAIN.name: {**item["assets"][PLAIN.name], **fields}}}  # type: ignore[call-overload,index,dict-item]


def below(context: Context, caller: Caller) -> list[str]:
    prefix = Location(context.settings.s3_bucket, f"{caller.env['owner_id']}/{caller.collection}/")
    return [stored.key.rpartition("/")[2] for stored in context.store.list(prefix)]


MALFORMED: dict[str, tuple[Json, str]] = {
    "a geometry without bbox": ({"geometry": WORLD}, "bad-item: the station's item is malformed: bbox: "),
    "no properties": ({"properties": None}, "bad-item: the station's item is malformed: properties: "),
    "assets in a list": ({"assets": []}, "bad-item: the station's item is malformed: assets: "),
    "no assets": ({"assets": {}}, "no-assets: "),
    "a date that is none": (
        {"properties": {"datetime": "soon"}},
        "bad-item: the station's item is malformed: properties.datetime: 'soon' is not a date and time",
    ),
    "a text that no catalog stores": (
        {"properties": {"datetime": "2024-01-01T00:00:00Z", "note": "\0"}},
        "bad-item: the station's item is malformed: properties.note: it has the character NUL",
    ),
    "another type": ({"type": "Catalog"}, "bad-item: the station's item is malformed: type: "),
    "an id that catalogs refuse": ({"id": "urn:aux:1"}, "reserved-item-id: the catalog takes no id with :, as "),
    "an id that leads elsewhere": ({"id": "../X"}, "unsafe-item-id: "),
}
WRONG_ASSETS: dict[str, tuple[Json, str]] = {
    "no href": ({"href": None}, "bad-item: "),
    "an href of another kind": ({"href": "ftp://station.example/x"}, "unsupported-href: "),
    "a size that is none": ({"file:size": "7 MB"}, "bad-item: "),
    "a checksum of another kind": ({"file:checksum": "sha1"}, "bad-checksum: "),
    "another checksum": ({"file:checksum": "0" * 32}, "checksum-mismatch: "),
    "another size": ({"file:size": 5}, "size-mismatch: "),
}


@pytest.mark.parametrize("case", [*MALFORMED, *WRONG_ASSETS])
def test_an_item_that_is_wrong_fails_alone_with_its_code_and_leaves_nothing(
    caller: Caller, context: Context, stack: Stack, case: str
) -> None:
    if case in MALFORMED:
        fields, said = MALFORMED[case]
        bad = {**feature(stack, [PLAIN]), **fields}
    else:
        fields, said = WRONG_ASSETS[case]
        bad = asset_with(stack, **fields)
    with offering(stack, feature(stack, [GOOD]), bad):
        result = caller.stage(ANY)
        status, items = result_of(result.get(SECONDS))

    assert not status
    assert [item.id for item in items] == [GOOD.item_id]
    _, failed = context.ledger.items(result.id)
    assert f"{failed.code}: {failed.reason}".startswith(said)
    assert below(context, caller) == [GOOD.name]


def test_a_geometry_with_its_bbox_is_staged_as_it_is(caller: Caller, stack: Stack) -> None:
    bbox = [0.0, 0.0, 1.0, 1.0]
    triangle: Json = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [0, 1], [0, 0]]]}
    with offering(stack, feature(stack, [PLAIN], geometry=triangle, bbox=bbox)):
        _, (item,) = result_of(caller.stage(ANY).get(SECONDS))

    assert item.to_json()["bbox"] == bbox


def test_dates_of_a_stations_spelling_are_published_as_rfc_3339(caller: Caller, stack: Stack) -> None:
    item = feature(stack, [PLAIN])
    properties: Json = {**item["properties"], "start_datetime": "00000000T000000", "end_datetime": "99999999T999999"}  # type: ignore[dict-item]
    with offering(stack, {**item, "properties": properties}):
        status, (published,) = result_of(caller.stage(ANY).get(SECONDS))

    assert status
    assert published.properties["start_datetime"] == "0001-01-01T00:00:00Z"
    assert published.properties["end_datetime"] == "9999-12-31T23:59:59Z"


def test_what_is_no_item_at_all_fails_alone_too(caller: Caller, stack: Stack) -> None:
    with offering(stack, None, 7, "item", [], feature(stack, [GOOD])):
        status, items = result_of(caller.stage(ANY).get(SECONDS))

    assert (status, [item.id for item in items]) == (False, [GOOD.item_id])


def test_of_an_item_with_one_wrong_asset_the_right_one_is_kept_for_the_next_run(
    caller: Caller, context: Context, stack: Stack
) -> None:
    bad = feature(stack, BOTH)
    bad["assets"][ZIP]["file:checksum"] = "0" * 32  # type: ignore[call-overload,index]
    with offering(stack, bad):
        assert result_of(caller.stage(ANY).get(SECONDS)) == (False, [])
    assert below(context, caller) == [ORBIT]

    result = caller.stage(of_id(samples.ORBIT_AND_ARCHIVE))
    assert result_of(result.get(SECONDS))[0]
    (record,) = context.ledger.items(result.id)
    assert record.downloaded == next(len(each.build()) for each in BOTH if each.name == ZIP)


def test_an_object_with_the_wrong_checksum_is_not_kept(caller: Caller, context: Context) -> None:
    caller.stage(of_id(samples.faulty(Defect.WRONG_CHECKSUM).item_id)).get(SECONDS)
    assert below(context, caller) == []


def test_a_message_with_an_item_that_is_none_is_refused(caller: Caller) -> None:
    with pytest.raises(Exception, match=r"bad-request: auxip_item\.properties"):
        caller.send("auxip.unzip_decompress", auxip_item={"type": "Feature", "id": "X", "assets": {}}).get(SECONDS)


@pytest.mark.parametrize("name", ["S1A 2024:03:25 (é) 100%.EOF", "日本.EOF", "a+b=c&d#e?f.EOF"])
def test_an_asset_of_any_ordinary_name_is_staged_and_known_again(
    context: Context, collection: str, stack: Stack, name: str
) -> None:
    item = feature(stack, [PLAIN])
    named = {**item, "assets": {name: item["assets"][PLAIN.name]}}  # type: ignore[call-overload,index]
    with offering(stack, named):
        work = done(context, collection, PLAIN)
        again = done(context, collection, PLAIN)

    assert shown(work).assets[name].href.endswith(f"/{name}")
    assert again.record.intact


@pytest.mark.parametrize("item_id", ["with space", "日本", "a%20b", "a.b~c"])
def test_an_item_of_any_ordinary_id_is_staged_and_known_again(
    context: Context, collection: str, stack: Stack, item_id: str
) -> None:
    with offering(stack, feature(stack, [PLAIN], id=item_id)):
        work = done(context, collection, PLAIN)
        again = done(context, collection, PLAIN)

    assert shown(work).id == item_id
    assert again.record.intact
