"""Members of a zip: checked as a whole before the first is written, then read in the order they stand."""

import stat
import struct
from collections.abc import Callable, Iterable, Iterator

from isal import isal_zlib

from shared.archives.budget import Budget, Meter, Omissions
from shared.archives.paths import Census
from shared.archives.rules import ArchiveFailed, Kind, Problem, flaw
from shared.archives.sources import Source
from shared.archives.streams import Chunk, Entry, bunzip2, inflate, inflate64, unlzma
from shared.archives.zip_directory import NO_32, Record, locate, records, zip64_values

_LOCAL = struct.Struct("<4s5H3L2H")
_DESCRIPTOR, _DESCRIPTOR64 = struct.Struct("<3L"), struct.Struct("<L2Q")
_DESCRIPTOR_MARK = b"PK\7\x08"
_DESCRIPTOR_BYTES = 24
_USUAL_EXTRA = 64  # bytes: timestamps, owners, the sizes of zip64; so one read takes the whole local header


def _stored(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    return iter(chunks)


METHODS: dict[int, Callable[[Iterable[Chunk]], Iterator[Chunk]]] = {
    0: _stored,
    8: inflate,
    9: inflate64,
    12: bunzip2,
    14: unlzma,
}
"""The compression methods that are read, by their number (APPNOTE 4.4.5)."""


class ZipArchive:
    """A zip whose directory has been read and found harmless."""

    def __init__(self, source: Source, budget: Budget, omitted: Omissions) -> None:
        """Read the directory and check all that it tells.

        Raises:
            ArchiveFailed: with every problem of every member, unless those are left out.
        """
        self._source = source
        self._directory = locate(source)
        self.census = Census(budget)
        self.files: list[Record] = []
        self._admit_all(Meter(budget.rules, budget.archive_size), omitted)

    def entries(self) -> Iterator[Entry]:
        """Yield the files in the order they stand; each one's chunks are valid until the next is asked for.

        Raises:
            ArchiveFailed: while the chunks are read: `archive-damaged`, `archive-unsafe`.
        """
        for record in self.files:
            yield Entry(record.path, record.size, self._content(record))

    def _admit_all(self, claimed: Meter, omitted: Omissions) -> None:
        problems: list[Problem] = []
        everything = []
        for record in records(self._source, self._directory):
            everything.append(record)
            try:
                self._admit(record, omitted)
                claimed.add(record.size, record.name)
            except ArchiveFailed as found:
                if found.code == "archive-limit":
                    raise
                problems += found.problems
        overlapping = {id(record) for record in _overlapping(everything, self._directory.start)}
        problems += [
            Problem(Kind.OVERLAP, record.name, "runs into what stands behind it")
            for record in everything
            if id(record) in overlapping
        ]
        omitted.add_all(problems)
        self.files = [record for record in self.files if id(record) not in overlapping]
        self.files.sort(key=lambda record: record.offset)

    def _admit(self, record: Record, omitted: Omissions) -> None:
        record.path = self.census.admit(record.name, record.is_directory)
        kind = stat.S_IFMT(record.mode)
        if kind == stat.S_IFLNK:
            raise flaw(Kind.SYMLINK, record.name, "a symbolic link")
        if kind == stat.S_IFIFO and record.size:
            omitted.notice(Kind.SPECIAL_FILE, record.name, "has the mode of a FIFO and content: it is taken for a file")
        elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise flaw(Kind.SPECIAL_FILE, record.name, "neither a file nor a directory")
        if record.is_encrypted:
            raise flaw(Kind.ENCRYPTED, record.name, "is encrypted")
        if record.method not in METHODS or record.is_patch:
            raise flaw(Kind.METHOD, record.name, f"compression method {record.method} is not supported")
        if record.is_directory and record.size:
            raise flaw(Kind.BAD_SIZE, record.name, "a directory that holds data")
        if not record.is_directory:
            self.files.append(record)

    def _content(self, record: Record) -> Iterator[Chunk]:
        produced, crc = 0, 0
        try:
            start = self._start(record)
            for chunk in self._unpacked(record, start):
                produced += len(chunk)
                if produced > record.size:
                    raise flaw(Kind.BAD_SIZE, record.path, f"gives more than its {record.size} bytes")
                crc = isal_zlib.crc32(chunk, crc)
                yield chunk
        except ArchiveFailed as found:
            raise found.within(record.path) from found
        _check(record, produced, crc)
        self._check_descriptor(record, start + record.packed)

    def _unpacked(self, record: Record, start: int) -> Iterator[Chunk]:
        if not record.packed and not record.size:
            return iter(())
        return METHODS[record.method](self._source.chunks(start, record.packed))

    def _start(self, record: Record) -> int:
        """Compare the local header with the directory and return the offset of the content."""
        head = self._source.read_at(record.offset, _LOCAL.size + len(record.raw) + _USUAL_EXTRA)
        if len(head) < _LOCAL.size or head[:4] != b"PK\3\4":
            raise flaw(Kind.BAD_HEADER, record.path, "its local header is damaged")
        _, _, flags, method, _, _, crc, packed, size, name_size, extra_size = _LOCAL.unpack_from(head)
        rest = head[_LOCAL.size : _LOCAL.size + name_size + extra_size]
        if len(rest) < name_size + extra_size:
            rest = self._source.read_at(record.offset + _LOCAL.size, name_size + extra_size)
        known = {"size": size, "packed": packed}
        wanted = [name for name, value in known.items() if value == NO_32]
        known |= zip64_values(rest[name_size:], wanted)
        there = (rest[:name_size], method, flags & 1)
        if there != (record.raw, record.method, record.flags & 1):
            raise flaw(Kind.HEADER_DISAGREEMENT, record.path, "its local header names something else")
        facts = (crc, known["packed"], known["size"])
        if facts != (record.crc, record.packed, record.size) and not record.has_descriptor:
            raise flaw(Kind.HEADER_DISAGREEMENT, record.path, "its local header tells another size or CRC")
        start: int = record.offset + _LOCAL.size + name_size + extra_size
        if start + record.packed > record.end:
            raise flaw(Kind.OVERLAP, record.path, "runs into what stands behind it")
        return start

    def _check_descriptor(self, record: Record, at: int) -> None:
        if not record.has_descriptor:
            return
        found = self._source.read_at(at, _DESCRIPTOR_BYTES)
        facts = (record.crc, record.packed, record.size)
        spellings = [mark + form.pack(*facts) for mark in (b"", _DESCRIPTOR_MARK) for form in _descriptors(record)]
        if not any(found.startswith(spelling) for spelling in spellings):
            raise flaw(Kind.HEADER_DISAGREEMENT, record.path, "its data descriptor tells another size or CRC")


def _descriptors(record: Record) -> list[struct.Struct]:
    return [_DESCRIPTOR64] if max(record.packed, record.size) > NO_32 else [_DESCRIPTOR, _DESCRIPTOR64]


def _overlapping(everything: list[Record], directory_start: int) -> Iterator[Record]:
    """Tell each record where it ends at the latest, and yield those that go further."""
    everything.sort(key=lambda record: record.offset)
    ends = [record.offset for record in everything[1:]] + [directory_start]
    for record, end in zip(everything, ends, strict=False):
        record.end = end
        if record.offset + _LOCAL.size + len(record.raw) + record.packed > end:
            yield record


def _check(record: Record, produced: int, crc: int) -> None:
    if produced != record.size:
        raise flaw(Kind.BAD_SIZE, record.path, f"gives {produced} bytes, not {record.size}")
    if crc != record.crc:
        raise flaw(Kind.BAD_CHECKSUM, record.path, "its CRC-32 is wrong")
