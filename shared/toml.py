"""TOML files of the configuration: read up to a limit, with the line at which a wrong value stands."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

_LARGEST = 2**20
_TABLE = re.compile(r"\s*\[([^\[\]]+)\]\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([\w\"'.-]+)\s*=")


def read_toml(path: Path) -> tuple[str, dict[str, object]]:
    """Return the text of a TOML file and what it says.

    Raises:
        ValueError: it cannot be read, or is no TOML; a fault of the syntax is told with its line.
    """
    try:
        with path.open("rb") as opened:
            text = opened.read(_LARGEST + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read: {getattr(error, 'strerror', None) or 'it is no UTF-8'}") from None
    if len(text) > _LARGEST:
        raise ValueError(f"has more than {_LARGEST} bytes")
    return text, tomllib.loads(text)


def line_of(text: str, path: Sequence[str]) -> int | None:
    """Return the number of the line that sets what `path` leads to or, where no line does, the nearest table around it.

    `tomllib` gives no places, so the lines are looked at by themselves: a hint for people, good for files written line
    by line.
    """
    table: tuple[str, ...] = ()
    nearest: tuple[int, int | None] = (0, None)
    for number, line in enumerate(text.splitlines(), 1):
        if header := _TABLE.match(line):
            here = table = _parts(header[1])
        elif key := _KEY.match(line):
            here = (*table, *_parts(key[1]))
        else:
            continue
        common = min(len(here), len(path))
        if here[:common] == tuple(path[:common]) and common > nearest[0]:
            nearest = common, number
    return nearest[1]


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
