"""What is an owner's own: where the data go in S3, and the key with which the catalog is written.

The owners stand in a TOML file (`AUXIP_OWNERS_FILE`). What one of them leaves out, and an owner who is not in it, is
as the settings say (`AUXIP_S3_BUCKET`, `AUXIP_S3_PREFIX`, `AUXIP_CATALOG_API_KEY`):

    [owner.operations]
    bucket = "operations-aux"
    prefix = "aux/"
    catalog_api_key = { file = "operations_catalog_key" }   # below AUXIP_SECRETS_DIR, or { env = "NAME" }
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from shared.models import OwnerId
from shared.secrets import SecretRef
from shared.settings import Bucket, Prefix, Settings, SettingsError
from shared.storage.keys import Place


@dataclass(frozen=True)
class Owner:
    """An owner's own.

    Attributes:
        place: receives assets, manifests and reports.
        catalog_api_key: sent to the catalog, or None where it asks for none.
    """

    place: Place
    catalog_api_key: SecretStr | None


class Owners:
    """Every owner, those that the file does not name included."""

    def __init__(self, default: Owner, named: Mapping[str, Owner]) -> None:
        self.default = default
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
    catalog_api_key: SecretRef | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    owner: Annotated[dict[OwnerId, _Entry], Field(max_length=10_000)] = {}


_FILE = TypeAdapter(_File)


def load_owners(settings: Settings) -> Owners:
    """Read the owners of the settings' file, and their secrets; none are named where no file is set.

    Raises:
        SettingsError: the file is missing or wrong, or a secret is; the reason names the file, the owner and the field.
    """
    default = Owner(Place(settings.s3_bucket, settings.s3_prefix), settings.catalog_api_key)
    if settings.owners_file is None:
        return Owners(default, {})
    try:
        entries = _FILE.validate_python(tomllib.loads(settings.owners_file.read_text("utf-8"))).owner
        return Owners(default, {name: _owner(name, entry, default) for name, entry in entries.items()})
    except ValidationError as error:
        raise _wrong(settings, _problem(error)) from None
    except (OSError, ValueError) as error:
        raise _wrong(settings, str(error).splitlines()[0]) from None
    except SettingsError as error:
        raise _wrong(settings, error.reason) from None


def _owner(name: str, entry: _Entry, default: Owner) -> Owner:
    try:
        key = default.catalog_api_key if entry.catalog_api_key is None else entry.catalog_api_key.resolve()
    except SettingsError as error:
        raise SettingsError(f"owner.{name}.catalog_api_key: {error.reason}") from None
    bucket = default.place.bucket if entry.bucket is None else entry.bucket
    prefix = default.place.prefix if entry.prefix is None else entry.prefix
    return Owner(Place(bucket, prefix), key)


def _wrong(settings: Settings, what: str) -> SettingsError:
    return SettingsError(f"AUXIP_OWNERS_FILE {settings.owners_file}: {what}")


def _problem(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "[key]")
    return f"{where}: {first['msg'].removeprefix('Value error, ')}"
