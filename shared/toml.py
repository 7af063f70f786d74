"""TOML files of the configuration: read up to a limit, and what is wrong in them told with its line."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

_LARGEST = 2**20
_SYNTAX = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class TomlError(ValueError):
    """What is wrong with a file, and in which line (0: in none)."""

    def __init__(self, what: str, line: int = 0) -> None:
        super().__init__(what)
        self.what = what if what.isprintable() else repr(what)[1:-1]  # a name in a file may hold anything
        self.line = line

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}" if self.line else self.what


def read_toml(path: Path) -> tuple[str, dict[str, object]]:
    """Return the text of a TOML file and what it says.

    Raises:
        TomlError: it cannot be read, or is no TOML.
    """
    text = _text(path)
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        where = _SYNTAX.search(said)
        raise TomlError(_SYNTAX.sub("", said), int((where and where[1]) or text.count("\n") + 1)) from None
    except RecursionError:
        raise TomlError("is nested too deeply") from None


def faults_of(text: str, document: object, error: ValidationError) -> str:
    """Return everything that pydantic found wrong in a document, in one line."""
    faults = (_fault(text, _path(document, each["loc"]), each["type"], each["msg"]) for each in error.errors())
    return "; ".join(map(str, faults))


def line_of(text: str, path: Sequence[str]) -> int:
    """Return the line at which what stands at `path`, or the nearest table around it, begins.

    TOML that is cut after any statement is TOML, and tomllib tells no positions: so the longest piece without the
    path is looked for, by halving; the statement that brings the path begins after it.
    """
    lines = text.split("\n")
    known = _depth(text, path) or 0
    lacking, having = 0, len(lines)
    while True:
        middle = (lacking + having) // 2
        for cut in (*range(middle, lacking, -1), *range(middle + 1, having)):
            depth = _depth("\n".join(lines[:cut]), path)
            if depth is not None:
                break
        else:
            return lacking + 1
        lacking, having = (lacking, cut) if depth >= known else (cut, having)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as opened:
            content = opened.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise TomlError(f"is larger than {_LARGEST} bytes")
        return content.decode().replace("\r\n", "\n")
    except OSError as error:
        raise TomlError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TomlError("is no UTF-8", content.count(b"\n", 0, error.start) + 1) from None


def _fault(text: str, path: list[str], kind: str, message: str) -> TomlError:
    said = {"extra_forbidden": "is no field", "missing": "is missing"}.get(kind, message.removeprefix("Value error, "))
    return TomlError(f"{'.'.join(path)} {said}", line_of(text, path))


def _path(document: object, location: Sequence[int | str]) -> list[str]:
    """The keys of a location; pydantic puts names of its own between them, such as the member of a union."""
    path: list[str] = []
    here = document
    for number, part in enumerate(location, 1):
        known = isinstance(here, dict) and part in here
        if part != "[key]" and (known or number == len(location)):
            path.append(str(part))
            here = here[part] if isinstance(here, dict) and known else None
    return path


def _depth(text: str, path: Sequence[str]) -> int | None:
    """How many steps of the path there are, or None where the text is cut within a statement."""
    try:
        here: object = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    for depth, step in enumerate(path):
        if not isinstance(here, dict) or step not in here:
            return depth
        here = here[step]
    return len(path)
