"""Plain items, as many as a test wants, at the stack's station: each with one small file, and none with an archive."""

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import md5

from local import samples
from local.stac.store import Json, Store
from local.stack import Stack

_CONTENT = b"orbit"


@contextmanager
def plain_items(stack: Stack, count: int) -> Iterator[str]:
    """Offer so many items at the station for the length of the block; yields their product type."""
    product_type, product = f"PLAIN_{uuid.uuid4().hex[:8].upper()}", uuid.uuid4()
    (stack.folder / "products" / str(product)).write_bytes(_CONTENT)
    href = f"{stack.station_url}/Products({product})/$value"
    with closing(Store(stack.folder / "station.sqlite")) as store:
        store.add_items(samples.STATION_COLLECTION, [_item(product_type, number, href) for number in range(count)])
        yield product_type
        store._connection.execute("DELETE FROM items WHERE id LIKE ?", [f"{product_type}%"])
        store._connection.commit()


@dataclass
class Publisher:
    """Offers further plain items at the station; all of one product type.

    Attributes:
        product_type: of these items.
        ids: of all that were published so far.
    """

    stack: Stack
    product_type: str
    href: str
    ids: list[str] = field(default_factory=list)

    def publish(self, *instants: datetime | None) -> list[str]:
        """Offer an item for each instant, which is its `published`; returns their ids."""
        items = []
        for number, instant in enumerate(instants, start=len(self.ids)):
            one = _item(self.product_type, number, self.href)
            if instant is not None:
                properties = one["properties"]
                assert isinstance(properties, dict)
                properties["published"] = instant.isoformat().replace("+00:00", "Z")
            items.append(one)
        with closing(Store(self.stack.folder / "station.sqlite")) as store:
            store.add_items(samples.STATION_COLLECTION, items)
        new = [str(each["id"]) for each in items]
        self.ids += new
        return new


@contextmanager
def publishing(stack: Stack) -> Iterator[Publisher]:
    """Let a test offer plain items, one after the other, for the length of the block."""
    with plain_items(stack, 0) as product_type:
        product = uuid.uuid4()
        (stack.folder / "products" / str(product)).write_bytes(_CONTENT)
        yield Publisher(stack, product_type, f"{stack.station_url}/Products({product})/$value")


def _item(product_type: str, number: int, href: str) -> Json:
    name = f"{product_type}_{number:05}"
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": name,
        "collection": samples.STATION_COLLECTION,
        "geometry": None,
        "properties": {
            "datetime": "2024-03-25T00:00:00Z",
            "start_datetime": "2024-03-25T00:00:00Z",
            "end_datetime": "2024-03-26T00:00:00Z",
            "created": f"2024-03-25T00:00:00.{number:06}Z",
            "product:type": product_type,
            "platform": "sentinel-1a",
        },
        "assets": {
            f"{name}.EOF": {
                "href": href,
                "file:size": len(_CONTENT),
                "file:checksum": f"d50110{md5(_CONTENT, usedforsecurity=False).hexdigest()}",
            }
        },
        "links": [],
    }
