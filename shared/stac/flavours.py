"""What differs between catalogs: how paths and items are written, and what is accepted when they are read back."""

from collections.abc import Callable
from typing import ClassVar, Final
from urllib.parse import quote

from shared.errors import Refused, Retryable
from shared.json_types import Json
from shared.stac.item import Asset, Item
from shared.stac.publication import Public, with_manifests, without_manifests

_WORLD: Final[Json] = {
    "type": "Polygon",
    "coordinates": [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]],
}
"""Stands in for the geometry that an auxiliary item has not: pgSTAC refuses `null` with 400."""

Holds = Callable[[str, Asset], bool]
"""Whether the store holds at an href the very bytes that are known of an asset."""


def holds_nothing(_href: str, _asset: Asset) -> bool:
    """Prove nothing: then only the href that was written is accepted."""
    return False


class Flavour:
    """A STAC API with the Transaction extension, such as stac-fastapi-pgstac; the base of all other flavours.

    Attributes:
        name: as it is in `AUXIP_CATALOG_FLAVOUR`.
        moves_objects: the catalog may move what an href leads to into a bucket of its own; then what it shows is where
            an asset is, and where a newer version of it goes.
        takes_many: items may be read by a search and written many at once.
    """

    name: ClassVar[str] = "plain"
    moves_objects: ClassVar[bool] = False
    takes_many: ClassVar[bool] = True

    def __init__(self, owner: str, public: Public | None = None) -> None:
        """Take the owner of the collections, by whose name some catalogs know them, and where people read objects."""
        self._owner = owner
        self._public = public

    def path(self, collection: str) -> str:
        """Return the path of a collection."""
        return f"/collections/{quote(collection, safe='')}"

    def no_item(self) -> Json:
        """Return what no catalog takes for an item, though it looks at the key first that comes with it."""
        return {}

    def searched(self, collection: str) -> str:
        """Return the id by which a search names a collection."""
        return collection

    def to_write(self, item: Item) -> Json:
        """Return the body by which an item is created.

        The manifest of an expanded archive is an asset of its own there: by it a STAC client finds the members.
        """
        body = item.to_json()
        if body.get("geometry") is None:
            body["geometry"] = _WORLD
            body["bbox"] = [-180, -90, 180, 90]
        if isinstance(assets := body.get("assets"), dict):
            body["assets"] = with_manifests(assets, self._public)
        return body

    def to_replace(self, item: Item, before: Json, holds: Holds) -> Json:  # noqa: ARG002 - others need them
        """Return the body by which an item replaces what the catalog has had `before`.

        Raises:
            ItemFailed: the flavour cannot hold what is to be written.
        """
        return self.to_write(item)

    def from_read(self, body: Json) -> Json:
        """Return what the catalog shows of an item, without what was added to write it."""
        if isinstance(assets := body.get("assets"), dict):
            body["assets"] = without_manifests(assets)
        return with_datetime(without_world(body))

    def require_shown(self, written: Item, shown: Item | None, holds: Holds) -> Item:  # noqa: ARG002 - others need it
        """Return what the catalog shows, if every asset is where it was written.

        Raises:
            Retryable: `catalog-mismatch`.
        """
        if shown is None or hrefs(shown) != hrefs(written):
            raise mismatch(written)
        return shown

    def explained(self, item: Item, refusal: Refused) -> Exception:  # noqa: ARG002 - others need it
        """Return what a refused write means, which may be a fault of the item."""
        return refusal


def without_world(body: Json) -> Json:
    """Return an item without the geometry that we have put there."""
    if body.get("geometry") == _WORLD:
        body["geometry"] = None
        body.pop("bbox", None)
    return body


def with_datetime(feature: Json) -> Json:
    """Return an item with the null that STAC requires of one without a datetime: pgSTAC takes it and does not show it.

    What was read could not be written without it: 400, `properties.datetime: Field required`.
    """
    properties = feature.get("properties")
    if isinstance(properties, dict) and {"start_datetime", "end_datetime"} <= properties.keys():
        properties.setdefault("datetime", None)
    return feature


def mismatch(item: Item) -> Retryable:
    """Return the error for an item that is not shown as it was written."""
    return Retryable("catalog-mismatch", f"the catalog does not show item {item.id!r} as it was written")


def hrefs(item: Item) -> dict[str, str]:
    """Return where the assets of an item are, by which we know whether the catalog shows what was written."""
    return {key: asset.href for key, asset in item.assets.items()}
