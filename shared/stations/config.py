"""The stations of a deployment, as a TOML file describes them.

The setting `AUXIP_STATIONS_FILE` names it:

    [station.adgs]
    url = "https://adgs.example/auxip"
    requests_per_minute = 600

    [station.adgs.auth]
    kind = "api-key"
    api_key = { env = "ADGS_KEY" }

The first station is the one that is searched unless a run names others. A secret is a reference to a variable of the
environment, or to a file in the folder of secrets (`AUXIP_SECRETS_DIR`); it never stands in the file itself.
"""

from collections.abc import Mapping
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

from shared.secrets import HeaderSecret, Secret
from shared.settings import HttpUrl, Settings, SettingsError
from shared.toml import TomlError, faults_of, read_toml


def _lower(value: str) -> str:
    return value.lower()


Text = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$"), AfterValidator(_lower)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$"), AfterValidator(_lower)]
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


class StationConfig(_Table):
    """What a station of any kind has. Times are in seconds.

    Attributes:
        url: of its service.
        auth: what the station and its trusted domains are sent, and nobody else is.
        trusted_domains: further hosts that may be sent the credentials.
        allowed_hosts: further hosts that assets may lead to; they are sent no credentials.
        allow_private: whether assets may lead to private, loopback or link-local addresses.
        page_size: items asked for in one page of a search.
        timeout: to wait for the station's next bytes.
        requests_per_minute: of all workers on all machines together; None for no limit.
        connections: at once, of all workers on all machines together; None for no limit.
    """

    url: HttpUrl
    auth: Auth = NoAuth()
    trusted_domains: tuple[Host, ...] = ()
    allowed_hosts: tuple[Host, ...] = ()
    allow_private: bool = False
    page_size: int = Field(1000, ge=1, le=10_000)
    timeout: float = Field(30, gt=0, le=3600)
    requests_per_minute: int | None = Field(None, ge=1, le=60_000)
    connections: int | None = Field(None, ge=1, le=10_000)

    @model_validator(mode="after")
    def _keeps_secrets_off_the_wire(self) -> Self:
        token_url = getattr(self.auth, "token_url", "")
        if self.url.startswith("https:") and token_url.startswith("http:"):
            raise ValueError("has a token_url without https, though the station has it")
        return self


class StacConfig(StationConfig):
    """A station that is a STAC API; its `url` is without `/search`.

    Attributes:
        collections: that are searched; none means all.
    """

    kind: Literal["stac"] = "stac"
    collections: tuple[Text, ...] = ()


class _Document(_Table):
    station: dict[StationName, StacConfig] = Field(min_length=1)


def load_stations(settings: Settings) -> Mapping[str, StationConfig]:
    """Read the stations of the settings' file, by name, in its order: the first is the default.

    Raises:
        SettingsError: the file or a secret that it refers to is missing or wrong; one line names the file and, for
            each fault, its line, station and field.
    """
    file = settings.stations_file
    try:
        document = read_toml(file)
        return _Document.model_validate(document).station
    except TomlError as error:
        raise SettingsError(f"AUXIP_STATIONS_FILE {file}: {error}") from None
    except ValidationError as error:
        raise SettingsError(f"AUXIP_STATIONS_FILE {file}: {faults_of(document, error)}") from None
