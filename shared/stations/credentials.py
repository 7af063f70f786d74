"""The credentials of a station, as its configuration says."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeAlias

import httpx

from shared.http.auth import API_KEY_HEADER, Audience, Credentials, FixedCredentials, Keyring, basic, cookie
from shared.stations.config import (
    ApiKeyAuth,
    Auth,
    BasicAuth,
    CookieAuth,
    NoAuth,
    OAuth2,
    OAuth2ClientCredentials,
    OAuth2Password,
    StationConfig,
)
from shared.stations.oauth import OAuth2Credentials
from shared.stations.tokens import SharedToken

TokenOf: TypeAlias = Callable[[OAuth2], SharedToken]
"""Returns the token for some credentials that all processes share."""


class StationCredentials:
    """What a station is sent: one keyring for its search and its downloads.

    Attributes:
        keyring: the credentials by the URL that is asked; credentials that both have are one, with one token.
    """

    def __init__(self, config: StationConfig, token_of: TokenOf | None = None) -> None:
        """Prepare; no token is asked for yet.

        Args:
            config: of the station.
            token_of: the token that all processes share; None where this process has its own.
        """
        self._opened = ExitStack()
        made: list[tuple[Auth, Credentials | None]] = []
        audiences = []
        for place in config.guarded:
            known = [credentials for auth, credentials in made if auth == place.auth]
            credentials = known[0] if known else self._made(place.auth, config.timeout, token_of)
            made.append((place.auth, credentials))
            if credentials is not None:
                audiences.append(Audience(credentials, place.url, place.trusted_domains))
        self.keyring = Keyring(audiences)

    def close(self) -> None:
        """Close the connections to the token endpoints."""
        self._opened.close()

    def _made(self, auth: Auth, timeout: float, token_of: TokenOf | None) -> Credentials | None:
        match auth:
            case NoAuth():
                return None
            case ApiKeyAuth():
                return FixedCredentials(API_KEY_HEADER, auth.api_key)
            case CookieAuth():
                return cookie(auth.name, auth.cookie)
            case BasicAuth():
                return basic(auth.username, auth.password)
            case OAuth2Password() | OAuth2ClientCredentials():
                shared = None if token_of is None else token_of(auth)
                made = OAuth2Credentials(auth, httpx.Client(timeout=timeout), shared)
                self._opened.callback(made.close)
                return made
