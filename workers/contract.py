"""The messages that callers may send: the arguments of every public task, validated before anything is done."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial, wraps
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self, TypeAlias, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from shared.archives.members import Members, Strip
from shared.archives.rules import Choice, WantedLayout
from shared.errors import Rejected
from shared.json_types import Json
from shared.models import AssetNames, CollectionId, OwnerId, RunKind, RunRequest
from shared.selection import (
    POLICIES,
    FileNames,
    Given,
    Instant,
    NamedQuery,
    NamesSelection,
    OrbitSelection,
    Platform,
    PolicyName,
    PolicySelection,
    ProductType,
    Scene,
    fill,
)
from shared.stac.item import Item
from shared.stac.search import Cql2, SortKey
from shared.stations.config import StationName
from shared.validation import all_problems, whole

if TYPE_CHECKING:
    from celery import Task

BoundTask: TypeAlias = "Task[..., object]"

_Model = TypeVar("_Model", bound=BaseModel)
_Result = TypeVar("_Result")
_NESTED = {name for model in (Cql2, NamedQuery, SortKey) for name in model.model_fields} - {"kind"}
_COLLECTION = TypeAdapter[str](CollectionId)


def _names(station: str | list[str] | None) -> tuple[str, ...]:
    return (station,) if isinstance(station, str) else tuple(station or ())


class Env(BaseModel):
    """On whose behalf a task works. Fields that we do not know, such as a tracing span, are let through."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    owner_id: OwnerId
    """The owner: the first segment of the S3 keys."""


OnBehalf = Annotated[Env, Field(description='on whose behalf: `{"owner_id": "..."}`')]
Collection = Annotated[CollectionId, Field(description="collection of the catalog, which must exist")]
Timeout = Annotated[
    float,
    Field(strict=True, allow_inf_nan=False, description="seconds that the search may take; negative: no limit"),
]
Decompress = Annotated[bool, Field(strict=True, description="whether archives are expanded")]
Assets = Annotated[
    AssetNames | None,
    Field(
        description="keys of the assets that are staged, of each item; null: all of them. Other assets are not changed"
    ),
]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @field_validator("*", mode="wrap")
    @classmethod
    def _refused_together(cls, value: object, handler: ValidatorFunctionWrapHandler) -> object:
        """Let an error of ours be one of the problems of a message, where it would end the validation at once."""
        try:
            return handler(value)
        except Rejected as error:
            raise PydanticCustomError(error.code, "{reason}", {"reason": error.reason}) from None


Stations = Annotated[
    StationName | Annotated[list[StationName], Field(min_length=1, max_length=20)] | None,
    Field(description="station of the configuration, or several to try in this order; null is the default one"),
]


def _plain_or_named(value: object) -> Cql2 | NamedQuery:
    # By hand, and not as a union: the location of an error would name the union's members.
    named = isinstance(value, dict) and "query" in value
    return (NamedQuery if named else Cql2).model_validate(value)


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


_Expression = Annotated[
    Json,
    WithJsonSchema(
        {
            "type": "object",
            "title": "CQL2-JSON",
            "description": "a filter as of OGC 21-065r2",
            "required": ["op"],
            "not": {"required": ["query"]},
        }
    ),
]
Cql2OrQuery = Annotated[
    Cql2 | NamedQuery,
    PlainValidator(_plain_or_named, json_schema_input_type=Cql2 | _Expression | NamedQuery),
    Field(description="CQL2: a filter, or filter, limit and sortby; or a query of AUXIP_QUERIES_FILE, and parameters"),
]

Chain = Annotated[
    tuple[PolicyName, ...],
    Field(min_length=1, max_length=len(POLICIES)),
    BeforeValidator(
        _listed,
        json_schema_input_type=PolicyName | Annotated[list[PolicyName], Field(min_length=1, max_length=len(POLICIES))],
    ),
]
Seconds = Annotated[float, Field(strict=True, ge=0, le=36_525 * 86_400.0, allow_inf_nan=False)]


Layout = Annotated[
    WantedLayout | None, Field(description="of expanded archives: flat, tree or auto; null is that of the settings")
]


MemberPatterns = Annotated[
    Members | None,
    Field(description="patterns of the members that are expanded: *, ?, [...], and ** for folders; null is all"),
]
StripFolders = Annotated[
    Strip,
    BeforeValidator(whole),
    Field(strict=True, description="leading folders that are removed from the paths of members"),
]

Dbl = Annotated[bool, Field(strict=True, description="expand a .DBL as well, if its content is a tar or a tgz")]


class _ExpandingMessage(_Message):
    """A message whose archives are expanded; the fields themselves are declared by each, in the order of arguments."""

    @model_validator(mode="after")
    def _has_folders_to_strip(self) -> Self:
        if getattr(self, "strip", 0) and getattr(self, "layout", None) == "flat":
            raise ValueError("strip removes folders, and the layout flat has none: use tree or leave the layout out")
        return self


class SearchMessage(_Message):
    """`auxip.search`: what does the station have? Answers with an ItemCollection, or null."""

    env: OnBehalf
    auxip_cql2: Cql2OrQuery
    error_if_empty: Annotated[bool, Field(strict=True)] = False
    """Whether it is an error (`nothing-found`) if nothing is found."""
    station: Stations = None

    @property
    def stations(self) -> tuple[str, ...]:
        """The names of the stations to try."""
        return _names(self.station)

    def search(self, queries_file: Path | None) -> Cql2:
        """Return the search to send; what it may raise is told by `fill`."""
        return _search(self.auxip_cql2, queries_file)


class StagingMessage(_ExpandingMessage):
    """`auxip.staging`: stage what a CQL2 search finds. Answers with `[status, ItemCollection or null]`.

    If the collection has more than `AUXIP_MAX_RESULT_BYTES`, the result has a link to it instead, which has an `href`:
    `{"rel": "items", "type": "application/geo+json", "href": "s3://..", "items": number, "bytes": number}`.
    """

    env: OnBehalf
    cql2_filter: Cql2OrQuery
    catalog_collection_identifier: Collection
    timeout_seconds: Timeout = -1
    decompress: Decompress = True
    asset_names: Assets = None
    station: Stations = None
    layout: Layout = None
    members: MemberPatterns = None
    strip: StripFolders = 0
    dbl: Dbl = False

    def request(self, queries_file: Path | None) -> RunRequest:
        """Return what the run is to do; what it may raise is told by `fill`."""
        return RunRequest(
            owner=self.env.owner_id,
            collection=self.catalog_collection_identifier,
            stations=_names(self.station),
            selection=_search(self.cql2_filter, queries_file),
            timeout_seconds=self.timeout_seconds,
            decompress=self.decompress,
            asset_names=self.asset_names,
            layout=self.layout,
            members=self.members,
            strip=self.strip,
            dbl=self.dbl,
        )


class OnDemandMessage(_ExpandingMessage):
    """`auxip.on_demand_staging`: stage what a chain of policies selects. Answers as `auxip.staging` does.

    The window may be left out if no policy of the chain looks at it; `before` and `after` widen it, in seconds.
    """

    env: OnBehalf
    start_datetime: Instant | None = None
    """Begin of the window: RFC 3339; without an offset in UTC."""
    end_datetime: Instant | None = None
    """End of the window."""
    product_type: ProductType | Annotated[list[ProductType], Field(min_length=1, max_length=100)]
    """Product type, or several: each is its own selection."""
    catalog_collection_identifier: Collection
    timeout_seconds: Timeout = -1
    decompress: Decompress = True
    asset_names: Assets = None
    station: Stations = None
    policy: Chain = ("ValCover",)
    """Selection policy, or several: the next is used if the one before selects nothing."""
    platform: Platform | None = None
    """Such as sentinel-1a; null: any."""
    before: Seconds = 0
    """Seconds by which the window begins earlier."""
    after: Seconds = 0
    """Seconds by which the window ends later."""
    layout: Layout = None
    members: MemberPatterns = None
    strip: StripFolders = 0
    dbl: Dbl = False

    def request(self) -> RunRequest:
        """Return what the run is to do.

        Raises:
            Rejected: `bad-window`, it is missing where a policy needs it, or it ends before it begins.
        """
        types = [self.product_type] if isinstance(self.product_type, str) else self.product_type
        return RunRequest(
            owner=self.env.owner_id,
            collection=self.catalog_collection_identifier,
            stations=_names(self.station),
            selection=PolicySelection(
                policies=self.policy,
                product_types=tuple(types),
                platform=self.platform,
                start=self.start_datetime,
                end=self.end_datetime,
                before=timedelta(seconds=self.before),
                after=timedelta(seconds=self.after),
            ),
            timeout_seconds=self.timeout_seconds,
            decompress=self.decompress,
            asset_names=self.asset_names,
            layout=self.layout,
            members=self.members,
            strip=self.strip,
            dbl=self.dbl,
        )


def _scene(name: str) -> str:
    return Scene.of(name).name


class OrbitMessage(_Message):
    """`auxip.orbit`: stage the orbit file of a Sentinel-1 scene. Answers as `auxip.staging` does.

    It is the precise orbit, else the restituted one. If there is neither, the run finds nothing.
    """

    env: OnBehalf
    scene: Annotated[
        str, Field(description="name of the product, with or without .SAFE and .zip"), AfterValidator(_scene)
    ]
    catalog_collection_identifier: Collection
    timeout_seconds: Timeout = -1
    station: Stations = None

    def request(self) -> RunRequest:
        """Return what the run is to do."""
        return RunRequest(
            owner=self.env.owner_id,
            collection=self.catalog_collection_identifier,
            stations=_names(self.station),
            selection=OrbitSelection(scene=self.scene),
            timeout_seconds=self.timeout_seconds,
        )


class AuxMessage(_Message):
    """`auxip.aux`: stage auxiliary files by their names. Answers as `auxip.staging` does.

    A file that the station does not have is a failed item of the run. Only one station is searched, since a second one
    would not be asked for the files that the first one lacks.
    """

    env: OnBehalf
    names: FileNames
    """Names of the files, with or without .SAFE, .EOF and .zip."""
    catalog_collection_identifier: Collection
    timeout_seconds: Timeout = -1
    decompress: Decompress = True
    station: StationName | None = None
    """Station of the configuration; null is the default one."""
    layout: Layout = None

    def request(self) -> RunRequest:
        """Return what the run is to do."""
        return RunRequest(
            owner=self.env.owner_id,
            collection=self.catalog_collection_identifier,
            stations=_names(self.station),
            selection=NamesSelection(names=self.names),
            timeout_seconds=self.timeout_seconds,
            decompress=self.decompress,
            layout=self.layout,
        )


class UnzipMessage(_ExpandingMessage):
    """`auxip.unzip_decompress`: expand the archives of an item that is in the catalog. Answers with the item."""

    env: OnBehalf
    auxip_item: Item
    """The item, as the catalog has it: its `id` and `collection` say which it is."""
    layout: Layout = None
    members: MemberPatterns = None
    strip: StripFolders = 0
    dbl: Dbl = False

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
            layout=self.layout,
            members=self.members,
            strip=self.strip,
            dbl=self.dbl,
        )


class ProcessAssetMessage(_ExpandingMessage):
    """`auxip.process_asset`: replace an archive in S3 by its content. Answers with the new prefix.

    The archive is below the owner's prefix; without `env` the owner is `AUXIP_DEFAULT_OWNER`. The archive is kept if
    only some of its members are expanded.
    """

    asset_href: str
    """The archive: s3://bucket/key."""
    asset_name: str
    """Its file name, which says its format."""
    env: OnBehalf | None = None
    """On whose behalf; null is `AUXIP_DEFAULT_OWNER`."""
    layout: Layout = None
    members: MemberPatterns = None
    strip: StripFolders = 0
    dbl: Dbl = False

    @property
    def choice(self) -> Choice:
        """What is chosen for the archive."""
        return Choice(layout=self.layout, members=self.members, strip=self.strip, dbl=self.dbl)


RunName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]


class StatusMessage(_Message):
    """`auxip.status`: how did a run end, or how far is it? Answers with an answer (v1), without `items` and `result`.

    The run is one of the owner's.
    """

    env: OnBehalf
    run: RunName
    """The id of the run: that of the request or task that began it."""


class CancelMessage(StatusMessage):
    """`auxip.cancel`: begin nothing new of a run of the owner; what was done stays. Answers as `auxip.status` does."""


class SweepMessage(_Message):
    """`auxip.sweep` and `auxip.sweep_now`: of beat and of `auxip sweep`.

    Attributes:
        name: of the sweep.
        at: when beat held it for due, in seconds since the epoch.
    """

    name: str
    at: float = Field(0, ge=0, allow_inf_nan=False)


class AuditMessage(SweepMessage):
    """`auxip.audit`: of beat, and of each slice of an audit to the next one, with the `chain` that they are of."""

    chain: str = ""


class RunId(_Message):
    """The id of a run: that of its task, a UUID unless the caller has chosen another; part of S3 and ledger keys."""

    run_id: RunName


MESSAGES: dict[str, type[BaseModel]] = {
    "auxip.search": SearchMessage,
    "auxip.staging": StagingMessage,
    "auxip.on_demand_staging": OnDemandMessage,
    "auxip.orbit": OrbitMessage,
    "auxip.aux": AuxMessage,
    "auxip.unzip_decompress": UnzipMessage,
    "auxip.process_asset": ProcessAssetMessage,
    "auxip.status": StatusMessage,
    "auxip.cancel": CancelMessage,
}


def _search(given: Cql2 | NamedQuery, queries_file: Path | None) -> Cql2:
    return given if isinstance(given, Cql2) else fill(queries_file, given)


def decode(message: type[_Model], /, **fields: object) -> _Model:
    """Validate the arguments of a task.

    Raises:
        Rejected: `bad-request`, naming every field that is wrong; or `bad-filter`, `bad-datetime` where all that is
            wrong is of that kind.
    """
    try:
        return message.model_validate(fields)
    except ValidationError as error:
        kinds = [each["type"] for each in error.errors(include_input=False, include_url=False)]
        code = kinds[0] if all("-" in kind for kind in kinds) else "bad-request"  # pydantic's own have underscores
        raise Rejected(code, all_problems(error, message.model_fields, _NESTED)) from None


def refusal(message: type[BaseModel], args: tuple[object, ...], kwargs: Mapping[str, object]) -> Rejected | None:
    """Return what the arguments of a call are refused with; None if that cannot be said by the fields of the message.

    Args:
        message: of the task.
        args: given by their places.
        kwargs: given by their names.
    """
    names = [*message.model_fields]
    given = dict(zip(names, args, strict=False))
    if len(args) > len(names) or given.keys() & kwargs.keys():
        return None
    try:
        decode(message, **given, **kwargs)
    except Rejected as error:
        return error
    return None


def takes(message: type[_Model]) -> Callable[[Callable[[BoundTask, _Model], _Result]], Callable[..., _Result]]:
    """Make a task's function of one that takes a validated message: its arguments are the message's fields, in order.

    An argument after the first that may be left out may be left out as well, as Python has it; if the message needs
    it, the message is refused.
    """
    parameters = [Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)]
    for name, field in message.model_fields.items():
        optional = not field.is_required() or parameters[-1].default is not Parameter.empty
        default = None if optional else Parameter.empty
        parameters.append(Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=default))
    signature = Signature(parameters)

    def decorate(function: Callable[[BoundTask, _Model], _Result]) -> Callable[..., _Result]:
        @wraps(function)
        def task(*args: object, **kwargs: object) -> _Result:
            given = signature.bind(*args, **kwargs).arguments
            return function(cast("BoundTask", given.pop("self")), decode(message, **given))

        task.refusal = partial(refusal, message)  # type: ignore[attr-defined]  # of `workers.request`
        task.__signature__ = signature  # type: ignore[attr-defined]  # what Celery checks the arguments against
        del task.__wrapped__  # and not the function's own
        return task

    return decorate
