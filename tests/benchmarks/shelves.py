"""What the free services of the benchmark have: items by their numbers, remembered in files that every worker maps."""

import json
import mmap
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from shared.json_types import Json

FOLDER: Final = "BENCHMARK_FOLDER"
"""The environment variable that says where the files are."""

ASSET_BYTES: Final = 614_400
"""Less than 1 MiB, of which a transfer tells the ledger once."""

_SLOT = 8192
_MOST_ARCHIVES = 2
_SUFFIXES = (".TGZ", "_B.TGZ")
_LENGTH = struct.Struct("<I")
_MARKS = struct.Struct("<dd")


def item_id(number: int) -> str:
    """Return the id of an item, as long as those of ECMWF's forecasts are."""
    return f"S2__OPER_AUX_ECMWFD_PDMC_20190216T120000_V20190217T090000_{number:08}T210000"


def number_of(name: str) -> int:
    """Return the number of an item, by its id."""
    return int(name[-15:-7])


def product_type(archives: int) -> str:
    """Return the product type of items that have so many archives."""
    return ("OPER_AUX_ECMWFD_PDMC", "OPER_AUX_TWICE_PDMC")[archives - 1]


def archives_of_type(name: str) -> int:
    """Return how many archives an item of a product type has."""
    return 2 if name == product_type(2) else 1


def offered(number: int, archives: int = 1) -> Json:
    """Return an item as an AUXIP station offers it: the fields, and so the size, of a real one with its archives."""
    name = item_id(number)
    uuid = f"2b17b57d-fff4-4645-b539-{number:012x}"
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/file/v2.1.0/schema.json",
            "https://stac-extensions.github.io/timestamps/v1.1.0/schema.json",
        ],
        "id": name,
        "collection": "adgs",
        "geometry": None,
        "properties": {
            "datetime": "2019-02-17T09:00:00.000Z",
            "start_datetime": "2019-02-17T09:00:00.000Z",
            "end_datetime": "2019-02-17T21:00:00.000Z",
            "created": "2019-02-16T18:29:37.522Z",
            "published": "2019-02-16T18:29:37.522Z",
            "product:type": product_type(archives),
            "processing:datetime": "2019-02-16T12:00:00.000Z",
            "processing:facility": "FOS",
            "constellation": "sentinel-2",
            "platform": "sentinel-2a",
            "externalIds": [{"scheme": "auxip", "value": uuid}],
        },
        "links": [],
        "assets": {
            f"{name}{suffix}": {
                "href": f"http://127.0.0.1/Products({uuid})/$value",
                "type": "application/octet-stream",
                "file:size": ASSET_BYTES,
                "file:checksum": md5_of(number),
                "eviction_datetime": "2019-02-16T18:29:37.522Z",
            }
            for suffix in _SUFFIXES[:archives]
        },
    }


class Shelf:
    """The catalog's items of one collection, and the archives that stand in the store, in two files.

    Raises:
        IndexError: an item is asked for that has no place.
    """

    def __init__(self, folder: Path, collection: str) -> None:
        self._slots = _map(folder / f"{collection}.catalog")
        self._archives = _map(folder / f"{collection}.store")

    @staticmethod
    def make(folder: Path, collection: str, items: int) -> None:
        """Make room for the items of a collection."""
        _write_zeros(folder / f"{collection}.catalog", items * _SLOT)
        _write_zeros(folder / f"{collection}.store", items * _MOST_ARCHIVES)

    def read(self, number: int) -> Json | None:
        """Return an item as it was written last, or None."""
        start = self._start(number)
        (length,) = _LENGTH.unpack_from(self._slots, start)
        start += _LENGTH.size
        return cast("Json", json.loads(self._slots[start : start + length])) if length else None

    def write(self, number: int, item: Json) -> None:
        """Keep an item in the place of what was there."""
        data = json.dumps(item).encode()
        if len(data) > _SLOT - _LENGTH.size:
            raise ValueError(f"an item of {len(data)} bytes does not fit")
        start = self._start(number)
        self._slots[start + _LENGTH.size : start + _LENGTH.size + len(data)] = data
        _LENGTH.pack_into(self._slots, start, len(data))

    def has_archive(self, number: int, key: str) -> bool:
        """Whether an archive of an item, by its asset key, is in the store."""
        return bool(self._archives[_place(number, key)])

    def set_archive(self, number: int, key: str, there: bool) -> None:
        """Put an archive of an item into the store, or delete it."""
        self._archives[_place(number, key)] = there

    def _start(self, number: int) -> int:
        if not 0 <= number < len(self._slots) // _SLOT:
            raise IndexError(number)
        return number * _SLOT


class Shelves:
    """The shelf of each collection."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, Shelf] = {}

    def __getitem__(self, collection: str) -> Shelf:
        if collection not in self._known:
            self._known[collection] = Shelf(self.folder, collection)
        return self._known[collection]


class Marks:
    """When the first item's first step began, and the last item's was put on its queue, as seconds since the epoch."""

    def __init__(self, folder: Path) -> None:
        path = folder / "marks"
        if not path.exists():
            _write_zeros(path, _MARKS.size)
        self._file = _map(path)

    def read(self) -> tuple[float | None, float | None]:
        """Return both, None for what has not happened."""
        begun, fed = _MARKS.unpack_from(self._file)
        return begun or None, fed or None

    def clear(self) -> None:
        """Forget both."""
        _MARKS.pack_into(self._file, 0, 0.0, 0.0)

    def set_begun(self, now: float) -> None:
        """Keep the first moment."""
        begun, fed = _MARKS.unpack_from(self._file)
        if not begun:
            _MARKS.pack_into(self._file, 0, now, fed)

    def set_fed(self, now: float) -> None:
        """Keep the last moment."""
        struct.pack_into("<d", self._file, 8, now)


def unfinished(folder: Path, collection: str, items: int, archives: int = 1) -> Sequence[str]:
    """Return what is not as it should be once a run is over; empty if every item is expanded and no archive is left."""
    shelf, wrong = Shelf(folder, collection), []
    for number in range(items):
        item = shelf.read(number)
        name = item_id(number)
        keys = [f"{name}{suffix}" for suffix in _SUFFIXES[:archives]]
        if item is None or list(cast("Json", item["assets"])) != [key.removesuffix(".TGZ") for key in keys]:
            wrong.append(f"{name} is not published as it is expanded")
        wrong += [f"the archive {key} is not deleted" for key in keys if shelf.has_archive(number, key)]
    return wrong


def _place(number: int, key: str) -> int:
    return number * _MOST_ARCHIVES + key.endswith(_SUFFIXES[1])


def md5_of(number: int) -> str:
    """Return the MD5 (hex) of an item's archive."""
    return f"{number:032x}"


def _write_zeros(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def _map(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)
