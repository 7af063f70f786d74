"""What a sample product is, and how an AUXIP station describes it."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, UUID, uuid5

import pystac

STATION_COLLECTION = "adgs"
OPEN_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

_EXTENSIONS = [
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/timestamps/v1.1.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/product/v1.0.0/schema.json",
]


@dataclass(frozen=True)
class Product:
    """A file that the station offers.

    Attributes:
        name: the file's name, which is the key of its asset.
        product_type: as in `product:type`.
        platform: as in `platform`, for example `sentinel-1a`.
        start: validity start.
        end: validity end; OPEN_END if it has none.
        created: publication on the station.
        generated: when it was made, `processing:datetime`.
        build: makes its bytes, the same ones each time.
    """

    name: str
    product_type: str
    platform: str
    start: datetime
    end: datetime
    created: datetime
    generated: datetime
    build: Callable[[], bytes]

    @property
    def item_id(self) -> str:
        """The id of its item: the name without its last extension, so that several products may share one."""
        return self.name.rpartition(".")[0]

    @property
    def uuid(self) -> UUID:
        """What the station calls the file in its URLs."""
        return uuid5(NAMESPACE_URL, self.name)

    def covers(self, start: datetime, end: datetime) -> bool:
        """Tell whether it is valid during all of a window, bounds included."""
        return self.start <= start and self.end >= end


def at(text: str) -> datetime:
    """Read an instant as it stands in names, `20240325T090000`, in UTC."""
    return datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)


def compact(instant: datetime) -> str:
    """Spell an instant as it stands in names."""
    return instant.strftime("%Y%m%dT%H%M%S")


def item(products: Sequence[Product], assets: dict[str, object]) -> dict[str, object]:
    """The station's item.

    Args:
        products: those that share the item's id; the first one gives its properties.
        assets: by key.
    """
    first = products[0]
    made = pystac.Item(
        first.item_id,
        geometry=None,
        bbox=None,
        datetime=first.start,
        properties={
            "start_datetime": _timestamp(first.start),
            "end_datetime": _timestamp(first.end),
            "created": _timestamp(first.created),
            "published": _timestamp(first.created),
            "product:type": first.product_type,
            "processing:datetime": _timestamp(first.generated),
            "platform": first.platform,
            "constellation": first.platform[: len("sentinel-1")],
        },
        stac_extensions=_EXTENSIONS,
        collection=STATION_COLLECTION,
    )
    feature = made.to_dict(include_self_link=False)
    feature["properties"]["datetime"] = _timestamp(first.start)  # with milliseconds, as stations spell it
    return {**feature, "assets": assets}


def asset(product: Product, content: bytes, base_url: str) -> dict[str, object]:
    """The asset of one product.

    Args:
        product: its record.
        content: its bytes.
        base_url: of the station, without a slash at its end.
    """
    return {
        "href": f"{base_url}/Products({product.uuid})/$value",
        "type": "application/octet-stream",
        "file:size": len(content),
        "file:checksum": hashlib.md5(content, usedforsecurity=False).hexdigest(),
    }


def odata_product(product: Product, content: bytes) -> dict[str, object]:
    """The same product as a station that speaks OData describes it.

    Args:
        product: its record.
        content: its bytes.
    """
    published = _timestamp(product.created)
    constellation, unit = product.platform[: len("sentinel-1")], product.platform[len("sentinel-1") :]
    attributes = {
        "productType": product.product_type,
        "platformShortName": constellation.upper(),
        **({"platformSerialIdentifier": unit.upper()} if unit else {}),
        "processingDate": _timestamp(product.generated),
    }
    return {
        "Id": str(product.uuid),
        "Name": product.name,
        "ContentType": "application/octet-stream",
        "ContentLength": len(content),
        "OriginDate": published,
        "PublicationDate": published,
        "EvictionDate": "9999-12-31T23:59:59.999Z",
        "Checksum": [
            {
                "Algorithm": "MD5",
                "Value": hashlib.md5(content, usedforsecurity=False).hexdigest().upper(),
                "ChecksumDate": published,
            }
        ],
        "ContentDate": {"Start": _timestamp(product.start), "End": _timestamp(product.end)},
        "Attributes": [
            {"Name": name, "ValueType": "DateTimeOffset" if name.endswith("Date") else "String", "Value": value}
            for name, value in attributes.items()
        ],
    }


def _timestamp(instant: datetime) -> str:
    if instant == OPEN_END:
        return "9999-12-31T23:59:59Z"
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
