"""Where and when an item is: what `bbox`, `intersects` and `datetime` of a search ask for."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import cql2
from stac_fastapi.types.rfc3339 import str_to_interval

from local.stac.query import BadQuery
from local.stac.store import Json

Matches = Callable[[Json], bool]

_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)


def in_time(interval: str | None) -> Matches:
    """Return what says whether an item is valid at some time of an interval, both inclusive.

    Args:
        interval: an instant, or two with a slash between, one of which may be `..`; None is any time.
    """
    asked = str_to_interval(interval)
    if asked is None:
        return lambda _: True
    start, end = asked if isinstance(asked, tuple) else (asked, asked)

    def matches(item: Json) -> bool:
        first, last = _validity(item)
        return first <= (end or _LATEST) and last >= (start or _EARLIEST)

    return matches


def in_place(bbox: Sequence[float] | None, geometry: Json | None) -> Matches:
    """Return what says whether an item has a point in common with a bounding box or a geometry; None is any place.

    Raises:
        BadQuery: both are given, or one is malformed.
    """
    if bbox is not None and geometry is not None:
        raise BadQuery("bbox and intersects exclude each other")
    if bbox is not None:
        geometry = _polygons(bbox)
    if geometry is None:
        return lambda _: True
    try:
        asked = cql2.Expr({"op": "s_intersects", "args": [{"property": "geometry"}, geometry]})
        asked.matches({"id": "any", "geometry": _polygons((0, 0, 1, 1))})
    except Exception as error:  # cql2 has no narrower one
        raise BadQuery(f"there is no such geometry: {error}") from error

    def matches(item: Json) -> bool:
        return item.get("geometry") is not None and asked.matches({"id": "any", "geometry": item["geometry"]})

    return matches


def parse_geometry(text: str | None) -> Json | None:
    """Read a geometry from a URL.

    Raises:
        BadQuery: it is no JSON object.
    """
    try:
        geometry = None if text is None else json.loads(text)
    except ValueError as error:
        raise BadQuery(f"intersects is no JSON: {error}") from error
    if geometry is not None and not isinstance(geometry, dict):
        raise BadQuery("intersects is no geometry")
    return geometry


def _validity(item: Json) -> tuple[datetime, datetime]:
    """Return the first and the last instant of an item, as pgSTAC takes them."""
    properties = item.get("properties")
    assert isinstance(properties, dict)  # noqa: S101 - nothing else can be written
    instant = properties.get("datetime")
    first, last = properties.get("start_datetime") or instant, properties.get("end_datetime") or instant
    return _instant(first), _instant(last)


def _instant(text: object) -> datetime:
    instant = datetime.fromisoformat(str(text))
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant


def _polygons(bbox: Sequence[float]) -> Json:
    """Return a bounding box as polygons: two of them where it crosses the antimeridian (RFC 7946, section 5.2)."""
    half = len(bbox) // 2
    west, south, east, north = bbox[0], bbox[1], bbox[half], bbox[half + 1]
    if south > north:
        raise BadQuery("the bbox has its south above its north")
    parts = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    rings = [[[[w, south], [e, south], [e, north], [w, north], [w, south]]] for w, e in parts]
    return {"type": "MultiPolygon", "coordinates": rings}
