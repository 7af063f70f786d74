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

import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from shared.settings import SECRETS_DIR, HttpUrl, Settings, SettingsError, secrets_folder
from shared.toml import line_of, read_toml

_LARGEST_SECRET = 65_536
_REFERENCE = 'is no reference such as { env = "NAME" } or { file = "name" }; a secret does not stand in this file'


def _resolved(value: object, info: ValidationInfo) -> object:
    """The text of a secret, from where its reference leads to."""
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(_REFERENCE)
    ((kind, name),) = value.items()
    if not isinstance(name, str) or kind not in ("env", "file"):
        raise ValueError(_REFERENCE)
    secret = os.environ.get(name, "") if kind == "env" else _read_secret(name, (info.context or {}).get("folder"))
    if not secret:
        raise ValueError(f"is empty or missing: {'the variable' if kind == 'env' else 'the file'} {name}")
    return secret


def _read_secret(name: str, folder: Path | None) -> str:
    if re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name) is None:
        raise ValueError(f"{name[:100]!r} is no name of a file in {SECRETS_DIR}")
    if folder is None:
        raise ValueError(f"there is no folder of secrets ({SECRETS_DIR}) for the file {name}")
    try:
        with (folder / name).open("rb") as opened:
            return opened.read(_LARGEST_SECRET).decode("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        return ""


def _for_a_header(value: SecretStr) -> SecretStr:
    # The HTTP library would refuse it only when it is sent, with a message that repeats it.
    if re.fullmatch(r"[\x20-\x7e]+", value.get_secret_value()) is None:
        raise ValueError("holds a character that a header cannot carry")
    return value


def _lower(value: str) -> str:
    return value.lower()


Secret = Annotated[SecretStr, BeforeValidator(_resolved)]
HeaderSecret = Annotated[Secret, AfterValidator(_for_a_header)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$"), AfterValidator(_lower)]
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


class OAuth2Password(_Table):
    """A token for a name and a password (RFC 6749, section 4.3)."""

    kind: Literal["oauth2-password"]
    token_url: HttpUrl
    client_id: Text
    client_secret: Secret | None = None
    username: Text
    password: Secret
    scope: Text | None = None


class OAuth2ClientCredentials(_Table):
    """A token for a client by itself (RFC 6749, section 4.4)."""

    kind: Literal["oauth2-client-credentials"]
    token_url: HttpUrl
    client_id: Text
    client_secret: Secret
    scope: Text | None = None


OAuth2 = OAuth2Password | OAuth2ClientCredentials
Auth = Annotated[NoAuth | ApiKeyAuth | CookieAuth | BasicAuth | OAuth2, Field(discriminator="kind")]


class StationConfig(_Table):
    """One station. Times are in seconds.

    Attributes:
        url: STAC API, without `/search`.
        auth: what the station and its trusted domains are sent, and nobody else is.
        collections: that are searched; none means all.
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
    collections: tuple[Text, ...] = ()
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


class _Document(_Table):
    station: dict[StationName, StationConfig] = Field(min_length=1)


def load_stations(settings: Settings) -> dict[str, StationConfig]:
    """Read the stations of the settings' file, by name, in its order: the first is the default.

    Raises:
        SettingsError: the file or a secret that it refers to is missing or wrong; one line names the file and, for
            each fault, its line, station and field.
    """
    file = settings.stations_file
    try:
        text, document = read_toml(file)
    except ValueError as error:
        raise SettingsError(f"AUXIP_STATIONS_FILE {file}: {error}") from None
    try:
        return _Document.model_validate(document, context={"folder": secrets_folder()}).station
    except ValidationError as error:
        faults = [_fault(text, detail["loc"], detail["type"], detail["msg"]) for detail in error.errors()]
        raise SettingsError(f"AUXIP_STATIONS_FILE {file}: {'; '.join(faults)}") from None


def _fault(text: str, location: tuple[int | str, ...], kind: str, message: str) -> str:
    parts = [str(part) for part in location if part != "[key]"]
    if parts[2:3] == ["auth"]:
        del parts[3:4]  # the kind, which pydantic puts between the table and its field
    line = line_of(text, parts)
    said = {"extra_forbidden": "is no field", "missing": "is missing"}.get(kind, message.removeprefix("Value error, "))
    return f"{f'line {line}: ' if line else ''}{'.'.join(parts)} {said}"
