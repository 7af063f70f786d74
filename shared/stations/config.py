"""The stations of a deployment, as a TOML file describes them.

The setting `AUXIP_STATIONS_FILE` names it:

    [station.adgs]
    url = "https://adgs.example/auxip"
    requests_per_minute = 600

    [station.adgs.auth]
    kind = "api-key"
    api_key = { env = "ADGS_KEY" }

    [station.cdse]
    preset = "cdse"

    [station.cdse.download_auth]
    username = "me"
    password = { file = "cdse_password" }

The first station is the one that is searched unless a run names others. A station is a STAC API unless its `kind` or
its `preset` says otherwise. A secret is a reference to a variable of the
environment, or to a file in the folder of secrets (`AUXIP_SECRETS_DIR`); it never stands in the file itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from shared.http.auth import origin
from shared.secrets import HeaderSecret, Secret
from shared.settings import HttpUrl, Settings, SettingsError
from shared.stations.presets import PRESETS, with_preset
from shared.toml import TomlError, faults_of, read_toml


def _lower(value: str) -> str:
    return value.lower()


def _known_preset(value: str) -> str:
    if value not in PRESETS:
        raise ValueError(f"is no preset; there are {', '.join(sorted(PRESETS))}")
    return value


Text = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$"), AfterValidator(_lower)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$"), AfterValidator(_lower)]
Preset = Annotated[str, AfterValidator(_known_preset)]
StationName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NoAuth(_Table):
    """The station asks for no credentials."""

    kind: Literal["none"] = "none"


class ApiKeyAuth(_Table):
    """A key in the header `x-api-key`."""

    kind: Literal["api-key"]
    api_key: HeaderSecret


class CookieAuth(_Table):
    """A session cookie, as RS-Server takes it."""

    kind: Literal["cookie"]
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$")] = "session"
    cookie: HeaderSecret


class BasicAuth(_Table):
    """A name and a password (RFC 7617)."""

    kind: Literal["basic"]
    username: Annotated[Text, StringConstraints(pattern=r"^[^:]+$")]
    password: Secret


class _OAuth2(_Table):
    """How a token is asked for and sent.

    Attributes:
        client_auth: whether the client's id and secret stand in the form (`body`) or in `Authorization` (`basic`); RFC
            6749, section 2.3.1. With `basic` nothing of them is in the form: some servers refuse what is superfluous.
        token_header: that carries the token: in `Authorization` as `Bearer TOKEN`, in any other by itself.
        token_headers: further headers of the request for a token.
    """

    token_url: HttpUrl
    client_id: Text
    scope: Text | None = None
    client_auth: Literal["body", "basic"] = "body"
    token_header: HeaderName = "authorization"  # noqa: S105 - the name of a header
    token_headers: dict[HeaderName, HeaderSecret] = {}


class OAuth2Password(_OAuth2):
    """A token for a name and a password (RFC 6749, section 4.3)."""

    kind: Literal["oauth2-password"]
    client_secret: Secret | None = None
    username: Text
    password: Secret


class OAuth2ClientCredentials(_OAuth2):
    """A token for a client by itself (RFC 6749, section 4.4)."""

    kind: Literal["oauth2-client-credentials"]
    client_secret: Secret


OAuth2 = OAuth2Password | OAuth2ClientCredentials
Auth = Annotated[NoAuth | ApiKeyAuth | CookieAuth | BasicAuth | OAuth2, Field(discriminator="kind")]


@dataclass(frozen=True)
class Guarded:
    """A place that is sent credentials.

    Attributes:
        url: of it; whatever has its origin is sent them.
        auth: the credentials.
        trusted_domains: further hosts that may be sent them.
    """

    url: str
    auth: Auth
    trusted_domains: tuple[str, ...] = ()


class StationConfig(_Table):
    """What a station of any kind has. Times are in seconds.

    Attributes:
        preset: whose fields fill in those that the file does not name; see `presets.py`.
        url: of its service.
        auth: what the station and its trusted domains are sent, and nobody else is.
        trusted_domains: further hosts that may be sent the credentials.
        allowed_hosts: further hosts that assets may lead to; they are sent no credentials.
        allow_private: whether assets may lead to private, loopback or link-local addresses.
        page_size: items asked for in one page of a search.
        timeout: to wait for the station's next bytes.
        requests_per_minute: of all workers on all machines together; None for no limit.
        connections: at once, of all workers on all machines together; None for no limit.
        unreadable_checksums: of an asset whose checksum is malformed or of an unknown algorithm: `refuse` fails its
            item, `stage` stages it without that proof and says so in the report.
    """

    preset: Preset | None = None
    url: HttpUrl
    auth: Auth = NoAuth()
    trusted_domains: tuple[Host, ...] = ()
    allowed_hosts: tuple[Host, ...] = ()
    allow_private: bool = False
    page_size: int = Field(1000, ge=1, le=10_000)
    timeout: float = Field(30, gt=0, le=3600)
    requests_per_minute: int | None = Field(None, ge=1, le=60_000)
    connections: int | None = Field(None, ge=1, le=10_000)
    unreadable_checksums: Literal["refuse", "stage"] = "refuse"

    @property
    def guarded(self) -> tuple[Guarded, ...]:
        """The places that are sent credentials: the search and, where it is apart, the download."""
        return (Guarded(self.url, self.auth, self.trusted_domains),)

    @model_validator(mode="after")
    def _keeps_secrets_off_the_wire(self) -> Self:
        for place in self.guarded:
            token_url = getattr(place.auth, "token_url", "")
            if place.url.startswith("https:") and token_url.startswith("http:"):
                raise ValueError("has a token_url without https, though the station has it")
        return self


class StacConfig(StationConfig):
    """A station that is a STAC API; its `url` is without `/search`.

    Attributes:
        collections: that are searched; none means all.
    """

    kind: Literal["stac"] = "stac"
    collections: tuple[Text, ...] = ()


class ODataConfig(StationConfig):
    """A station that speaks OData, as ESA's AUXIP interface and the Copernicus Data Space do.

    Attributes:
        url: of its service; `/Products` is directly below it.
        dialect: `auxip` (ICD ESA-EOPG-EOPGC-IF-10) or `cdse`.
        download_url: of the service that gives the files, `/Products(ID)/$value` is below it; None is `url`.
        download_auth: the credentials there and at the trusted domains; None means those of the search.
        collections: of the Copernicus Data Space that are searched; none means all. AUXIP knows none.
        product_types: the station's name of a product type, by the name that filters and items have.
        by_name: whether products are asked for by their `Name`, because they lack the attributes of their type.
    """

    kind: Literal["odata"] = "odata"
    dialect: Literal["auxip", "cdse"] = "auxip"
    download_url: HttpUrl | None = None
    download_auth: Auth | None = None
    collections: tuple[Text, ...] = ()
    product_types: dict[Text, Text] = {}
    by_name: bool = False

    @property
    def guarded(self) -> tuple[Guarded, ...]:
        """The search with `auth`, and the download with `download_auth`, which the trusted domains get as well."""
        if self.download_url is None:
            return super().guarded
        if self.download_auth is None:
            return (*super().guarded, Guarded(self.download_url, self.auth))
        return (Guarded(self.url, self.auth), Guarded(self.download_url, self.download_auth, self.trusted_domains))

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        if self.download_auth is not None and origin(self.download_url or self.url) == origin(self.url):
            raise ValueError("has a download_auth, but no download_url on another host than its url")
        return self

    @model_validator(mode="after")
    def _has_collections_where_there_are_some(self) -> Self:
        if self.collections and self.dialect != "cdse":
            raise ValueError("has collections, which the dialect auxip does not know")
        return self


class S3ListConfig(StationConfig):
    """A station that is a public bucket of EOF files, by its URL over HTTPS; listed and read without credentials."""

    kind: Literal["s3-list"] = "s3-list"


class SarMpcConfig(StationConfig):
    """A station that is the service of the Sentinel-1 Mission Performance Cluster: REST, and no account.

    Attributes:
        page_size: products asked for in one page; its documentation shows 100.
    """

    kind: Literal["sar-mpc"] = "sar-mpc"
    page_size: int = Field(100, ge=1, le=1000)


AnyConfig = Annotated[StacConfig | ODataConfig | S3ListConfig | SarMpcConfig, Field(discriminator="kind")]


def _filled(table: object) -> object:
    """The table of a station with its preset, and with the kind that is meant where none is named."""
    filled = with_preset(table)
    return {"kind": "stac", **filled} if isinstance(filled, dict) else filled


class _Document(_Table):
    station: dict[StationName, AnyConfig] = Field(min_length=1)


def load_stations(settings: Settings) -> Mapping[str, StationConfig]:
    """Read the stations of the settings' file, by name, in its order: the first is the default.

    Raises:
        SettingsError: the file or a secret that it refers to is missing or wrong; one line names the file and, for
            each fault, its line, station and field.
    """
    file = settings.stations_file
    try:
        document = read_toml(file)
        stations = document.get("station")
        if isinstance(stations, dict):
            document["station"] = {name: _filled(table) for name, table in stations.items()}
        return _Document.model_validate(document).station
    except TomlError as error:
        raise SettingsError(f"AUXIP_STATIONS_FILE {file}: {error}") from None
    except ValidationError as error:
        raise SettingsError(f"AUXIP_STATIONS_FILE {file}: {faults_of(document, error)}") from None
