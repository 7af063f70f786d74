"""A product of an OData station as the STAC item that the rest of the code knows."""

import re
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue, ValidationError

from shared.errors import ItemFailed, Rejected
from shared.json_types import Json
from shared.stac.checksums import stated_checksum
from shared.stac.item import Found, offered_item
from shared.stac.publication import AUXIP_SCHEMA
from shared.stac.requirements import bad_item
from shared.stac.times import rfc3339
from shared.texts import printable
from shared.times import OPEN_END, parse_instant
from shared.validation import first_problem

_ID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,127}")
"""A GUID; some services have other ids. It becomes a part of a URL, so nothing else is accepted."""

_FILE_TYPE: Final = re.compile(r"[0-9A-Z_]{3}_([0-9A-Z]{4})_((?:AUX|MPL)_[0-9A-Z_]{6})(_[0-9A-Z_]{4})?_[0-9]")
"""Earth Explorer file names: mission, class, file type of ten characters, site, then dates."""

_SENTINEL_1: Final = re.compile(r"S1[A-Z_]_(AUX_[0-9A-Z]{3})_")
_SENTINEL_3: Final = re.compile(r"S3[A-Z_]_([0-9A-Z_]{11})_[0-9]{8}T")
_MISSION: Final = re.compile(r"S([0-9])([A-Z_])_")

_EMPTY: Final = stated_checksum([("MD5", "d41d8cd98f00b204e9800998ecf8427e")])
"""The checksum of a file without a byte."""
_NO_TYPES: Final[Mapping[str, str]] = {}


def item_of(product: object, download_url: str, product_types: Mapping[str, str] = _NO_TYPES) -> Found:
    """Return a product as an item, or as one that cannot be used, with the reason.

    Args:
        product: as the station's JSON has it; anything may be in it.
        download_url: below which `/Products(<Id>)/$value` is the file.
        product_types: the station's spelling of our product types.
    """
    name = str(product.get("Name", ""))[:512] if isinstance(product, dict) else ""
    try:
        item = offered_item(_feature(product, download_url, product_types))
    except ItemFailed as error:
        return Found.unusable(_without_extension(name) or "(no name)", error.code, error.reason)
    except ValidationError as error:
        malformed = bad_item(first_problem(error))
        return Found.unusable(_without_extension(name) or "(no name)", malformed.code, malformed.reason)
    return Found(item_id=item.id, item=item)


def _feature(product: object, download_url: str, product_types: Mapping[str, str]) -> Json:
    if not isinstance(product, dict):
        raise bad_item("the product is not a JSON object")
    name, product_id = product.get("Name"), product.get("Id")
    if not isinstance(name, str) or not name:
        raise bad_item("Name: it is required")
    if not isinstance(product_id, str) or not _ID.fullmatch(product_id):
        raise bad_item(f"Id: {printable(str(product_id))[:80]!r} is not a GUID")
    attributes = _attributes(product)
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [AUXIP_SCHEMA],
        "id": _without_extension(name),
        "geometry": None,
        "properties": {
            **_times(product),
            **_origin(name, attributes, product_types),
            "auxip:id": product_id,
        },
        "links": [],
        "assets": {name: {"href": f"{download_url}/Products({product_id})/$value", **_file(product)}},
    }


def _without_extension(name: str) -> str:
    return name.rpartition(".")[0] or name


def _attributes(product: Json) -> dict[str, JsonValue]:
    """Return the values of the attributes by their names; whether they have a type does not matter."""
    listed = product.get("Attributes")
    found = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return {str(each.get("Name")): each.get("Value") for each in reversed(found)}


def _times(product: Json) -> Json:
    content = product.get("ContentDate")
    start, end = (content.get("Start"), content.get("End")) if isinstance(content, dict) else (None, None)
    if start is None or end is None:
        raise bad_item("ContentDate: Start and End are required")
    published = product.get("PublicationDate")
    stated: Json = {} if published is None else {"created": published, "published": published}
    return {"datetime": start, "start_datetime": start, "end_datetime": end, **stated}


def _origin(name: str, attributes: Mapping[str, JsonValue], product_types: Mapping[str, str]) -> Json:
    """Return what a product is and where it is from, by its attributes, else by its Name."""
    constellation, unit = attributes.get("platformShortName"), attributes.get("platformSerialIdentifier")
    if not isinstance(constellation, str) and (found := _MISSION.match(name)):
        constellation, unit = f"SENTINEL-{found[1]}", found[2]
    stated: Json = {
        "product:type": _type(name, attributes.get("productType"), product_types),
        "processing:datetime": attributes.get("processingDate"),
        "processing:facility": attributes.get("processingCenter"),
    }
    if isinstance(constellation, str):
        stated["constellation"] = constellation.lower()
        if isinstance(unit, str) and re.fullmatch("[A-Za-z]", unit):
            stated["platform"] = f"{constellation}{unit}".lower()
    return {key: value for key, value in stated.items() if isinstance(value, str) and value}


def _type(name: str, stated: JsonValue, product_types: Mapping[str, str]) -> str | None:
    """Return our spelling of a product's type."""
    ours = {theirs: ours for ours, theirs in product_types.items()}
    if isinstance(stated, str) and stated:
        return ours.get(stated, stated)
    spellings = _types_in(name)
    return next((ours[each] for each in spellings if each in ours), spellings[0] if spellings else None)


def _types_in(name: str) -> list[str]:
    """Return the spellings of the type that a Name states, as `AUX_RESORB` and `OPER_AUX_RESORB_OPOD`."""
    if found := _FILE_TYPE.match(name):
        return [found[2], f"{found[1]}_{found[2]}{found[3] or ''}"]
    found = _SENTINEL_1.match(name) or _SENTINEL_3.match(name)
    return [found[1]] if found else []


def _file(product: Json) -> Json:
    checksum = _checksum(product.get("Checksum"))
    stated: Json = {
        "type": product.get("ContentType"),
        "file:size": _size(product.get("ContentLength"), checksum),
        "file:checksum": checksum,
        "eviction_datetime": _eviction(product.get("EvictionDate")),
    }
    return {key: value for key, value in stated.items() if value is not None}


def _size(stated: JsonValue, checksum: str | None) -> JsonValue:
    """Return the size of the file; 0 is what some services state of files of any size, except where it is empty."""
    if isinstance(stated, bool):
        raise bad_item("ContentLength: it is not a number")
    if stated in (0, "0", ""):
        return 0 if checksum == _EMPTY else None
    return stated


def _checksum(stated: JsonValue) -> str | None:
    listed = [each for each in stated if isinstance(each, dict)] if isinstance(stated, list) else []
    pairs = [(each.get("Algorithm"), each.get("Value")) for each in listed]
    return stated_checksum((name, value) for name, value in pairs if isinstance(name, str) and isinstance(value, str))


def _eviction(stated: JsonValue) -> str | None:
    """Return when the station removes the product, or None where it never does or does not say."""
    try:
        return rfc3339(stated) if isinstance(stated, str) and parse_instant(stated) < OPEN_END else None
    except Rejected:
        return None
