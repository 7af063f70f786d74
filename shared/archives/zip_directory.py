"""The central directory of a zip, read for hostile input: streamed, counted, nothing taken on trust.

Source: PKWARE APPNOTE 6.3.10, sections 4.3.12 to 4.3.16 and 4.5.3. The standard library's reader is not used: it
loads the whole directory at once, cuts names at a NUL, and accepts bytes in front of and behind the archive.
"""

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from shared.archives.rules import Kind, flaw
from shared.archives.sources import Source
from shared.archives.streams import ByteStream

NO_32, NO_16 = 0xFFFFFFFF, 0xFFFF  # "look into the zip64 field"

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_RECORD = struct.Struct("<4s6H3L5H2L")
_EXTRA = struct.Struct("<HH")
_ZIP64, _UNICODE_PATH = 1, 0x7075
_PADDING_BYTES, _PIECE_BYTES = 16 * 2**20, 2**16
_ENCRYPTED, _PATCH, _STRONG, _UTF8, _MASKED = 1 << 0, 1 << 5, 1 << 6, 1 << 11, 1 << 13
_DESCRIPTOR = 1 << 3


@dataclass(slots=True)
class Record:
    """What the directory says of one member. Sizes and offsets are in bytes.

    Attributes:
        raw: the name as it is spelled in the archive.
        name: the same, decoded.
        path: the safe path, once it has been admitted.
        end: where the next one, or the directory, begins; known once all records are.
    """

    raw: bytes
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    mode: int
    offset: int
    path: str = ""
    end: int = 0

    @property
    def is_directory(self) -> bool:
        """Whether the name ends in a slash, or the Unix mode says so."""
        return self.name.endswith("/") or stat.S_ISDIR(self.mode)

    @property
    def is_encrypted(self) -> bool:
        """Whether its content, or its header, is encrypted."""
        return bool(self.flags & (_ENCRYPTED | _STRONG | _MASKED))

    @property
    def is_patch(self) -> bool:
        """Whether it holds a patch and no content."""
        return bool(self.flags & _PATCH)

    @property
    def has_descriptor(self) -> bool:
        """Whether sizes and CRC stand behind the content, and the local header need not know them."""
        return bool(self.flags & _DESCRIPTOR)


@dataclass(frozen=True)
class Directory:
    """Where the central directory is: offset and size in bytes, and how many records it promises."""

    start: int
    size: int
    count: int


def locate(source: Source) -> Directory:
    """Find the central directory by the record at the archive's end.

    Raises:
        ArchiveFailed: `archive-damaged`, there is none, or it does not stand right before that record.
    """
    before, end = _find_end(source)
    _, disk, first_disk, _, count, size, start, _ = _END.unpack(end)
    saturated = NO_16 in (disk, first_disk, count) or NO_32 in (size, start)
    if saturated or start + size != before:
        # Some writers add the zip64 record though nothing is saturated: Info-ZIP 3.0 does, where it reads a pipe.
        located = _locate64(source, before)
        if located is not None:
            return located if saturated else _agreeing(located, Directory(start, size, count))
    if disk or first_disk:
        raise flaw(Kind.BAD_HEADER, "", "one part of several")
    return _checked(Directory(start, size, count), before)


def records(source: Source, directory: Directory) -> Iterator[Record]:
    """Yield the records in the directory's order.

    Raises:
        ArchiveFailed: `archive-damaged`, a record is none, or there are more or fewer than promised.
    """
    stream = ByteStream(source.chunks(directory.start, directory.size))
    for _ in range(directory.count):
        yield _record(stream)
    if stream.read(1):
        raise flaw(Kind.BAD_HEADER, "", f"the directory holds more than the {directory.count} members it promises")


def zip64_values(extra: bytes, names: list[str]) -> dict[str, int]:
    """Return the values of a zip64 extra field; `names` are those that are absent elsewhere, in the format's order.

    Raises:
        ArchiveFailed: `archive-damaged`, the field is missing or too short.
    """
    at = 0
    while names and at + _EXTRA.size <= len(extra):
        kind, length = _EXTRA.unpack_from(extra, at)
        at += _EXTRA.size
        if kind == _ZIP64 and 8 * len(names) <= length and at + 8 * len(names) <= len(extra):
            return dict(zip(names, struct.unpack_from(f"<{len(names)}Q", extra, at), strict=True))
        at += length
    if names:
        raise flaw(Kind.BAD_HEADER, "", "a zip64 field is missing")
    return {}


def _find_end(source: Source) -> tuple[int, bytes]:
    """Return where the record at the end is, and the record; only its comment and zeros may stand behind it."""
    used = _without_zeros(source)
    start = max(0, used - _END.size - NO_16)
    tail = source.read_at(start, used - start + _END.size)  # the record itself may end in zeros
    at, followed = len(tail), False
    while (at := tail.rfind(b"PK\5\6", 0, at)) >= 0:
        end = tail[at : at + _END.size]
        if len(end) < _END.size:
            continue
        ends = start + at + _END.size + _END.unpack(end)[-1]
        if used <= ends <= source.size:
            return start + at, end
        followed |= ends < used
    if followed:
        raise flaw(Kind.TRAILING_DATA, "", "data follow the end of the archive")
    raise flaw(Kind.TRUNCATED, "", "the record at the end of a zip is missing")


def _without_zeros(source: Source) -> int:
    """Return where the last byte that is no zero ends: tapes and block devices pad what they hold."""
    end = source.size
    while end > max(0, source.size - _PADDING_BYTES):
        start = max(0, end - _PIECE_BYTES)
        piece = source.read_at(start, end - start).rstrip(b"\0")
        if piece:
            return start + len(piece)
        end = start
    return end


def _agreeing(located: Directory, told: Directory) -> Directory:
    if located != told:
        raise flaw(Kind.HEADER_DISAGREEMENT, "", "the two records at the end tell of two directories")
    return located


def _locate64(source: Source, before: int) -> Directory | None:
    if before < _LOCATOR.size:
        return None
    mark, _, at, _ = _LOCATOR.unpack(source.read_at(before - _LOCATOR.size, _LOCATOR.size))
    if mark != b"PK\6\7":
        return None
    end = source.read_at(at, _END64.size)
    if len(end) < _END64.size or end[:4] != b"PK\6\6":
        raise flaw(Kind.BAD_HEADER, "", "the zip64 record at the end is missing")
    _, _, _, _, disk, first_disk, _, count, size, start = _END64.unpack(end)
    if disk or first_disk:
        raise flaw(Kind.BAD_HEADER, "", "one part of several")
    return _checked(Directory(start, size, count), at)


def _checked(directory: Directory, before: int) -> Directory:
    if directory.start + directory.size != before:
        raise flaw(Kind.BAD_HEADER, "", "the directory does not stand where the end of the zip says")
    return directory


def _record(stream: ByteStream) -> Record:
    header = stream.read(_RECORD.size)
    if len(header) < _RECORD.size or header[:4] != b"PK\1\2":
        raise flaw(Kind.BAD_HEADER, "", "a record of the directory is damaged")
    values = _RECORD.unpack(header)
    flags, method, crc = values[3], values[4], values[7]
    name_size, extra_size, comment_size = values[10:13]
    rest = stream.read(name_size + extra_size + comment_size)
    if len(rest) < name_size + extra_size + comment_size:
        raise flaw(Kind.TRUNCATED, "", "the directory ends early")
    raw, extra = rest[:name_size], rest[name_size : name_size + extra_size]
    known = {"size": values[9], "packed": values[8], "offset": values[16]}
    known |= zip64_values(extra, [name for name, value in known.items() if value == NO_32])
    return Record(raw, _decoded(raw, flags, extra), flags, method, crc, mode=values[15] >> 16, **known)


def _decoded(raw: bytes, flags: int, extra: bytes) -> str:
    """Return a name: in UTF-8 where the flag or a field of Info-ZIP says so, or where it can be nothing else.

    APPNOTE knows code page 437 besides, but many writers on Unix set no flag.
    """
    if flags & _UTF8:
        return raw.decode("utf-8", "surrogateescape")
    told = _unicode_path(raw, extra)
    try:
        return (told or raw).decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp437")


def _unicode_path(raw: bytes, extra: bytes) -> bytes:
    """Return the name in the field that Info-ZIP adds, if it is about this name (APPNOTE 4.6.9); else nothing."""
    at = 0
    while at + _EXTRA.size <= len(extra):
        kind, length = _EXTRA.unpack_from(extra, at)
        field = extra[at + _EXTRA.size : at + _EXTRA.size + length]
        if kind == _UNICODE_PATH and field[:5] == struct.pack("<BL", 1, zlib.crc32(raw)):
            return field[5:]
        at += _EXTRA.size + length
    return b""
