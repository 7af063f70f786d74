"""A product of an OData station becomes the item that a STAC station would offer of it."""

from typing import Any

import pytest

from shared.json_types import Json
from shared.selection.policies import POLICIES, Window
from shared.stac.item import Item
from shared.stac.publication import composed
from shared.stations.odata.products import item_of
from shared.times import parse_instant
from tests.stac_schemas import require_valid
from tests.unit.odata.products import ID, NAME, URL, attribute, product, with_attributes

BLAKE3 = "b8fcec2aca5a68702f4887652b17994e4f23fb2392501dfba4106bee5ad7ce94"
MD5_HEX = "145d09a378cfa82c4440fcc41fad075f"
MD5 = f"d50110{MD5_HEX}"
EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"


def made_of(**changes: Any) -> Item:
    found = item_of(product(**changes), URL)
    assert found.item is not None, found.reason
    return found.item


def asset_of(**changes: Any) -> Json:
    [asset] = made_of(**changes).to_json()["assets"].values()  # type: ignore[union-attr]
    assert isinstance(asset, dict)
    return asset


def checksum(algorithm: object, value: object) -> dict[str, object]:
    return {"Algorithm": algorithm, "Value": value, "ChecksumDate": "2023-04-05T11:30:00Z"}


def test_a_product_is_the_item_that_the_reference_makes_of_it() -> None:
    assert made_of().to_json() == {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": ["https://home.rs-python.eu/auxip-stac-extension/v1.1.0/schema.json"],
        "id": NAME.removesuffix(".EOF"),
        "geometry": None,
        "properties": {
            "datetime": "2023-04-05T07:10:44.000Z",
            "start_datetime": "2023-04-05T07:10:44.000Z",
            "end_datetime": "2023-04-05T10:28:14.000Z",
            "created": "2023-04-05T11:30:00.123Z",
            "published": "2023-04-05T11:30:00.123Z",
            "product:type": "AUX_RESORB",
            "processing:datetime": "2023-04-05T11:07:02.000Z",
            "processing:facility": "OPOD",
            "constellation": "sentinel-1",
            "platform": "sentinel-1a",
            "auxip:id": ID,
        },
        "links": [],
        "assets": {
            NAME: {
                "href": f"{URL}/Products({ID})/$value",
                "type": "application/octet-stream",
                "file:size": 9496648,
                "file:checksum": MD5,
                "eviction_datetime": "2023-05-10T11:30:00.123Z",
            }
        },
    }


def test_what_is_published_of_it_is_valid_by_every_extension_that_it_names() -> None:
    published = composed(made_of()).to_json()

    require_valid({**published, "geometry": None})


@pytest.mark.parametrize(
    ("name", "item_id"),
    [("X.SEN3.zip", "X.SEN3"), ("X.EOF", "X"), ("X", "X"), (".hidden", ".hidden")],
)
def test_the_id_is_the_name_without_its_last_extension(name: str, item_id: str) -> None:
    item = made_of(Name=name)

    assert (item.id, [*item.assets]) == (item_id, [name])


@pytest.mark.parametrize("length", [466397, "466397"])
def test_the_size_is_a_number_or_a_text(length: object) -> None:
    assert asset_of(ContentLength=length)["file:size"] == 466397


@pytest.mark.parametrize("length", [0, "0", None, ""])
def test_a_size_of_zero_says_nothing(length: object) -> None:
    assert "file:size" not in asset_of(ContentLength=length)


def test_a_size_of_zero_is_that_of_an_empty_file() -> None:
    assert asset_of(ContentLength=0, Checksum=[checksum("MD5", EMPTY_MD5)])["file:size"] == 0


@pytest.mark.parametrize(
    ("checksums", "stated"),
    [
        ([checksum("MD5", MD5_HEX.upper())], MD5),
        ([checksum("BLAKE3", BLAKE3), checksum("md5", MD5_HEX)], MD5),
        ([checksum("BLAKE3", BLAKE3)], f"1e20{BLAKE3}"),
        ([checksum("SHA-256", "AB" * 32)], f"1220{'ab' * 32}"),
        ([checksum("SHA3-256", "ab" * 32)], f"1620{'ab' * 32}"),
        ([checksum("SHA-256", "ab" * 32), checksum("BLAKE3", BLAKE3)], f"1220{'ab' * 32}"),
        ([checksum("CRC32", "ab"), checksum("MD5", MD5_HEX)], MD5),
        ([checksum("CRC32", "ab")], "CRC32:ab"),
        ([checksum("MD5", None), checksum(None, MD5_HEX), "MD5", None], None),
        ([], None),
        ("MD5", None),
        (None, None),
    ],
)
def test_the_checksum_is_chosen_by_its_algorithm(checksums: object, stated: str | None) -> None:
    assert asset_of(Checksum=checksums).get("file:checksum") == stated


@pytest.mark.parametrize(
    "evicted", ["", None, "9999-12-31T23:59:59.999999Z", "99999999T999999", "never", 3, "2023-05-10"]
)
def test_a_product_that_is_not_evicted_has_no_eviction_date(evicted: object) -> None:
    assert "eviction_datetime" not in asset_of(EvictionDate=evicted)


@pytest.mark.parametrize(
    ("spelled", "kept"),
    [
        ("2023-04-05T07:10:44Z", "2023-04-05T07:10:44Z"),
        ("2023-04-05T07:10:44", "2023-04-05T07:10:44Z"),
        ("2023-04-05T07:10:44.1234567Z", "2023-04-05T07:10:44.1234567Z"),
        ("2023-04-05T07:10:44.1234567", "2023-04-05T07:10:44.123456Z"),
        ("2023-04-05T07:10:44.12Z", "2023-04-05T07:10:44.12Z"),
    ],
)
def test_dates_have_any_digits_and_may_lack_their_zone(spelled: str, kept: str) -> None:
    item = made_of(ContentDate={"Start": spelled, "End": "2024-01-01T00:00:00"}, PublicationDate=spelled)

    assert [item.properties[name] for name in ("start_datetime", "created")] == [kept, kept]


def test_a_validity_that_never_ends_is_an_instant_that_catalogs_take() -> None:
    item = made_of(ContentDate={"Start": "2023-04-05T07:10:44Z", "End": "99999999T999999"})

    assert item.properties["end_datetime"] == "9999-12-31T23:59:59Z"


def test_a_validity_of_no_length_is_selected_by_the_window_that_touches_it() -> None:
    at = "2022-02-23T09:00:00.000Z"
    item = made_of(ContentDate={"Start": at, "End": at})
    window = Window(begin=parse_instant(at), end=parse_instant("2022-02-24"), reference=parse_instant(at))

    assert POLICIES["ValIntersect"].standing(item, window) is not None


@pytest.mark.parametrize(
    ("name", "product_type", "platform"),
    [
        ("S1A_OPER_AUX_RESORB_OPOD_20230405T110702_V20230405T071044_20230405T102814.EOF", "AUX_RESORB", "sentinel-1a"),
        ("S1A_OPER_MPL_ORBPRE_20210214T021411_20210221T021411_0001.EOF", "MPL_ORBPRE", "sentinel-1a"),
        ("S1B_AUX_PP2_V20230403T080000_G20230403T080000.SAFE.zip", "AUX_PP2", "sentinel-1b"),
        ("S1__AUX_WAV_V20220223T090000_G20220223T043356.SAFE.zip", "AUX_WAV", None),
        ("S2__OPER_AUX_ECMWFD_PDMC_20190216T120000_V20190217T090000_20190217T210000.TGZ", "AUX_ECMWFD", None),
        (
            "S3A_AX___OSF_AX_20160216T192404_99991231T235959_20220330T090651___EUM_O_AL_001.SEN3",
            "AX___OSF_AX",
            "sentinel-3a",
        ),
        ("anything.bin", None, None),
    ],
)
def test_without_attributes_type_and_platform_are_read_from_the_name(
    name: str, product_type: str | None, platform: str | None
) -> None:
    properties = made_of(Name=name, Attributes=None).properties

    assert (properties.get("product:type"), properties.get("platform")) == (product_type, platform)


def test_the_attributes_precede_the_name_and_need_no_type() -> None:
    listed = [{"Name": "productType", "Value": "AUX_X"}, {"Name": "platformShortName", "Value": "SENTINEL-2"}]
    properties = made_of(Attributes=[*listed, {"Name": "platformSerialIdentifier", "Value": "B"}]).properties

    assert (properties["product:type"], properties["platform"]) == ("AUX_X", "sentinel-2b")


@pytest.mark.parametrize(
    "attributes", [with_attributes(productType=attribute("productType", "OPER_AUX_RESORB_OPOD")), []]
)
def test_the_type_is_in_our_spelling_by_whatever_it_is_known(attributes: object) -> None:
    found = item_of(product(Attributes=attributes), URL, {"RESORB": "OPER_AUX_RESORB_OPOD"})

    assert found.item is not None
    assert found.item.properties["product:type"] == "RESORB"


@pytest.mark.parametrize(
    "attributes", ["x", {"a": 1}, [None, 3, {}], [{"Name": "productType", "Value": 3}], [{"Name": None, "Value": None}]]
)
def test_attributes_of_another_form_are_passed_over(attributes: object) -> None:
    assert made_of(Attributes=attributes).properties["product:type"] == "AUX_RESORB"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ContentDate": None}, "ContentDate"),
        ({"ContentDate": {"Start": "2023-04-05T07:10:44Z"}}, "ContentDate"),
        ({"ContentDate": ["2023-04-05T07:10:44Z"]}, "ContentDate"),
        ({"ContentDate": {"Start": "2023-04-05T07:10:44Z", "End": "soon"}}, "end_datetime"),
        ({"ContentDate": {"Start": "2023-04-05T07:10:44Z", "End": 3}}, "end_datetime"),
        ({"ContentDate": {"Start": "2023-04-05T07:10:44Z", "End": "2023-04-04T07:10:44Z"}}, "before it begins"),
        ({"PublicationDate": "yesterday"}, "created"),
        ({"Id": None}, "Id"),
        ({"Id": 17}, "Id"),
        ({"Id": "1)/$value?x=("}, "Id"),
        ({"Id": "../../secret"}, "Id"),
        ({"Name": None}, "Name"),
        ({"Name": ["X"]}, "Name"),
        ({"Name": ""}, "Name"),
        ({"Name": "X" * 600}, "id"),
        ({"Name": "X\0.EOF"}, "NUL"),
        ({"Name": "\ud800.EOF"}, "UTF-8"),
        ({"ContentLength": -1}, "file:size"),
        ({"ContentLength": True}, "ContentLength"),
        ({"ContentLength": 1.5}, "file:size"),
        ({"ContentLength": float("nan")}, "finite"),
        ({"ContentLength": "many"}, "file:size"),
        ({"ContentLength": 2**60}, "file:size"),
        ({"ContentType": 3}, "type"),
    ],
    ids=str,
)
def test_a_product_that_cannot_be_used_says_why(changes: dict[str, Any], reason: str) -> None:
    found = item_of(product(**changes), URL)

    assert found.item is None
    assert (found.code, reason in found.reason) == ("bad-item", True), found.reason
    found.model_dump_json()


@pytest.mark.parametrize("product", [None, 3, "X", [], {}, [{}]])
def test_what_is_no_product_is_an_item_that_cannot_be_used(product: object) -> None:
    assert item_of(product, URL).code == "bad-item"


def test_a_product_that_cannot_be_used_has_the_id_that_it_would_have() -> None:
    assert item_of(product(ContentDate=None), URL).item_id == NAME.removesuffix(".EOF")
