"""The TOML file of the sweeps (`AUXIP_SWEEPS_FILE`; the README has one), and the line of what is wrong in it."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from shared.errors import Rejected
from shared.settings import Settings, SettingsError
from workers.sweeps.sweep import Sweep

_LARGEST = 2**20
_MOST = 1000
_SYNTAX = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class _Wrong(ValueError):
    """What is wrong, and in which line (0: in none)."""

    def __init__(self, what: str, line: int = 0) -> None:
        super().__init__(what)
        self.what = what
        self.line = line


def load_sweeps(settings: Settings) -> dict[str, Sweep]:
    """Read the sweeps of the settings' file, by name; none where no file is set.

    Raises:
        SettingsError: the file is missing or wrong; the reason names the file, the line, the sweep and the field.
    """
    file = settings.sweeps_file
    if file is None:
        return {}
    try:
        return _sweeps(_text(file))
    except _Wrong as wrong:
        line = f" line {wrong.line}" if wrong.line else ""
        what = wrong.what if wrong.what.isprintable() else repr(wrong.what)[1:-1]  # a name may hold anything
        raise SettingsError(f"AUXIP_SWEEPS_FILE {file}{line}: {what}") from None


def find_sweep(settings: Settings, name: str) -> Sweep:
    """Return the sweep of this name.

    Raises:
        Rejected: `unknown-sweep`.
    """
    sweeps = load_sweeps(settings)
    if name not in sweeps:
        raise Rejected(
            "unknown-sweep", f"no sweep {name!r} in AUXIP_SWEEPS_FILE; it has: {', '.join(sweeps) or 'none'}"
        )
    return sweeps[name]


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise _Wrong(f"is larger than {_LARGEST} bytes")
        return content.decode().replace("\r\n", "\n")
    except OSError as error:
        raise _Wrong(str(error)) from None
    except UnicodeDecodeError as error:
        raise _Wrong("is no UTF-8", content.count(b"\n", 0, error.start) + 1) from None


def _sweeps(text: str) -> dict[str, Sweep]:
    document = _parsed(text)
    for name in document:
        if name != "sweep":
            raise _Wrong(f"{name}: a sweep stands in a table [sweep.NAME]", _line_of(text, [name]))
    tables = document.get("sweep", {})
    if not isinstance(tables, dict):
        raise _Wrong("sweep: a sweep stands in a table [sweep.NAME]", _line_of(text, ["sweep"]))
    if len(tables) > _MOST:
        raise _Wrong(f"has more than {_MOST} sweeps")
    return {name: _sweep(text, name, fields) for name, fields in tables.items()}


def _parsed(text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        where = _SYNTAX.search(said)
        line = int((where and where[1]) or text.count("\n") + 1)
        raise _Wrong(_SYNTAX.sub("", said), line) from None
    except RecursionError:
        raise _Wrong("is nested too deeply") from None


def _sweep(text: str, name: str, fields: object) -> Sweep:
    if not isinstance(fields, dict) or "name" in fields:
        at = ["sweep", name, "name"]
        raise _Wrong(f"sweep.{name}: a sweep stands in a table [sweep.NAME], which names it", _line_of(text, at))
    try:
        return Sweep.model_validate({**fields, "name": name})
    except ValidationError as error:
        # A field that is missing is often there with its name misspelt: that one is told.
        first = min(error.errors(), key=lambda detail: detail["type"] == "missing")
        path = ["sweep", name, *(str(part) for part in first["loc"] if part != "name")]
        said = "is no field of a sweep" if first["type"] == "extra_forbidden" else first["msg"]
        what = f"{'.'.join(path)}: {said.removeprefix('Value error, ')}"
        raise _Wrong(what, _line_of(text, path)) from None


def _line_of(text: str, path: Sequence[str]) -> int:
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
