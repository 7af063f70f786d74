"""What the station offers in one round, as the harness knows it: bytes in hand, and how each item must end."""

import hashlib
import io
import random
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from local.products import formats
from local.samples import STATION_COLLECTION

Json = dict[str, object]

_PLAIN_BYTES = 20_000
_LARGE_BYTES = 20 * 2**20  # more than the 16 MiB of one PUT: three parts, so a worker that is killed leaves an upload


@dataclass(frozen=True)
class File:
    """One asset that the station offers.

    Attributes:
        name: of the file, the key of its asset.
        content: its bytes.
        stem: of an archive that can be expanded: its name without the suffix.
        members: of such an archive: what its prefix must hold, by the names alone.
    """

    name: str
    content: bytes
    stem: str = ""
    members: dict[str, bytes] = field(default_factory=dict)

    @property
    def uuid(self) -> str:
        """What the station calls it in its URLs."""
        return str(uuid5(NAMESPACE_URL, self.name))

    @property
    def md5(self) -> str:
        """As the station states it."""
        return hashlib.md5(self.content, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Offer:
    """One item that the station offers, and how it must end.

    Attributes:
        item_id: its id.
        files: its assets.
        product_type: by which it is found.
        code: what it must fail with; empty where it must be done.
        stands: of one that must fail: its files are staged and in the catalog all the same.
        stated: what the station states wrongly, for every asset.
        absent: the station has no bytes.
    """

    item_id: str
    files: tuple[File, ...]
    product_type: str = ""
    code: str = ""
    stands: bool = True
    stated: Json = field(default_factory=dict)
    absent: bool = False

    def opens(self, file: File) -> bool:
        """Whether a file is an archive that must be expanded."""
        return bool(file.stem) and not self.code

    @property
    def expands(self) -> bool:
        """Whether any of its files is."""
        return any(self.opens(file) for file in self.files)

    @property
    def properties(self) -> Json:
        """What the station says of it; the catalog must say the same. The product type is the round's."""
        instant = "2024-03-25T00:00:00.000Z"
        always = dict.fromkeys(("datetime", "start_datetime", "created", "published"), instant)
        return {
            **always,
            "end_datetime": "9999-12-31T23:59:59Z",
            "product:type": self.product_type,
            "note": self.item_id,
        }


def offers_of(seed: int, count: int, product_type: str = "") -> list[Offer]:
    """Return so many sound items and two or three faulty ones of a product type, the same ones for the same seed."""
    chance = random.Random(seed)  # noqa: S311  # a schedule, no secret
    sound = [_plain, _several, _zip, _tgz, _nested, _both] * (count // 6 + 1)
    makers = [*sound[:count], *chance.sample(_FAULTY, 2)]
    makers += [_large] * (chance.random() < 0.4) + [_wrong_checksum] * (chance.random() < 0.2)
    offers = [make(f"S1A_OPER_AUX_FAULTS_{seed:010d}_{number:03d}") for number, make in enumerate(makers)]
    return [replace(offer, product_type=product_type) for offer in offers]


def publish(offers: list[Offer], folder: Path, base_url: str) -> Iterator[Json]:
    """Write the files of offers and yield the station's items.

    Args:
        offers: what is offered.
        folder: where the station has its files.
        base_url: of the station, as its clients are to see it.
    """
    for offer in offers:
        for file in offer.files:
            if not offer.absent:
                (folder / file.uuid).write_bytes(file.content)
        yield _item(offer, base_url)


def _item(offer: Offer, base_url: str) -> Json:
    assets = {
        file.name: {
            "href": f"{base_url}/Products({file.uuid})/$value",
            "type": "application/octet-stream",
            "file:size": len(file.content),
            "file:checksum": file.md5,
            **offer.stated,
        }
        for file in offer.files
    }
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": offer.item_id,
        "collection": STATION_COLLECTION,
        "geometry": None,
        "properties": offer.properties,
        "links": [],
        "assets": assets,
    }


def _members(name: str) -> dict[str, bytes]:
    return {f"{name}.HDR.xml": formats.parameter_file(name, 40), f"{name}.nc": formats.noise(name, _PLAIN_BYTES)}


def _file(name: str) -> File:
    return File(f"{name}.EOF", formats.noise(name, _PLAIN_BYTES))


def _zip_file(name: str) -> File:
    members = _members(name)
    return File(f"{name}.zip", formats.zip_archive(members), name, members)


def _plain(name: str) -> Offer:
    return Offer(name, (_file(name),))


def _large(name: str) -> Offer:
    return Offer(name, (File(f"{name}.EOF", formats.noise(name, _LARGE_BYTES)),))


def _zip(name: str) -> Offer:
    return Offer(name, (_zip_file(name),))


def _tgz(name: str) -> Offer:
    members = _members(name)
    return Offer(name, (File(f"{name}.TGZ", formats.tar_gz(members), name, members),))


def _nested(name: str) -> Offer:
    outer, inner = {"file.xml": formats.parameter_file(name, 30)}, _members(name)
    content = formats.zip_archive({**outer, "content.tar.gz": formats.tar_gz(inner)})
    return Offer(name, (File(f"{name}.zip", content, name, {**outer, **inner}),))


def _both(name: str) -> Offer:
    return Offer(name, (_file(name), _zip_file(f"{name}_table")))


def _several(name: str) -> Offer:
    return Offer(name, tuple(_zip_file(f"{name}_{part}") for part in "abc"))


def _no_assets(name: str) -> Offer:
    return Offer(name, (), code="no-assets", stands=False)


def _not_found(name: str) -> Offer:
    return Offer(name, (_file(name),), code="station-not-found", stands=False, absent=True)


def _wrong_checksum(name: str) -> Offer:
    return Offer(name, (_file(name),), code="checksum-mismatch", stands=False, stated={"file:checksum": "0" * 32})


def _traversal(name: str) -> Offer:
    content = formats.zip_archive({"sound.xml": b"<sound/>", "../../evil": b"outside"})
    return Offer(name, (File(f"{name}.zip", content),), code="archive-unsafe")


def _damaged(name: str) -> Offer:
    content = bytearray(formats.zip_archive(_members(name)))
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        member = archive.getinfo(f"{name}.nc")
    content[member.header_offset + 30 + len(member.filename) + _PLAIN_BYTES // 2] ^= 1
    return Offer(name, (File(f"{name}.zip", bytes(content)),), code="archive-damaged")


_FAULTY: list[Callable[[str], Offer]] = [_no_assets, _not_found, _traversal, _damaged]
