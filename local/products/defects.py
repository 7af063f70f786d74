"""Products that a station should not offer, one for each kind of defect."""

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from local.products import formats
from local.products.demo import DEMO_END, DEMO_START
from local.products.product import Product, at, compact

FAULTY_PRODUCT_TYPE = "AUX_FAULTY"
_GENERATED = at("20240324T120000")
_SIZE = 64 * 1024


class Defect(StrEnum):
    """What is wrong with a faulty sample."""

    TRUNCATED_GZIP = "truncated-gzip"  # a .TGZ that ends in the middle of its compressed data
    BAD_CRC = "bad-crc"  # a zip with a byte of a stored member changed
    PATH_TRAVERSAL = "path-traversal"  # a zip whose second member is called ../../evil
    NO_ASSETS = "no-assets"  # an item without assets
    UNSAFE_ASSET_NAME = "unsafe-asset-name"  # an item whose asset key is a path that leaves its folder
    WRONG_CHECKSUM = "wrong-checksum"  # file:checksum is that of other bytes
    WRONG_SIZE = "wrong-size"  # file:size is one byte more than there are
    NOT_FOUND = "not-found"  # the asset's href answers 404


@dataclass(frozen=True)
class FaultySample:
    """A product with one defect.

    Attributes:
        defect: what is wrong.
        product: its record. Its validity covers the demo's window.
    """

    defect: Defect
    product: Product

    @property
    def item_id(self) -> str:
        """The id of its item."""
        return self.product.item_id

    def assets(self, described: dict[str, object]) -> dict[str, object]:
        """The assets of its item.

        Args:
            described: its asset as a station without fault would describe it.
        """
        if self.defect is Defect.NO_ASSETS:
            return {}
        if self.defect is Defect.UNSAFE_ASSET_NAME:
            return {f"../../{self.product.name}": described}
        if self.defect is Defect.WRONG_CHECKSUM:
            described = described | {"file:checksum": "0" * 32}
        if self.defect is Defect.WRONG_SIZE:
            described = described | {"file:size": len(self.product.build()) + 1}
        return {self.product.name: described}


def faulty_samples() -> Iterator[FaultySample]:
    """One sample for each defect."""
    for defect, extension, build in (
        (Defect.TRUNCATED_GZIP, "TGZ", _truncated_gzip),
        (Defect.BAD_CRC, "zip", _bad_crc),
        (Defect.PATH_TRAVERSAL, "zip", _path_traversal),
        (Defect.NO_ASSETS, "EOF", _sound),
        (Defect.UNSAFE_ASSET_NAME, "EOF", _sound),
        (Defect.WRONG_CHECKSUM, "EOF", _sound),
        (Defect.WRONG_SIZE, "EOF", _sound),
        (Defect.NOT_FOUND, "EOF", _sound),
    ):
        yield FaultySample(defect, _product(defect, extension, build))


def _product(defect: Defect, extension: str, build: Callable[[], bytes]) -> Product:
    start, end = DEMO_START - timedelta(hours=1), DEMO_END + timedelta(hours=1)
    code = defect.name.replace("_", "")
    name = f"S1A_OPER_AUX_{code}_TEST_{compact(_GENERATED)}_V{compact(start)}_{compact(end)}.{extension}"
    created = _GENERATED + timedelta(minutes=7)
    return Product(name, FAULTY_PRODUCT_TYPE, "sentinel-1a", start, end, created, _GENERATED, build)


def _sound() -> bytes:
    return formats.parameter_file("sample", 400)


def _truncated_gzip() -> bytes:
    whole = formats.tar_gz({"first.bin": formats.noise("first", _SIZE), "second.bin": formats.noise("second", _SIZE)})
    return whole[: len(whole) * 2 // 3]


def _bad_crc() -> bytes:
    content = bytearray(formats.zip_archive({"sound.xml": _sound(), "damaged.nc": formats.noise("damaged", _SIZE)}))
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        member = archive.getinfo("damaged.nc")
    content[member.header_offset + 30 + len(member.filename) + _SIZE // 2] ^= 1
    return bytes(content)


def _path_traversal() -> bytes:
    return formats.zip_archive({"sound.xml": _sound(), "../../evil": b"outside"})
