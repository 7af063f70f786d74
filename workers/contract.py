"""The messages that callers may send: the arguments of every public task, validated before anything is done."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from shared.errors import Rejected
from shared.models import CollectionId, OwnerId, RunKind, RunRequest
from shared.selection import Given, Instant, ProductType, ValCover
from shared.stac.item import Item, Json
from shared.stac.search import Cql2

_Model = TypeVar("_Model", bound=BaseModel)
_COLLECTION = TypeAdapter[str](CollectionId)


class Env(BaseModel):
    """On whose behalf a task works. Fields that we do not know, such as a tracing span, are let through."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    owner_id: OwnerId


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SearchMessage(_Message):
    """`auxip.search`: what does the station have? Answers with an ItemCollection, or null."""

    env: Env
    auxip_cql2: Cql2
    error_if_empty: bool = False


class StagingMessage(_Message):
    """`auxip.staging`: stage what a CQL2 search finds. Answers with `[status, ItemCollection or null]`."""

    env: Env
    cql2_filter: Cql2
    catalog_collection_identifier: CollectionId
    timeout_seconds: float = -1
    decompress: bool = True

    def request(self) -> RunRequest:
        """Return what the run is to do."""
        return RunRequest(
            owner=self.env.owner_id,
            collection=self.catalog_collection_identifier,
            selection=self.cql2_filter,
            timeout_seconds=self.timeout_seconds,
            decompress=self.decompress,
        )


class OnDemandMessage(_Message):
    """`auxip.on_demand_staging`: stage what covers a window (ValCover). Answers as `auxip.staging` does."""

    env: Env
    start_datetime: Instant
    end_datetime: Instant
    product_type: ProductType | Annotated[list[ProductType], Field(min_length=1, max_length=100)]
    catalog_collection_identifier: CollectionId
    timeout_seconds: float = -1
    decompress: bool = True

    def request(self) -> RunRequest:
        """Return what the run is to do."""
        types = [self.product_type] if isinstance(self.product_type, str) else self.product_type
        return RunRequest(
            owner=self.env.owner_id,
            collection=self.catalog_collection_identifier,
            selection=ValCover(product_types=tuple(types), start=self.start_datetime, end=self.end_datetime),
            timeout_seconds=self.timeout_seconds,
            decompress=self.decompress,
        )


class UnzipMessage(_Message):
    """`auxip.unzip_decompress`: expand the archives of an item that is in the catalog. Answers with the item."""

    env: Env
    auxip_item: Item

    def request(self) -> RunRequest:
        """Return what the run is to do.

        Raises:
            Rejected: `bad-request`, the item does not say which collection it is in.
        """
        try:
            collection = _COLLECTION.validate_python(self.auxip_item.collection)
        except ValidationError:
            raise Rejected(
                "bad-request",
                "auxip_item.collection is missing or no name: archives are expanded in the catalog's item",
            ) from None
        return RunRequest(
            kind=RunKind.DECOMPRESS,
            owner=self.env.owner_id,
            collection=collection,
            selection=Given(item_id=self.auxip_item.id),
        )


class ProcessAssetMessage(_Message):
    """`auxip.process_asset`: replace an archive in S3 by its content. Answers with the new prefix."""

    asset_href: str
    asset_name: str


class SweepMessage(_Message):
    """`auxip.sweep` and `auxip.sweep_now`: of beat and of `auxip sweep`.

    Attributes:
        name: of the sweep.
        at: when beat held it for due, in seconds since the epoch.
    """

    name: str
    at: float = Field(0, ge=0, allow_inf_nan=False)


class RunId(_Message):
    """The id of a run: that of its task, a UUID unless the caller has chosen another; part of S3 and ledger keys."""

    run_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]


MESSAGES: dict[str, type[BaseModel]] = {
    "auxip.search": SearchMessage,
    "auxip.staging": StagingMessage,
    "auxip.on_demand_staging": OnDemandMessage,
    "auxip.unzip_decompress": UnzipMessage,
    "auxip.process_asset": ProcessAssetMessage,
}


def decode(message: type[_Model], **fields: object) -> _Model:
    """Validate the arguments of a task.

    Raises:
        Rejected: `bad-request`, naming the first field that is wrong; `bad-filter`, `bad-window` or `bad-datetime`.
    """
    try:
        return message.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Rejected("bad-request", f"{where}: {first['msg']}") from None


def json_schema() -> dict[str, Json]:
    """Return the JSON Schema of every public task's arguments, by task name."""
    return {name: message.model_json_schema() for name, message in MESSAGES.items()}
