"""What catalogs check of an item, checked before any byte of it is moved.

Each rule is one that pgSTAC 0.10 behind stac-fastapi refuses an item for, or answers with 500: see tests/peers.
"""

import json
import re
import sys
from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import AfterValidator, AnyUrl, BaseModel, Field, JsonValue, TypeAdapter, ValidationError

from shared.errors import ItemFailed
from shared.texts import printable
from shared.validation import first_problem

_Json = dict[str, JsonValue]

_DEEPEST: Final = 200
"""Lists and objects within each other: stac-fastapi, which uses pydantic, cannot write an item with 255."""

_LABEL: Final = r"(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)"
_NUMBER: Final = r"(0|[1-9]\d*)"
_VERSION: Final = rf"^{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_LABEL}(\.{_LABEL})*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$"
_LARGEST: Final = sys.float_info.max
"""pgSTAC stores a larger number, and answers 500 whenever the item is to be shown, also among others."""

_HALF_CHARACTER: Final = re.compile("[\ud800-\udfff]")
_LARGE_NUMBER: Final = re.compile("[0-9]{309}")
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False)

_Position = tuple[float, float] | tuple[float, float, float]
_Bbox = tuple[float, float, float, float] | tuple[float, float, float, float, float, float]


def _closed(ring: list[_Position]) -> list[_Position]:
    if ring[0] != ring[-1]:
        raise ValueError("a ring must end where it begins")
    return ring


_Line = Annotated[list[_Position], Field(min_length=2)]
_Polygon = list[Annotated[list[_Position], Field(min_length=4), AfterValidator(_closed)]]
_COORDINATES: Final[dict[str, TypeAdapter[object]]] = {
    "Point": TypeAdapter(_Position),
    "MultiPoint": TypeAdapter(list[_Position]),
    "LineString": TypeAdapter(_Line),
    "MultiLineString": TypeAdapter(list[_Line]),
    "Polygon": TypeAdapter(_Polygon),
    "MultiPolygon": TypeAdapter(list[_Polygon]),
}


class _Provider(BaseModel):
    name: str = Field(min_length=1)
    description: str | None = None
    roles: list[str] | None = None
    url: str | None = None


class _Properties(BaseModel):
    title: str | None = None
    description: str | None = None
    license: str | None = None
    providers: list[_Provider] | None = None
    platform: str | None = None
    instruments: list[str] | None = None
    constellation: str | None = None
    mission: str | None = None
    gsd: float | None = Field(None, gt=0)


class _Asset(BaseModel):
    type: str | None = None
    title: str | None = None
    description: str | None = None
    roles: list[str] | None = None


class _Checked(BaseModel):
    stac_version: str = Field("1.1.0", pattern=_VERSION)
    stac_extensions: list[AnyUrl] | None = None
    geometry: _Json | None = None
    bbox: _Bbox | None = None
    properties: _Properties
    assets: dict[str, _Asset]


def bad_item(problem: str) -> ItemFailed:
    """Return the error of an item that its station describes wrongly; the problem begins with the field's path."""
    return ItemFailed(
        "bad-item", f"the station's item is malformed: {problem}; ask the station's operator to correct it"
    )


def require_fields(feature: object) -> None:
    """Make sure that the fields of an item have the form that catalogs check, apart from its dates and times.

    Raises:
        ItemFailed: `bad-item`; the reason names the field.
    """
    try:
        checked = _Checked.model_validate(feature)
    except ValidationError as error:
        raise bad_item(first_problem(error)) from None
    if checked.geometry is not None:
        if checked.bbox is None:
            raise bad_item("bbox: it has a geometry, so it must have a bbox")
        _require_geometry(checked.geometry, "geometry")


def require_storable(feature: object) -> None:
    """Make sure that what an item holds can be sent as JSON, and stored by PostgreSQL and read again.

    Raises:
        ItemFailed: `bad-item`; the reason names the field.
    """
    if _is_ordinary(feature):  # nearly every item is, and it takes a tenth of the time of a walk
        return
    for path, value in _values(feature):
        if problem := _problem(path, value):
            raise bad_item(f"{_shown(path)}{problem}")


def _is_ordinary(feature: object) -> bool:
    try:
        text = _ENCODER.encode(feature)
        text.encode()
    except (ValueError, RecursionError):  # Python alone reads NaN, and half a character
        return False
    deep = text.count("[") + text.count("{") > _DEEPEST
    return not deep and "\\u0000" not in text and not _LARGE_NUMBER.search(text)


def _values(value: object) -> Iterator[tuple[tuple[str, ...], object]]:
    """Yield everything within a JSON value with its path, without recursion."""
    waiting: list[tuple[tuple[str, ...], object]] = [((), value)]
    while waiting:
        path, value = waiting.pop()
        yield path, value
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        waiting.extend(((*path, str(key)), each) for key, each in inner)


def _problem(path: tuple[str, ...], value: object) -> str:
    if len(path) > _DEEPEST:
        return f"it is more than {_DEEPEST} lists and objects deep"
    if isinstance(value, int | float) and not -_LARGEST <= value <= _LARGEST:
        return "the number is not finite, or larger than catalogs can show"
    texts = f"{path[-1] if path else ''}{value if isinstance(value, str) else ''}"
    if "\0" in texts:
        return "it has the character NUL, which no catalog can store"
    if _HALF_CHARACTER.search(texts):
        return "its text cannot be encoded as UTF-8"
    return ""


def _shown(path: tuple[str, ...]) -> str:
    where = printable(".".join(path[:10]).encode("utf-8", "replace").decode())[:200]
    return f"{where}: " if where else ""


def _require_geometry(geometry: _Json, where: str) -> bool:
    """Check a geometry, and return whether it has heights."""
    kind, members = str(geometry.get("type")), geometry.get("geometries")
    if kind == "GeometryCollection" and isinstance(members, list):
        heights = [
            _require_geometry(member if isinstance(member, dict) else {}, f"{where}.geometries.{number}")
            for number, member in enumerate(members)
        ]
        if len(set(heights)) > 1:
            raise bad_item(f"{where}.geometries: some of them have heights, and others have none")
        return any(heights)
    if kind not in _COORDINATES:
        raise bad_item(f"{where}.type: it is not a geometry of GeoJSON")
    try:
        return _has_height(_COORDINATES[kind].validate_python(geometry.get("coordinates")))
    except ValidationError as error:
        raise bad_item(first_problem(error, f"{where}.coordinates")) from None


def _has_height(coordinates: object) -> bool:
    if isinstance(coordinates, list):
        return any(_has_height(each) for each in coordinates)
    return isinstance(coordinates, tuple) and len(coordinates) == 3
