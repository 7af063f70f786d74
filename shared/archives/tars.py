"""Members of a tar, as it streams. Damage never passes for the end of the archive.

The standard library parses single header blocks; the walk is our own, since `tarfile.open` stops without an error on
a damaged header and reads extended headers of any size. Sources: POSIX.1-2017 pax, and the GNU tar manual.
"""

import tarfile
from collections.abc import Iterator

from shared.archives.budget import Omissions
from shared.archives.paths import Census
from shared.archives.rules import METADATA_BYTES, ArchiveFailed, Kind, flaw
from shared.archives.streams import ByteStream, Entry

_BLOCK = tarfile.BLOCKSIZE
_ZEROS = bytes(_BLOCK)
_PADDING_BYTES = 16 * 2**20
_SPARSE_EXTENDED, _SPARSE_MORE = 482, 504  # flags in the header, and in each block of the map that follows it
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_GNU_NAMES = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_LABEL, _DUMPED_DIRECTORY = b"V", b"D"  # of GNU tar: the name of a volume; a directory with the list of its files
_GNU_MAGIC = b"ustar  \0"
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_WITHOUT_DATA = (
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.FIFOTYPE,
)
_REFUSED = {
    tarfile.SYMTYPE: (Kind.SYMLINK, "a symbolic link"),
    tarfile.LNKTYPE: (Kind.HARD_LINK, "a hard link"),
    tarfile.CHRTYPE: (Kind.SPECIAL_FILE, "a device"),
    tarfile.BLKTYPE: (Kind.SPECIAL_FILE, "a device"),
    tarfile.FIFOTYPE: (Kind.SPECIAL_FILE, "a FIFO"),
    tarfile.GNUTYPE_SPARSE: (Kind.SPARSE, "a sparse file"),
}


class TarArchive:
    """An uncompressed tar that comes as a stream."""

    def __init__(self, stream: ByteStream, census: Census, omitted: Omissions) -> None:
        self.census = census
        self._omitted = omitted
        self._stream = stream
        self._global: dict[str, str] = {}
        self._next: dict[str, str] = {}

    def entries(self) -> Iterator[Entry]:
        """Yield the files as they come; each one's chunks are valid until the next is asked for.

        Raises:
            ArchiveFailed: at the first problem: `archive-damaged`, `archive-limit`; `archive-unsafe`, unless what is
                unsafe is left out.
        """
        while (block := self._stream.read(_BLOCK)) != _ZEROS:
            if len(block) < _BLOCK:
                raise flaw(Kind.TRUNCATED, "", "the end-of-archive blocks are missing")
            header = _parsed(block)
            if not self._absorb(header):
                yield from self._entry(header, extended=bool(block[_SPARSE_EXTENDED]))
        self._finish()

    def _entry(self, header: tarfile.TarInfo, extended: bool) -> Iterator[Entry]:
        known = self._global | self._next
        self._next = {}
        raw = known.get("path") or header.name  # an empty value takes a keyword back
        size = _size(known, header, raw)
        try:
            path = self._admitted(header, known, raw)
        except ArchiveFailed as found:
            self._omitted.add(found)
            path = ""
        if header.type in _WITHOUT_DATA:
            if size and header.type != tarfile.DIRTYPE:  # some writers have put data here and some have not
                raise flaw(Kind.BAD_HEADER, raw, "a link or a device that claims to have content")
            return
        if header.type == tarfile.GNUTYPE_SPARSE and extended:
            self._skip_sparse_map(raw)
        body = self._stream.take(size, path or raw)
        if path and not _is_directory(header):
            yield Entry(path, size, body)
        for _ in body:  # whoever only wants the names leaves the content to us
            pass
        self._skip_padding(size, path)

    def _admitted(self, header: tarfile.TarInfo, known: dict[str, str], raw: str) -> str:
        directory = _is_directory(header)
        if any(keyword.startswith("GNU.sparse.") for keyword in known):
            raise flaw(Kind.SPARSE, raw, "a sparse file")
        path = self.census.admit(raw, directory)
        if not directory and header.type not in _FILES:
            raise flaw(*_refusal(header.type, raw))
        return path

    def _skip_sparse_map(self, raw: str) -> None:
        more = True
        while more:
            block = self._stream.read(_BLOCK)
            if len(block) < _BLOCK:
                raise flaw(Kind.TRUNCATED, raw, "it ends within the map of a sparse file")
            more = bool(block[_SPARSE_MORE])

    def _absorb(self, header: tarfile.TarInfo) -> bool:
        """Read an extended header, if this is one, and keep what it tells of the next member."""
        if header.type in _GNU_NAMES:
            value = self._metadata(header).rstrip(b"\0")
            self._next[_GNU_NAMES[header.type]] = value.decode("utf-8", "surrogateescape")
        elif header.type in _PAX:
            self._next |= _pax(self._metadata(header))
        elif header.type == tarfile.XGLTYPE:
            self._global |= _pax(self._metadata(header))
        elif header.type == _LABEL:
            self._metadata(header)
        else:
            return False
        return True

    def _metadata(self, header: tarfile.TarInfo) -> bytes:
        if not 0 <= header.size <= METADATA_BYTES:
            raise flaw(Kind.METADATA, "", f"an extended header of {header.size} bytes")
        self.census.budget.output.add(header.size)
        data = b"".join(self._stream.take(header.size, ""))
        self._skip_padding(header.size, "")
        return data

    def _skip_padding(self, size: int, path: str) -> None:
        for _ in self._stream.take(-size % _BLOCK, path):
            pass

    def _finish(self) -> None:
        if self._next:
            raise flaw(Kind.TRUNCATED, "", "an extended header without its member")
        padding = 0
        for chunk in self._stream.rest():
            padding += len(chunk)
            if bytes(chunk).strip(b"\0") or padding > _PADDING_BYTES:
                raise flaw(Kind.TRAILING_DATA, "", "data follow the end of the archive")


def is_header(block: bytes) -> bool:
    """Say whether a block can begin a tar: a header whose checksum is right, or the end of an empty one."""
    if block == _ZEROS:
        return True
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _parsed(block: bytes) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise flaw(Kind.BAD_HEADER, "", f"a damaged header: {error}") from error
    if block[257:265] == _GNU_MAGIC:
        # GNU tar has no prefix: in an incremental archive the times of access and change stand in its place.
        header.name = block[:100].partition(b"\0")[0].decode("utf-8", "surrogateescape")
    return header


def _is_directory(header: tarfile.TarInfo) -> bool:
    return header.type in (tarfile.DIRTYPE, _DUMPED_DIRECTORY)


def _refusal(kind: bytes, raw: str) -> tuple[Kind, str, str]:
    found, detail = _REFUSED.get(kind, (Kind.SPECIAL_FILE, f"an entry of the unknown type {kind!r}"))
    return found, raw, detail


def _size(known: dict[str, str], header: tarfile.TarInfo, raw: str) -> int:
    text = known.get("size", "")
    if not text:
        size = header.size
    elif text.isascii() and text.isdigit() and len(text) < 20:
        size = int(text)
    else:
        raise flaw(Kind.BAD_HEADER, raw, f"a size of {text[:20]!r}")
    if size < 0:
        raise flaw(Kind.BAD_HEADER, raw, f"a size of {size}")
    return size


def _pax(data: bytes) -> dict[str, str]:
    """Return the records of a pax header that matter here: `LENGTH KEY=VALUE` and a newline, all counted by LENGTH."""
    found = {}
    at, end = 0, len(data.rstrip(b"\0"))
    while at < end:
        digits = data[at : data.find(b" ", at, at + 8)]
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        record = data[at : at + length]
        keyword, mark, value = record[len(digits) + 1 : -1].partition(b"=")
        if not mark or not record.endswith(b"\n") or len(record) != length:
            raise flaw(Kind.BAD_HEADER, "", "a damaged pax header")
        name = keyword.decode("utf-8", "replace")
        if name in ("path", "size") or name.startswith("GNU.sparse."):
            found[name] = value.decode("utf-8", "surrogateescape")
        at += length
    return found
