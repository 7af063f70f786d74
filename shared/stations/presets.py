"""What is public of well-known stations, so that the stations' file needs to name the credentials only.

A preset is a table of the stations' file that the file's own table goes over. It says the kind, so `kind` need not be
written beside `preset`.
"""

from collections.abc import Mapping
from typing import Final

from shared.json_types import Json

_CONNECTIONS: Final = 4
"""Downloads at once that the Copernicus Data Space allows one user; the operator's stations are asked for no more."""

PRESETS: Final[Mapping[str, Json]] = {
    # The operational auxiliary data station; it deletes products 35 days after their publication.
    "adgs": {
        "kind": "odata",
        "dialect": "auxip",
        "url": "https://adgs.copernicus.eu/odata/v1",
        "connections": _CONNECTIONS,
        "auth": {
            "kind": "oauth2-password",
            "token_url": "https://adgs.copernicus.eu/getAuthToken",
            "client_id": "adgs-client",
        },
    },
    # The station of the reprocessing campaigns, with the full history; its `Products` are directly below the root.
    "rrpp": {
        "kind": "odata",
        "dialect": "auxip",
        "url": "https://auxiliary.copernicus.eu/auxip.svc",
        "connections": _CONNECTIONS,
        "auth": {
            "kind": "oauth2-password",
            "token_url": "https://auxiliary.copernicus.eu/auth/realms/reprocessing-preparation/protocol/openid-connect/token",
            "client_id": "reprocessing-preparation",
            "scope": "openid",
        },
    },
    # The Copernicus Data Space Ecosystem: anybody may search, a download needs an account.
    "cdse": {
        "kind": "odata",
        "dialect": "cdse",
        "url": "https://catalogue.dataspace.copernicus.eu/odata/v1",
        "download_url": "https://download.dataspace.copernicus.eu/odata/v1",
        "trusted_domains": ["download.dataspace.copernicus.eu"],
        "collections": ["SENTINEL-1"],
        "connections": _CONNECTIONS,
        "product_types": {
            "OPER_AUX_POEORB_OPOD": "AUX_POEORB",
            "OPER_AUX_RESORB_OPOD": "AUX_RESORB",
            "OPER_AUX_PREORB_OPOD": "AUX_PREORB",
        },
        "download_auth": {
            "kind": "oauth2-password",
            "token_url": "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token",
            "client_id": "cdse-public",
        },
    },
    # The orbits of Sentinel-1 in a public bucket, kept by the Alaska Satellite Facility; no account.
    "s1-orbits": {"kind": "s3-list", "url": "https://s1-orbits.s3.us-west-2.amazonaws.com"},
    # Instrument and processor files of Sentinel-1 (AUX_CAL, AUX_INS, AUX_PP1 and others); no account.
    "sar-mpc": {"kind": "sar-mpc", "url": "https://sar-mpc.eu/api/v1"},
}
"""Every preset, by its name: the fields that it gives."""


def with_preset(table: object) -> object:
    """Return the table of a station with the fields of its preset where it has none of its own.

    A table of credentials is filled field by field, as long as it is of the preset's kind. What is no table, or names
    no preset that there is, comes back as it is: whoever reads it says what is wrong.
    """
    preset = PRESETS.get(str(table.get("preset"))) if isinstance(table, dict) else None
    if preset is None or not isinstance(table, dict):
        return table
    return {**preset, **{name: _over(preset.get(name), value) for name, value in table.items()}}


def _over(given: object, own: object) -> object:
    if not isinstance(given, dict) or not isinstance(own, dict) or "kind" not in given:
        return own
    return {**given, **own} if own.get("kind", given["kind"]) == given["kind"] else own
