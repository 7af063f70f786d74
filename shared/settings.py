"""Settings of every process, read from the environment and from secret files, checked once at start.

A setting `s3_endpoint` is the variable `AUXIP_S3_ENDPOINT`; a secret may stand instead in a file named
`auxip_s3_secret_access_key` below `AUXIP_SECRETS_DIR` (default /run/secrets, where compose and Kubernetes mount
them). A name that is no setting is refused, so that a typing error does not silently leave a default in force.
"""

import difflib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.errors import Rejected
from shared.letter_rules import LetterRules
from shared.logs import LogFormat
from shared.redis_address import parse_redis_url

PREFIX = "AUXIP_"
SECRETS_DIR = "AUXIP_SECRETS_DIR"
_SECRETS_DEFAULT = "/run/secrets"
_LARGEST_OBJECT = 10_000 * 8 * 2**20  # S3 takes 10,000 parts, and a part is 8 MiB


class SettingsError(Rejected):
    """A setting is missing, wrong or unknown; the reason names it in one line."""

    def __init__(self, reason: str) -> None:
        super().__init__("bad-setting", reason)
        self.args = (reason,)


def _url(value: str, *schemes: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        if parts.scheme in schemes and parts.hostname and parts.port != 0:
            return parts
    except ValueError:
        pass  # its message may repeat a part of a password
    raise ValueError(f"is no {':// or '.join(schemes)}:// URL")


def _http_url(value: str) -> str:
    parts = _url(value, "http", "https")
    if parts.username or parts.password:
        raise ValueError("holds credentials; give them in their own setting")
    return value.rstrip("/")


def _redis_url(value: SecretStr) -> SecretStr:
    parse_redis_url(value.get_secret_value())
    return value


def _json_list(value: object) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError('is no JSON list such as ["a", "b"]') from None


HttpUrl = Annotated[str, AfterValidator(_http_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
# Decoded here: pydantic-settings itself would report text that is no JSON without the name of the setting.
Names = Annotated[list[str], NoDecode, BeforeValidator(_json_list)]
Bucket = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
Prefix = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9._-]+/)*$")]


class ArchiveSettings(BaseSettings):
    """How archives are expanded; all have defaults, so that an archive can be looked at without a server."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    archive_layout: Literal["auto", "flat", "tree"] = Field(
        "auto",
        description="`flat` keeps the file names only, `tree` the relative paths; `auto` is flat unless files of one "
        "name would collide",
    )
    archive_on_unsafe: Literal["fail", "skip"] = Field(
        "fail", description="`fail` refuses an archive for one dangerous or damaged member, `skip` leaves that one out"
    )
    archive_nested_zip: bool = Field(True, description="expand a .zip within an archive; false keeps it as a file")
    archive_max_members: int = Field(200_000, ge=1, description="files in one archive, nested ones counted")
    archive_max_bytes: int = Field(64 * 2**30, ge=1, description="bytes that one archive may expand to")
    archive_max_ratio: float = Field(
        200, gt=1, description="largest ratio of content to archive, checked from 256 MiB on"
    )
    archive_max_depth: int = Field(8, ge=0, description="archives within archives")
    archive_max_spool: int = Field(2**30, ge=0, description="bytes of nested .zip in temporary files at once")
    archive_memory: int = Field(
        128 * 2**20, ge=48 * 2**20, description="bytes of one archive in memory, read ahead or being written"
    )


class Settings(ArchiveSettings):
    """What a process needs to know. Sizes are in bytes and times in seconds unless a name says otherwise."""

    redis_url: RedisUrl = Field(
        description="broker, results and ledger: `redis://default:PASSWORD@HOST:6379/0`; `rediss://` for TLS"
    )

    stations_file: Path = Field(description="TOML file of the AUXIP stations and their credentials")

    catalog_url: HttpUrl = Field(description="STAC API with transactions that receives the items")
    catalog_api_key: SecretStr | None = Field(None, description="sent as `x-api-key` to the catalog")
    catalog_flavour: Literal["auto", "plain", "rs-server"] = Field(
        "auto", description="`plain` is a STAC API such as pgSTAC, `rs-server` is RS-Server's; `auto` finds out"
    )
    catalog_timeout: float = Field(30, gt=0, description="seconds to wait for the catalog's next bytes")

    staging_url: HttpUrl | None = Field(None, description="OGC API Processes of the staging service, for `ogc`")
    staging_api_key: SecretStr | None = Field(None, description="sent as `x-api-key` to the staging service")
    staging_backend: Literal["transfer", "ogc"] = Field(
        "transfer", description="`transfer`: the workers stage; `ogc`: a staging service stages"
    )
    staging_poll: float = Field(
        5, gt=0, le=60, description="seconds between two polls of a job, at first; later up to 60"
    )
    staging_job_timeout: float = Field(7200, gt=0, description="seconds that one job of the staging service may take")

    s3_endpoint: HttpUrl = Field(description="URL of the S3 service")
    s3_region: str = Field("us-east-1", description="region that requests are signed for")
    s3_addressing: Literal["path", "virtual"] = Field(
        "path", description="`path` has the bucket in the path of a URL, `virtual` in the host name, as AWS requires"
    )
    s3_access_key_id: SecretStr = Field(description="access key of the staging bucket")
    s3_secret_access_key: SecretStr = Field(description="secret key of the staging bucket")
    s3_bucket: Bucket = Field(description="bucket that receives assets, manifests and reports")
    s3_public_url: HttpUrl | None = Field(
        None, description="URL below which people read the objects of the bucket; assets get it as `alternate.https`"
    )
    s3_prefix: Prefix = Field("", description="prefix of every key, ending in a slash")
    s3_timeout: float = Field(60, gt=0, description="seconds that one S3 request may take")
    s3_source_buckets: Names = Field(
        [], description="JSON list of the buckets that a station's `s3://` hrefs may be copied from; empty means none"
    )

    attempts: int = Field(5, ge=1, le=100, description="tries of one step before its item is recorded as failed")
    backoff_base: float = Field(
        1, gt=0, description="seconds before the second try; doubles with each, with full jitter"
    )
    backoff_max: float = Field(
        120, gt=0, description="longest wait before a try, in seconds, even if a station asks for more"
    )
    outage_patience: float | None = Field(
        None,
        ge=0,
        description="seconds that a system may be down before its steps use up their tries; unset: no limit",
    )
    step_timeout: float = Field(1800, ge=10, description="seconds that one step of an item, or a search, may take")
    lease: float = Field(
        60, ge=3, description="seconds after which the claim of a dead worker expires; a live worker renews it"
    )
    run_window: int = Field(
        200, ge=1, le=10_000, description="items of one run that are on the queues or in work at once; others follow"
    )
    patience: float = Field(
        120, ge=1, description="seconds after which a step that no worker has begun is published again; doubles then"
    )
    reconcile_every: float = Field(30, ge=1, description="seconds after which beat looks again for lost steps")
    max_items: int = Field(200_000, ge=1, description="items that one run may find before it is refused")
    max_result_bytes: int = Field(
        4 * 2**20, ge=0, description="largest ItemCollection in a result; a run with a larger one links to it in S3"
    )
    max_answer_bytes: int = Field(
        64 * 2**20, ge=1024, description="largest answer of a station or catalog; it takes five times as much memory"
    )
    max_asset_bytes: int = Field(64 * 2**30, ge=1024, le=_LARGEST_OBJECT, description="largest asset that is staged")
    transfer_memory: int = Field(
        64 * 2**20, ge=32 * 2**20, description="bytes of one transfer in memory, read ahead or being written"
    )
    keep_runs_days: int = Field(30, ge=1, description="days that the ledger remembers a closed run")
    report_days: int = Field(
        90, ge=1, description="days that reports of runs and audits stay in S3; a daily task deletes older ones"
    )
    dead_letters_max: int = Field(
        10_000, ge=1, le=1_000_000, description="dead letters that are kept; the oldest are deleted first"
    )
    dead_letter_rules: LetterRules = Field(
        [], description="JSON object: which failed items are tried again later, or dropped"
    )
    eviction_warning_days: float = Field(
        7,
        ge=0,
        description="an item that is not staged, and that its station removes within so many days, gets a warning",
    )
    uploads_max_age: float = Field(
        86_400, ge=3600, description="seconds after which a daily sweep aborts an unfinished upload"
    )
    log_format: LogFormat = Field("text", description="lines of the logs of workers, beat and gate: `text` or `json`")

    queries_file: Path | None = Field(None, description="JSON file of the named queries that callers may ask for")
    sweeps_file: Path | None = Field(None, description="TOML file of the periodic sweeps that beat runs")
    default_owner: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")] = Field(
        "auxip", description="owner whose archives `auxip.process_asset` expands if the caller names none"
    )
    owners_file: Path | None = Field(None, description="TOML file of owners with a bucket, prefix or key of their own")

    @field_validator("staging_backend")
    @classmethod
    def _has_a_service(cls, backend: str, info: ValidationInfo) -> str:
        if backend == "ogc" and info.data.get("staging_url", "wrong, and so named already") is None:
            raise ValueError("ogc needs AUXIP_STAGING_URL")
        return backend


def load_settings() -> Settings:
    """Read and check the settings of this process.

    Raises:
        SettingsError: naming every wrong, missing or unknown setting in one line.
    """
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in _known())
    if unknown:
        raise SettingsError("; ".join(_unknown(name) for name in unknown))
    folder = secrets_folder()
    with _told():
        return Settings(_secrets_dir=folder)


def secrets_folder() -> Path | None:
    """Return the folder that secrets are read from, or None where there is none.

    Raises:
        SettingsError: `AUXIP_SECRETS_DIR` names a folder that is not there.
    """
    folder = Path(os.environ.get(SECRETS_DIR, _SECRETS_DEFAULT))
    if folder.is_dir():
        return folder
    if SECRETS_DIR in os.environ:
        raise SettingsError(f"{SECRETS_DIR} {folder} is no folder")
    return None


def load_archive_settings() -> ArchiveSettings:
    """Read and check only how archives are expanded.

    Raises:
        SettingsError: naming every wrong setting in one line.
    """
    with _told():
        return ArchiveSettings()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise SettingsError(
            "; ".join(_problem(detail["loc"], detail["type"], detail["msg"]) for detail in error.errors())
        ) from None


def _known() -> set[str]:
    return {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {SECRETS_DIR}


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, _known(), n=1)
    return f"{name} is no setting" + (f"; did you mean {close[0]}?" if close else "")


def _problem(location: tuple[int | str, ...], kind: str, message: str) -> str:
    name = f"{PREFIX}{str(location[0]).upper()}" if location else "settings"
    return f"{name} is not set" if kind == "missing" else f"{name} {message.removeprefix('Value error, ')}"
