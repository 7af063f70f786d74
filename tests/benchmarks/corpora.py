"""The archives that are expanded, made anew and always the same: text that compresses, and noise that does not."""

import gzip
import io
import random
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MIB = 2**20
_POOL = 4 * MIB
_SLICE = 32 * 1024
_LEVEL = 1


@dataclass(frozen=True)
class Corpus:
    """One archive.

    Attributes:
        name: as in the table of results.
        file: the archive's file name.
        latency: seconds that are added to each answer of the store.
        sizes: of the objects that it expands to, in bytes.
        make: writes the archive.
    """

    name: str
    file: str
    latency: float
    sizes: list[int]
    make: Callable[[IO[bytes]], None]


def corpora(quick: bool) -> list[Corpus]:
    """Return the corpora of the issue's table, or smaller ones of the same kinds."""
    small = [20_000] * (150 if quick else 2000)
    one = [(24 if quick else 1024) * MIB]
    mixed = _mixed(16 * MIB if quick else 500 * MIB, 30 if quick else 1033)
    nested = _mixed(10 * MIB if quick else 250 * MIB, 15 if quick else 207)
    few = small[:25] if quick else small
    return [
        Corpus("2000 files of 20 KB, zip", "small.zip", 0, small, lambda file: _zip(file, small)),
        Corpus("one member of 1 GB, zip", "one.zip", 0, one, lambda file: _zip(file, one)),
        Corpus("mixed, 500 MB, tgz", "mixed.tgz", 0, mixed, lambda file: _tgz(file, mixed)),
        Corpus("tar.gz in a zip, 250 MB", "nested.zip", 0, nested, lambda file: _nested(file, nested)),
        Corpus("the first with 20 ms latency", "small.zip", 0.02, few, lambda file: _zip(file, few)),
    ]


def write(corpus: Corpus, folder: Path) -> Path:
    """Write the archive of a corpus and return where it is."""
    path = folder / corpus.file
    with path.open("wb") as file:
        corpus.make(file)
    return path


def _mixed(total: int, count: int) -> list[int]:
    """Sizes as in products: many small files, some of a few MB, and a handful that holds half of the bytes."""
    rng = random.Random(count)  # noqa: S311 - numbers that are always the same
    weights = [rng.lognormvariate(0, 2.2) for _ in range(count)]
    return [max(100, int(weight / sum(weights) * total)) for weight in weights]


class Content:
    """Bytes of which two thirds are text of the kind that products hold, and one third is noise."""

    def __init__(self) -> None:
        self._rng = random.Random(7)  # noqa: S311
        numbers = (f"<value>{self._rng.random() * 1000:.5f}</value>\n" for _ in range(_POOL // 20))
        self._text = "".join(numbers).encode()[:_POOL]
        self._noise = self._rng.randbytes(_POOL)

    def blocks(self, size: int) -> Iterator[bytes]:
        while size:
            pool = self._noise if self._rng.random() < 1 / 3 else self._text
            start = self._rng.randrange(_POOL - _SLICE)
            block = pool[start : start + min(size, _SLICE)]
            size -= len(block)
            yield block


def _zip(file: IO[bytes], sizes: list[int]) -> None:
    content = Content()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for number, size in enumerate(sizes):
            with archive.open(f"product/file-{number:05}.dat", "w", force_zip64=True) as member:
                for block in content.blocks(size):
                    member.write(block)


def _tgz(file: IO[bytes], sizes: list[int]) -> None:
    content = Content()
    with (
        gzip.GzipFile(fileobj=file, mode="wb", compresslevel=_LEVEL, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w|") as archive,
    ):
        for number, size in enumerate(sizes):
            info = tarfile.TarInfo(f"product/file-{number:05}.dat")
            info.size = size
            archive.addfile(info, _Stream(content.blocks(size)))


def _nested(file: IO[bytes], sizes: list[int]) -> None:
    inner = io.BytesIO()
    _tgz(inner, sizes[1:])
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("manifest.xml", b"".join(Content().blocks(sizes[0])))
        archive.writestr("content.tar.gz", inner.getbuffer())


class _Stream(io.RawIOBase):
    """Blocks as a file, for tarfile."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]  # typeshed: any buffer
        self._rest = self._rest or next(self._blocks, b"")
        piece = self._rest[: len(target)]
        target[: len(piece)] = piece
        self._rest = self._rest[len(piece) :]
        return len(piece)

    def read(self, size: int = -1) -> bytes:
        parts = []
        while size and (piece := super().read(size)):
            parts.append(piece)
            size -= len(piece)
        return b"".join(parts)
