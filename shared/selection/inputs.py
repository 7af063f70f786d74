"""Which auxiliary files a Sentinel-1 product was made with: its own manifest names them."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.errors import Rejected
from shared.json_types import Json
from shared.selection.choice import Ask
from shared.stac.item import Found
from shared.stac.search import Cql2
from shared.texts import printable
from shared.xml import parse_xml

_MANIFEST: Final = "manifest.safe"
_LARGEST: Final = 16 * 2**20
_STAMP: Final = "[0-9]{8}T[0-9]{6}"
_INPUT: Final = re.compile(
    rf"S1[A-Z_]_(?:AUX_[A-Z0-9]{{3}}_V{_STAMP}_G{_STAMP}(?:\.SAFE)?"
    rf"|[A-Z]{{4}}_AUX_[A-Z0-9]{{6}}_[A-Z]{{4}}_{_STAMP}_V{_STAMP}_{_STAMP}(?:\.EOF)?)"
)
"""Names as S1A_AUX_CAL_V<start>_G<generation>.SAFE, and orbits as S1A_OPER_AUX_RESORB_OPOD_<..>.EOF."""


def inputs_of(product: Path) -> tuple[str, ...]:
    """Return the names of the auxiliary files that a product names, in the order of its manifest, each once.

    By the names of its resources and not by their roles, of which not all spellings are known.

    Args:
        product: a product's folder, its manifest.safe, or a zip of the folder.

    Raises:
        Rejected: `bad-product`, it is none of these, or its manifest cannot be read.
    """
    try:
        root = parse_xml(_manifest(product))
    except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise Rejected("bad-product", f"{product}: {printable(str(error))[:300]}") from None
    paths = (resource.get("name", "") for resource in root.iter("resource"))
    names = (re.split(r"[/\\]", path.rstrip("/\\"))[-1] for path in paths)
    return tuple(dict.fromkeys(name for name in names if _INPUT.fullmatch(name)))


def _manifest(product: Path) -> bytes:
    if product.is_dir():
        return _manifest(product / _MANIFEST)
    with product.open("rb") as opened:
        if not zipfile.is_zipfile(opened):
            opened.seek(0)
            return _bounded(opened.read(_LARGEST + 1))
        with zipfile.ZipFile(opened) as archive:
            names = [name for name in archive.namelist() if name.rpartition("/")[2] == _MANIFEST]
            if not names:
                raise ValueError(f"the zip has no {_MANIFEST}")
            with archive.open(min(names, key=len)) as member:
                return _bounded(member.read(_LARGEST + 1))


def _bounded(content: bytes) -> bytes:
    if len(content) > _LARGEST:
        raise ValueError(f"the manifest has more than {_LARGEST} bytes")
    return content


FileNames = Annotated[
    tuple[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,200}$")], ...],
    Field(min_length=1, max_length=200),
]


class NamesSelection(BaseModel):
    """The files of these names; one that the station does not have is a failed item of the run.

    Attributes:
        names: of the files, with or without `.SAFE`, `.EOF` and `.zip`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["names"] = "names"
    names: FileNames

    def choose(self, ask: Ask) -> Iterator[Found]:
        """Yield each file, or that the station does not have it.

        Args:
            ask: sends a search to the station.
        """
        for bare in dict.fromkeys(map(bare_name, self.names)):
            found = next((items for item_id in (bare, f"{bare}.SAFE") if (items := [*ask(_of_id(item_id))])), [])
            yield from found or [Found.unusable(bare, "not-offered", "the station does not have this file")]


def bare_name(name: str) -> str:
    """Return a file's name without the extensions of its folder and its archive: the id of its item."""
    for extension in (".zip", ".SAFE", ".EOF"):
        name = name.removesuffix(extension)
    return name


def _of_id(item_id: str) -> Cql2:
    # A station's ids are names without their last extension, which may leave that of the folder.
    by_id: Json = {"op": "=", "args": [{"property": "id"}, item_id]}
    return Cql2.model_construct(filter=by_id, limit=None, sortby=())
