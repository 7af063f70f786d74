"""STAC items and assets as they arrive from a station or a catalog."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

Json = dict[str, JsonValue]

_LARGEST = 2**48
"""256 TiB: more than any store holds in one object, and little enough that a run's sums keep to 64 bits."""


def _whole_number(value: object) -> object:
    # Stations give file:size as a number or, sometimes, as a string of digits.
    return int(value) if isinstance(value, str) and value.isdecimal() else value


Size = Annotated[int, BeforeValidator(_whole_number), Field(ge=0, le=_LARGEST)]


class Asset(BaseModel):
    """An asset of a STAC item; fields that we do not know are kept as they came."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    href: str = Field(min_length=1, max_length=8192)
    size: Size | None = Field(None, alias="file:size")
    checksum: str | None = Field(None, alias="file:checksum")
    source: "Source | None" = Field(None, alias="auxip:source")
    manifest: str | None = Field(None, alias="auxip:manifest")


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
    """A STAC item. Reading and writing it changes nothing that we do not mean to change: no timestamp is re-spelled."""

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

    def to_json(self) -> Json:
        """Return the item as it goes over the wire: fields that were never there stay away, nulls that were stay."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Found(BaseModel):
    """An item as a search found it: what the station of this name said, or why it cannot be used."""

    item_id: str
    station: str = ""
    item: Item | None = None
    code: str = ""
    reason: str = ""

    @classmethod
    def unusable(cls, item_id: str, code: str, reason: str, station: str = "") -> Self:
        """An item that the station offers and nobody can stage; what of the texts cannot be encoded becomes `?`."""
        return cls(item_id=_encodable(item_id), station=station, code=code, reason=_encodable(reason))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
