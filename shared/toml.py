"""TOML files of the configuration: read up to a limit, with everything that is wrong in them in one line."""

import tomllib
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

_LARGEST = 2**20


class TomlError(ValueError):
    """What is wrong with a file."""

    def __init__(self, what: str) -> None:
        super().__init__(what if what.isprintable() else repr(what)[1:-1])  # a name in a file may hold anything


def read_toml(path: Path) -> dict[str, object]:
    """Return what a TOML file says.

    Raises:
        TomlError: it cannot be read, or is not TOML.
    """
    try:
        with path.open("rb") as opened:
            content = opened.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise TomlError(f"is larger than {_LARGEST} bytes")
        return tomllib.loads(content.decode())
    except OSError as error:
        raise TomlError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TomlError(f"is not UTF-8 (at byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise TomlError(str(error)) from None
    except RecursionError:
        raise TomlError("is nested too deeply") from None


def faults_of(document: object, error: ValidationError) -> str:
    """Return everything that pydantic found wrong in a document, in one line: `path message; ...`."""
    return "; ".join(
        str(
            TomlError(
                f"{_path(document, each['loc'], each['type'] == 'value_error')} {_said(each['type'], each['msg'])}"
            )
        )
        for each in error.errors()
    )


def _said(kind: str, message: str) -> str:
    return {"extra_forbidden": "is no field", "missing": "is missing"}.get(kind, message.removeprefix("Value error, "))


def _path(document: object, location: Sequence[int | str], is_whole: bool) -> str:
    """The keys of a location; pydantic puts names of its own between them, such as the member of a union.

    Args:
        document: that the location is in.
        location: as pydantic gives it.
        is_whole: whether what is wrong may be a table as a whole: such a name is then the last part.
    """
    path: list[str] = []
    here = document
    for number, part in enumerate(location, 1):
        known = isinstance(here, dict) and part in here
        if part != "[key]" and (known or (number == len(location) and not (is_whole and isinstance(here, dict)))):
            path.append(str(part))
            here = here[part] if isinstance(here, dict) and known else None
    return ".".join(path)
