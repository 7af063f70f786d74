"""What is an owner's own: where the data go in S3, and the key with which the catalog is written.

The owners stand in a TOML file (`AUXIP_OWNERS_FILE`). What one of them leaves out, and an owner who is not in it, is
as the settings say (`AUXIP_S3_BUCKET`, `AUXIP_S3_PREFIX`, `AUXIP_CATALOG_API_KEY`):

    [owner.operations]
    bucket = "operations-aux"
    prefix = "aux/"
    catalog_api_key = { file = "operations_catalog_key" }   # below AUXIP_SECRETS_DIR, or { env = "NAME" }

And what other systems may ask for, by the names of their reply lists. Where the file names one, a request of any other,
or without a reply list, is refused:

    [caller.planning]
    tasks = ["auxip.staging", "auxip.search"]
    owners = ["operations"]
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from shared.models import OwnerId, PublicTask, ReplyName
from shared.secrets import HeaderSecret
from shared.settings import Bucket, Prefix, Settings, SettingsError
from shared.storage.keys import Place
from shared.toml import TomlError, faults_of, read_toml


@dataclass(frozen=True)
class Owner:
    """An owner's own.

    Attributes:
        place: receives assets, manifests and reports.
        catalog_api_key: sent to the catalog, or None where it asks for none.
    """

    place: Place
    catalog_api_key: SecretStr | None


@dataclass(frozen=True)
class Caller:
    """What another system may ask for.

    Attributes:
        tasks: names of public tasks.
        owners: on whose behalf.
    """

    tasks: frozenset[str]
    owners: frozenset[str]


class Owners:
    """Every owner, those that the file does not name included.

    Attributes:
        default: what holds for an owner that the file does not name.
        callers: what other systems may ask for, by the names of their reply lists; without any, every system
            may ask for anything.
    """

    def __init__(self, default: Owner, named: Mapping[str, Owner], callers: Mapping[str, Caller]) -> None:
        self.default = default
        self.callers = callers
        self._named = named

    def __getitem__(self, name: str) -> Owner:
        return self._named.get(name, self.default)

    @property
    def places(self) -> set[Place]:
        """Every place that anybody's data go to."""
        return {owner.place for owner in (self.default, *self._named.values())}


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    bucket: Bucket | None = None
    prefix: Prefix | None = None
    catalog_api_key: HeaderSecret | None = None


class _CallerEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tasks: Annotated[list[PublicTask], Field(min_length=1)]
    owners: Annotated[list[OwnerId], Field(min_length=1, max_length=10_000)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    owner: Annotated[dict[OwnerId, _Entry], Field(max_length=10_000)] = {}
    caller: Annotated[dict[ReplyName, _CallerEntry], Field(max_length=10_000)] = {}


def load_owners(settings: Settings) -> Owners:
    """Read the owners of the settings' file, and their secrets; none are named where no file is set.

    Raises:
        SettingsError: the file is missing or wrong, or a secret is; the reason names the file, the owner and the field.
    """
    default = Owner(Place(settings.s3_bucket, settings.s3_prefix), settings.catalog_api_key)
    file = settings.owners_file
    if file is None:
        return Owners(default, {}, {})
    try:
        document = read_toml(file)
        found = _File.model_validate(document)
    except TomlError as error:
        raise SettingsError(f"AUXIP_OWNERS_FILE {file}: {error}") from None
    except ValidationError as error:
        raise SettingsError(f"AUXIP_OWNERS_FILE {file}: {faults_of(document, error)}") from None
    callers = {name: Caller(frozenset(each.tasks), frozenset(each.owners)) for name, each in found.caller.items()}
    return Owners(default, {name: _owner(entry, default) for name, entry in found.owner.items()}, callers)


def _owner(entry: _Entry, default: Owner) -> Owner:
    bucket = default.place.bucket if entry.bucket is None else entry.bucket
    prefix = default.place.prefix if entry.prefix is None else entry.prefix
    key = default.catalog_api_key if entry.catalog_api_key is None else entry.catalog_api_key
    return Owner(Place(bucket, prefix), key)
