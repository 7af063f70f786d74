"""Products of OData stations, as tests make them."""

from collections.abc import Mapping
from typing import Any

URL = "https://station.example/odata/v1"
NAME = "S1A_OPER_AUX_RESORB_OPOD_20230405T110702_V20230405T071044_20230405T102814.EOF"
ID = "613c3746-67ac-44e7-a86a-9c03c43ab28f"


def attribute(name: str, value: object, kind: str = "String") -> dict[str, object]:
    return {"@odata.type": f"#OData.CSC.{kind}Attribute", "Name": name, "ValueType": kind, "Value": value}


ATTRIBUTES = {
    "productType": attribute("productType", "AUX_RESORB"),
    "platformShortName": attribute("platformShortName", "SENTINEL-1"),
    "platformSerialIdentifier": attribute("platformSerialIdentifier", "A"),
    "processingCenter": attribute("processingCenter", "OPOD"),
    "processingDate": attribute("processingDate", "2023-04-05T11:07:02.000Z", "DateTimeOffset"),
}


def product(**changes: Any) -> dict[str, Any]:
    """A product, complete; a change to None removes the field."""
    made = {
        "Id": ID,
        "Name": NAME,
        "ContentType": "application/octet-stream",
        "ContentLength": 9496648,
        "OriginDate": "2023-04-05T11:10:00.000Z",
        "PublicationDate": "2023-04-05T11:30:00.123Z",
        "EvictionDate": "2023-05-10T11:30:00.123Z",
        "Checksum": [{"Algorithm": "MD5", "Value": "145D09A378CFA82C4440FCC41FAD075F", "ChecksumDate": "2023-04-05"}],
        "ContentDate": {"Start": "2023-04-05T07:10:44.000Z", "End": "2023-04-05T10:28:14.000Z"},
        "Attributes": list(ATTRIBUTES.values()),
        **changes,
    }
    return {key: value for key, value in made.items() if value is not None}


def with_attributes(**changes: Mapping[str, object] | None) -> list[Mapping[str, object]]:
    """The attributes of a product, some of them changed or, if None, removed."""
    return [each for each in {**ATTRIBUTES, **changes}.values() if each is not None]
