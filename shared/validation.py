"""What pydantic found wrong, for people: `path: message`."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, Final

from pydantic import ValidationError

_MOST: Final = 20


def first_problem(error: ValidationError, where: str = "", whole: str = "") -> str:
    """Return the first problem as `path: message`, without the input, which may be a secret.

    Args:
        error: of pydantic.
        where: a path that comes before the problem's.
        whole: what the path is called where it is empty.
    """
    first = error.errors(include_input=False, include_url=False)[0]
    path = ".".join(str(part) for part in (where, *first["loc"]) if part != "") or whole
    message = first["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if path else message


def all_problems(error: ValidationError, fields: Collection[str], nested: Collection[str], whole: str = "") -> str:
    """Return every problem as `path: message`, without the input, which may be a secret.

    An unknown field is named together with the known one whose name is the nearest.

    Args:
        error: of pydantic.
        fields: names of the fields that are known.
        nested: names of the fields that are known within these.
        whole: what the path is called where it is empty.
    """
    found = [_sentence(each, fields, nested, whole) for each in error.errors(include_input=False, include_url=False)]
    more = len(found) - _MOST
    return "; ".join([*found[:_MOST], *([f"and {more} more"] if more > 0 else [])])


def nearest(name: str, known: Collection[str]) -> str:
    """Return the known name that is nearest to a name, as the end of a sentence; empty where none is near."""
    found = get_close_matches(name, known, n=1)
    return f", the nearest is {found[0]}" if found else ""


def _sentence(problem: Mapping[str, Any], fields: Collection[str], nested: Collection[str], whole: str) -> str:
    place = problem["loc"]
    path = ".".join(map(str, place)) or whole
    if problem["type"] == "extra_forbidden":
        known = fields if len(place) == 1 else nested
        return f"{path}: there is no such field{nearest(str(place[-1]), known)}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{path}: {message}" if path else message


def whole(value: object) -> object:
    """Return a number that is whole as an integer, as JSON Schema has it: 5.0 is one, and `"5"` is not."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
