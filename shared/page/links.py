"""What a page may link to: URLs of the web only, whatever a station or a catalog has written."""

from typing import NamedTuple
from urllib.parse import urlsplit

from shared.json_types import Json

MOST_FILES = 3
"""Assets of an item that the page lists. The catalog's item has all of them."""

_LONGEST = 1000


class Link(NamedTuple):
    """A text, and where it leads; `url` is empty where it leads to nothing that a browser can open."""

    text: str
    url: str


def web_url(text: object) -> str:
    """Return a URL if it is one of http or https, else an empty text: `javascript:` and others lead nowhere."""
    try:
        parts = urlsplit(text) if isinstance(text, str) and len(text) <= _LONGEST else None
    except ValueError:
        return ""
    return str(text) if parts is not None and parts.scheme in ("http", "https") and parts.hostname else ""


def files_of(feature: Json) -> tuple[list[Link], int]:
    """Return the first assets of an item of the catalog, by the URL for people where it has one, and how many it has.

    Args:
        feature: the item as the catalog shows it.
    """
    assets = feature.get("assets")
    listed = list(assets.values()) if isinstance(assets, dict) else []
    return [_file(asset) for asset in listed[:MOST_FILES] if isinstance(asset, dict)], len(listed)


def _file(asset: Json) -> Link:
    href = str(asset.get("href", ""))[:_LONGEST]
    others = asset.get("alternate")
    public = others.get("https") if isinstance(others, dict) else None
    return Link(href, web_url(public.get("href") if isinstance(public, dict) else None) or web_url(href))
