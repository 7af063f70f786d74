"""STAC items and assets as they arrive from a station or a catalog."""

from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from shared.errors import Rejected
from shared.json_types import Json
from shared.stac.requirements import require_fields, require_storable
from shared.stac.times import spell_times
from shared.texts import printable
from shared.times import OPEN_END, parse_instant

AUX_STAGING = "aux_staging:"
"""The prefix of our own fields; see `aux_staging.py`."""

_OURS = {"etag", "source", "manifest"}
"""Fields of an asset that say what we have done with it."""

_LARGEST = 2**48
"""256 TiB: more than any store holds in one object, and little enough that a run's sums keep to 64 bits."""


def _whole_number(value: object) -> object:
    # Stations give file:size as a number or, sometimes, as a string of digits.
    return int(value) if isinstance(value, str) and value.isdecimal() else value


Size = Annotated[int, BeforeValidator(_whole_number), Field(ge=0, le=_LARGEST)]


class Asset(BaseModel):
    """An asset of a STAC item; fields that we do not know are kept as they came.

    Attributes:
        etag: that the store has reported of the staged object: the same one has the same bytes, also where it is not
            their MD5 (a multipart upload, an encrypted bucket).
        source: what the content was expanded from.
        manifest: href of what tells the members of an expanded archive.
    """

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    href: str = Field(min_length=1, max_length=8192)
    size: Size | None = Field(None, alias="file:size")
    checksum: str | None = Field(None, alias="file:checksum")
    etag: str | None = Field(None, alias="aux_staging:etag")
    source: "Source | None" = Field(None, alias="aux_staging:source")
    manifest: str | None = Field(None, alias="aux_staging:manifest")


class Source(BaseModel):
    """What an expanded asset was made from: the archive's key, href and ETag, its size in bytes and its checksum.

    By it a later run knows the station's asset again, and an archive that a crash has left undeleted.
    """

    name: str
    href: str
    etag: str
    size: Size | None = None
    checksum: str | None = None


class Item(BaseModel):
    """A STAC item. Reading and writing it changes nothing that we do not mean to change; see `offered_item`."""

    model_config = ConfigDict(extra="allow")

    type: Literal["Feature"] = "Feature"
    id: str = Field(min_length=1, max_length=512)
    collection: str | None = None
    geometry: Json | None = None
    properties: Json
    assets: dict[str, Asset]
    links: list[Json] = []

    @property
    def size(self) -> int:
        """Bytes of all assets, as far as they are stated."""
        return sum(asset.size or 0 for asset in self.assets.values())

    @property
    def evicted(self) -> datetime | None:
        """When the station removes the first of the assets (`eviction_datetime`), or None where it does not say so."""
        stated = [self.properties, *(asset.model_extra or {} for asset in self.assets.values())]
        found = [parse_eviction(fields.get("eviction_datetime")) for fields in stated]
        return min((each for each in found if each is not None), default=None)

    def to_json(self) -> Json:
        """Return the item as it goes over the wire: fields that were never there stay away, nulls that were stay."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def parse_eviction(value: object) -> datetime | None:
    """Return when something is removed, or None for never: stations write the end of the calendar, or no instant."""
    with suppress(Rejected):
        instant = parse_instant(value) if isinstance(value, str) else OPEN_END
        return None if instant >= OPEN_END else instant
    return None


class Found(BaseModel):
    """An item as a search found it: what the station of this name said, or why it cannot be used, or is not wanted."""

    item_id: str
    station: str = ""
    item: Item | None = None
    code: str = ""
    reason: str = ""
    skipped: bool = False

    @classmethod
    def unusable(cls, item_id: str, code: str, reason: str, station: str = "") -> Self:
        """An item that the station offers and nobody can stage; what of the texts cannot be encoded becomes `?`."""
        return cls(item_id=_encodable(item_id), station=station, code=code, reason=printable(_encodable(reason)))

    def with_assets(self, names: Collection[str]) -> Self:
        """Return the item with those of its assets that have these keys; one that has none of them is skipped."""
        if self.item is None:
            return self
        chosen = {key: asset for key, asset in self.item.assets.items() if key in names}
        if chosen:
            return self.model_copy(update={"item": self.item.model_copy(update={"assets": chosen})})
        offered = printable(_encodable(", ".join(self.item.assets)))[:200]
        reason = f"of the assets that are asked for it has none; it has {offered}"
        return type(self)(item_id=self.item_id, station=self.station, code="no-such-asset", reason=reason, skipped=True)


def offered_item(feature: object) -> Item:
    """Read an item as a station offers it, as catalogs take it; fields that are ours to write are left out.

    By these we know what to delete. Its dates and times are RFC 3339, whatever the station's spelling.

    Raises:
        ValidationError: it is no STAC item.
        ItemFailed: `bad-item`, catalogs would refuse it.
    """
    require_storable(feature)
    item = Item.model_validate(feature)
    require_fields(feature)
    for key, asset in item.assets.items():
        if _OURS & asset.model_fields_set:
            item.assets[key] = Asset.model_validate(asset.model_dump(by_alias=True, exclude_unset=True, exclude=_OURS))
    spell_times(item.properties, (asset.model_extra or {} for asset in item.assets.values()))
    return item


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
