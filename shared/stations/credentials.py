"""The credentials of a station, as its configuration says."""

import httpx

from shared.http.auth import API_KEY_HEADER, Credentials, FixedCredentials, basic, cookie
from shared.stations.config import ApiKeyAuth, BasicAuth, CookieAuth, NoAuth, StationConfig
from shared.stations.oauth import OAuth2Credentials
from shared.stations.tokens import SharedToken


def credentials_of(config: StationConfig, token: SharedToken | None = None) -> Credentials | None:
    """Return what a station is sent, or None where it asks for nothing; `token` is shared with other processes."""
    match config.auth:
        case NoAuth():
            return None
        case ApiKeyAuth() as auth:
            return FixedCredentials(API_KEY_HEADER, auth.api_key)
        case CookieAuth() as auth:
            return cookie(auth.name, auth.cookie)
        case BasicAuth() as auth:
            return basic(auth.username, auth.password)
        case auth:
            return OAuth2Credentials(auth, httpx.Client(timeout=config.timeout), token)
