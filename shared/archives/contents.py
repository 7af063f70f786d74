"""What an archive comes to: the files to write, nested archives piped through, each with its place below the prefix."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shared.archives.names import Format, format_of, is_archive
from shared.archives.paths import Census, Placement, Shape
from shared.archives.reading import ArchiveReader
from shared.archives.rules import ArchiveFailed, Budget, Findings, Kind, Problem, Rules, flaw
from shared.archives.streams import ByteStream, Chunk, Entry, gunzip
from shared.archives.tars import TarArchive, is_header
from shared.archives.zip_directory import Record
from shared.archives.zips import ZipArchive

_HEAD_BYTES = 512
_MAGIC = {
    b"PK\3\4": "zip",
    b"PK\5\6": "zip",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_CONTENT = {Format.ZIP: "zip", Format.TGZ: "gzip", Format.TAR: "tar"}


@dataclass(slots=True)
class Placed:
    """One file to write.

    Attributes:
        target: where it goes, below the prefix.
        source: its path in the archive; within a nested archive `outer.tar/inner`.
        size: in bytes; what the chunks give, or they raise.
        chunks: valid until the next file is asked for.
    """

    target: str
    source: str
    size: int
    chunks: Iterator[Chunk]


class Contents:
    """The content of an archive, checked as far as that goes without writing anything.

    A zip is checked by its whole directory. A tar has none: in the layout `tree` it is read once more beforehand, to
    learn whether it has exactly one top-level directory; in the layout `flat` it is checked as it streams.

    Attributes:
        noticed: what was let pass, for the manifest.
    """

    def __init__(self, reader: ArchiveReader, key: str, prefix_key: str, rules: Rules) -> None:
        """Check the archive with this key for being expanded below the prefix with that key.

        Raises:
            ArchiveFailed: any of its codes.
        """
        self.noticed: list[Problem] = []
        self._reader = reader
        self._format = format_of(key)
        self._rules = rules
        self._targets = Shape()
        self._budget = Budget(rules, reader.size)
        _check_type(reader.read_at(0, _HEAD_BYTES), self._format, "")
        self._zip = ZipArchive(reader, self._budget) if self._format is Format.ZIP else None
        stepped = self._census().only_directory() if rules.layout == "tree" else ""
        self._placement = Placement.below(prefix_key, rules.layout, stepped)
        if self._zip is not None:
            self._foresee(self._zip.files)

    def files(self) -> Iterator[Placed]:
        """Yield the files to write, once, in the order of the archive.

        Raises:
            ArchiveFailed: any of its codes, between files or while their chunks are read.
        """
        source = self._zip or self._tar(self._budget)
        empty = True
        for placed in self._walk(source.entries(), self._placement, 0, ""):
            empty = False
            yield placed
        if empty:
            raise flaw(Kind.EMPTY, "", "it holds no file")

    def _census(self) -> Census:
        if self._zip is not None:
            return self._zip.census
        ahead = self._tar(Budget(self._rules, self._reader.size))
        for _ in ahead.entries():
            pass
        return ahead.census

    def _tar(self, budget: Budget) -> TarArchive:
        chunks = self._reader.chunks(0, self._reader.size)
        return TarArchive(_untied(chunks, self._format, ""), Census(budget))

    def _foresee(self, files: list[Record]) -> None:
        """Find, by size and CRC, what would collide or have too long a key, before anything is written."""
        findings = Findings()
        first: dict[str, Record] = {}
        for record in files:
            try:
                target = self._placement.target(record.path)
                known = first.setdefault(target, record)
                if (known.size, known.crc) != (record.size, record.crc) and not _is_nested(record.path):
                    raise collision(target, known.path, record.path)
            except ArchiveFailed as found:
                findings.add(found)
        findings.raise_if_any()

    def _walk(self, entries: Iterator[Entry], placement: Placement, depth: int, around: str) -> Iterator[Placed]:
        for entry in entries:
            source = f"{around}/{entry.path}" if around else entry.path
            if _is_nested(entry.path):
                yield from self._expanded(entry, placement.nested(entry.path), depth + 1, source)
            else:
                yield self._placed(entry, placement, around, source)

    def _expanded(self, entry: Entry, placement: Placement, depth: int, source: str) -> Iterator[Placed]:
        try:
            chunks = self._budget.enter(depth, source).over(entry.chunks, source)
            nested = TarArchive(_untied(chunks, format_of(entry.path), source), Census(self._budget))
            yield from self._walk(nested.entries(), placement, depth, source)
        except ArchiveFailed as found:
            raise found.within(source) from found

    def _placed(self, entry: Entry, placement: Placement, around: str, source: str) -> Placed:
        if is_archive(entry.path):
            self.noticed.append(Problem(Kind.NESTED_ZIP, source, "is kept as a file"))
        target = placement.target(entry.path)
        if self._rules.layout == "tree":
            self._targets.add_file(target)
        return Placed(target, source, entry.size, self._counted(entry, around, source))

    def _counted(self, entry: Entry, around: str, source: str) -> Iterator[Chunk]:
        try:
            yield from self._budget.output.over(entry.chunks, source)
        except ArchiveFailed as found:
            raise (found.within(around) if around else found) from found


def collision(target: str, first: str, second: str) -> ArchiveFailed:
    """Return the error for two members with different content and one place."""
    return flaw(Kind.NAME_COLLISION, second, f"and {first!r} would both be {target!r}; layout=tree keeps both")


def _is_nested(path: str) -> bool:
    return is_archive(path) and format_of(path) is not Format.ZIP


def _untied(chunks: Iterable[Chunk], form: Format, path: str) -> ByteStream:
    """Return the tar within a .tar or .tgz, whose content must be what its name says."""
    stream = ByteStream(chunks)
    _check_type(stream.peek(_HEAD_BYTES), form, path)
    return ByteStream(gunzip(stream.rest())) if form is Format.TGZ else stream


def _check_type(head: bytes, form: Format, path: str) -> None:
    found = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
    if found is None and len(head) == _HEAD_BYTES and is_header(head):
        found = "tar"
    if found is None:
        raise flaw(Kind.BAD_HEADER, path, "begins like no archive that is known")
    if found != _CONTENT[form]:
        raise flaw(Kind.TYPE_MISMATCH, path, f"has the name of a {form.value} and the content of a {found}")
