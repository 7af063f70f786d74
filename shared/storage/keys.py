"""Where things are in S3: `<prefix><owner>/<collection>/<item id>/<asset key>`, and a run's artifacts."""

import unicodedata
from dataclasses import dataclass

from shared.errors import ItemFailed
from shared.storage.location import Location

_LONGEST_SEGMENT = 255  # SeaweedFS and other stores on a file system take no longer segment of a key


@dataclass(frozen=True)
class Place:
    """Where an owner's data are: a bucket, and the prefix of every key in it, empty or ending in a slash."""

    bucket: str
    prefix: str


def asset_location(place: Place, owner: str, collection: str, item_id: str, asset_key: str) -> Location:
    """Return where an asset is staged: the same for every run, and for no other asset, since names stay as they are.

    Raises:
        ItemFailed: `unsafe-asset-name` or `unsafe-item-id`, the name could lead out of the item's folder or cannot be
            a segment of a key.
    """
    item_segment = safe_segment(item_id, "unsafe-item-id")
    asset_segment = safe_segment(asset_key, "unsafe-asset-name")
    return Location(place.bucket, f"{place.prefix}{owner}/{collection}/{item_segment}/{asset_segment}")


def run_location(place: Place, run_id: str, name: str) -> Location:
    """Return where an artifact of a run is."""
    return Location(place.bucket, f"{place.prefix}runs/{safe_segment(run_id, 'unsafe-run-id')}/{name}")


def audit_location(place: Place, audit_id: str) -> Location:
    """Return where the report of an audit is."""
    return Location(place.bucket, f"{place.prefix}audits/{safe_segment(audit_id, 'unsafe-run-id')}/report.json")


def safe_segment(name: str, code: str) -> str:
    """Return a name that can be one segment of a key or a path, and leads nowhere else.

    Raises:
        ItemFailed: of the code, it cannot.
    """
    if name in ("", ".", "..") or "/" in name or "\\" in name or ".." in name:
        raise ItemFailed(code, f"{name[:200]!r} could lead out of its folder; ask the station to correct the name")
    if any(unicodedata.category(letter).startswith("C") for letter in name):
        raise ItemFailed(code, f"{name[:200]!r} has control characters; ask the station to correct the name")
    if len(name.encode()) > _LONGEST_SEGMENT:
        raise ItemFailed(code, f"{name[:200]!r} is longer than {_LONGEST_SEGMENT} bytes")
    return name
