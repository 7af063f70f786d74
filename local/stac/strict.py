"""What pgSTAC does not take of an item that is valid STAC, so that this catalog takes it as little.

Measured with pgSTAC 0.10 behind stac-fastapi 7.2; tests/peers compares both.
"""

from datetime import datetime

from local.stac.query import BadQuery
from local.stac.store import Json

_RESERVED = frozenset(":/?#[]@!$&'()*+,;=")
_DEEPEST = 255  # as pydantic writes JSON


class Broken(Exception):
    """pgSTAC answers 500, and ends the connection."""


def require_taken(item: Json) -> None:
    """Make sure that pgSTAC would take an item that has been validated as STAC.

    Raises:
        BadQuery: it answers 400.
        Broken: it answers 500.
    """
    item_id, properties = str(item.get("id")), item.get("properties")
    if item.get("geometry") is None:
        raise BadQuery(f"Missing or null `geometry` for Item ({item_id}). Geometry is required in pgstac.")
    if _RESERVED.intersection(item_id):
        raise BadQuery(f"ID ({item_id}) cannot contain the following characters: {' '.join(sorted(_RESERVED))}")
    if isinstance(properties, dict) and _ends_before_it_begins(properties):
        raise Broken("start_datetime must be < end_datetime")
    _require_stored(item, 0)


def _ends_before_it_begins(properties: dict[str, object]) -> bool:
    start, end = properties.get("start_datetime"), properties.get("end_datetime")
    if not isinstance(start, str) or not isinstance(end, str):
        return False
    return datetime.fromisoformat(end) < datetime.fromisoformat(start)


def _require_stored(value: object, depth: int) -> None:
    if depth > _DEEPEST:
        raise Broken("Maximum serialization depth exceeded")
    if isinstance(value, str) and "\0" in value:
        raise Broken("unsupported Unicode escape sequence")
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    for each in inner:
        _require_stored(each, depth + 1)
