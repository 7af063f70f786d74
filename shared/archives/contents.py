"""What an archive comes to: the files to write, nested archives piped through, each with its place below the prefix."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from posixpath import basename
from tempfile import SpooledTemporaryFile

from shared.archives.budget import Budget, Omissions
from shared.archives.members import Selection
from shared.archives.names import Format, expanded_name, format_of, is_archive, is_data_block
from shared.archives.paths import Census, Placement, Shape
from shared.archives.rules import ArchiveFailed, Kind, Layout, Problem, Rules, flaw
from shared.archives.sources import FileSource, Source
from shared.archives.streams import ByteStream, Chunk, Entry, gunzip
from shared.archives.tars import TarArchive, is_header
from shared.archives.zip_directory import Record
from shared.archives.zips import ZipArchive

_HEAD_BYTES = 512
_BEGINNING = 8192
_GZIP = b"\x1f\x8b"
_SPOOL_IN_MEMORY = 8 * 2**20
_MAGIC = {
    b"PK\3\4": "zip",
    b"PK\5\6": "zip",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_APPLE_DOUBLE = b"\0\5\x16\7"
_CONTENT = {Format.ZIP: "zip", Format.TGZ: "gzip", Format.TAR: "tar"}


Archive = ZipArchive | TarArchive


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
        omitted: what was let pass, and what was left out where the rules allow that. Whoever reads the files adds
            those that he cannot read.
        selection: which files are taken, and what the patterns have matched so far.
    """

    def __init__(
        self,
        source: Source,
        key: str,
        prefix_key: str,
        rules: Rules,
        layout: Layout,
        earlier: Sequence[str] = (),
    ) -> None:
        """Check the archive with this key for being expanded below the prefix with that key, in this layout.

        What `earlier` patterns match is taken beside what the rules say.

        Raises:
            ArchiveFailed: any of its codes.
        """
        self.omitted = Omissions(rules)
        self.selection = Selection(rules.members, earlier)
        self._source = source
        self._format = format_of(key)
        self._prefix_key = prefix_key
        self._rules = rules
        self._layout = layout
        self._targets = Shape()
        self._budget = Budget(rules, source.size)
        self._spooled = 0

    def files(self) -> Iterator[Placed]:
        """Yield the files to write, once, in the order of the archive.

        Raises:
            ArchiveFailed: any of its codes, between files or while their chunks are read.
        """
        archive, placement = self._opened()
        return self._at_least_one(self._walk(archive, placement, 0, "", self.omitted))

    def _opened(self) -> tuple[Archive, Placement]:
        """Open the archive and check it as far as that goes without its members' data."""
        if self._format is Format.ZIP:
            _require_zip(self._source, "")
            archive = ZipArchive(self._source, self._budget, self.omitted)
            placement = self._placement(archive.census)
            self._require_distinct(placement, [record.path for record in archive.files])
            self._foresee(archive, placement)
            return archive, placement
        census, paths = self._seen_ahead() if self._layout == "tree" else (None, [])
        placement = self._placement(census)
        self._require_distinct(placement, paths)
        return self._tar(self._budget, self.omitted), placement

    def _placement(self, census: Census | None) -> Placement:
        if self._rules.strip:  # counted from the path in the archive, as by tar
            return Placement.below(self._prefix_key, self._layout, strip=self._rules.strip)
        stepped = census.only_directory() if census is not None and self._layout == "tree" else ""
        return Placement.below(self._prefix_key, self._layout, stepped)

    def _seen_ahead(self) -> tuple[Census, list[str]]:
        ahead = self._tar(Budget(self._rules, self._source.size), Omissions(self._rules))
        paths = [entry.path for entry in ahead.entries()]
        return ahead.census, paths

    def _require_distinct(self, placement: Placement, paths: Iterable[str]) -> None:
        """Make sure, before anything is written, that the paths differ once their leading folders are removed.

        The content of a nested archive goes below a folder, which must be its own.

        Raises:
            ArchiveFailed: `name-collision`.
        """
        if not placement.strip:
            return
        shape = Shape()
        first: dict[str, str] = {}
        for path in paths:
            nested = self._is_nested(path)
            if _may_be_apple_double(path) or not placement.keeps(path) or not (nested or self.selection.matches(path)):
                continue
            target = path.split("/", placement.strip)[-1]
            target = expanded_name(target) if nested else target
            if first.setdefault(target, path) != path:
                detail = f"and {first[target]!r} would both be {target!r} without their first {placement.strip} folders"
                raise flaw(Kind.NAME_COLLISION, path, detail)
            try:
                shape.add_file(target)
            except ArchiveFailed as found:
                detail = f"without its first {placement.strip} folders it {found.problems[0].detail}"
                raise flaw(Kind.NAME_COLLISION, path, detail) from found

    def _tar(self, budget: Budget, omitted: Omissions) -> TarArchive:
        chunks = self._source.chunks(0, self._source.size)
        return TarArchive(_untied(chunks, self._format, "", omitted), Census(budget), omitted)

    def _foresee(self, archive: ZipArchive, placement: Placement) -> None:
        """Find, by size and CRC, what would collide or have too long a key, before anything is written."""
        problems: list[Problem] = []
        first: dict[str, Record] = {}
        kept = []
        for record in archive.files:
            try:
                if not self._is_nested(record.path) and not self._is_taken(record.path, placement):
                    kept.append(record)
                    continue
                target = placement.target(record.path)
                if _may_be_apple_double(record.path):
                    kept.append(record)
                    continue
                known = first.setdefault(target, record)
                if (known.size, known.crc) != (record.size, record.crc) and not self._is_nested(record.path):
                    raise collision(target, known.path, record.path)
                kept.append(record)
            except ArchiveFailed as found:
                problems += found.problems
        self.omitted.add_all(problems)
        archive.files = kept

    def _at_least_one(self, files: Iterator[Placed]) -> Iterator[Placed]:
        empty = True
        for file in files:
            empty = False
            yield file
        self.selection.require_match()
        for pattern in self.selection.unmatched:
            self.omitted.notice(Kind.NO_SUCH_MEMBER, pattern, "matches no file")
        if empty:
            raise flaw(Kind.EMPTY, "", "it holds no file")

    def _walk(
        self, archive: Archive, placement: Placement, depth: int, around: str, omitted: Omissions, whole: bool = False
    ) -> Iterator[Placed]:
        """Yield the files of an archive; `whole` takes all of a nested one, whatever else the patterns say."""
        taken = self._taken(archive.entries(), placement, around, whole)
        for entry in _without_apple_doubles(taken, omitted):
            source = f"{around}/{entry.path}" if around else entry.path
            if self._is_nested(entry.path):
                chosen = whole or self.selection.matches(source)
                if _may_be_expanded(entry):
                    yield from self._expanded(entry, placement, depth + 1, source, omitted, chosen)
                    continue
                if not chosen:
                    self.selection.leave(source)
                    continue
            try:
                placed = self._placed(entry, placement, around, source)
            except ArchiveFailed as found:
                omitted.add(found)
                continue
            yield placed

    def _taken(self, entries: Iterable[Entry], placement: Placement, around: str, whole: bool) -> Iterator[Entry]:
        """Yield the files that are taken, and the nested archives that may have some."""
        for entry in entries:
            path = f"{around}/{entry.path}" if around else entry.path
            taken = whole or self._is_nested(entry.path) or self.selection.matches(path)
            if taken and placement.keeps(entry.path):
                yield entry
                continue
            self.selection.leave(path)
            if taken:
                detail = f"stays in the archive: its path has no more than the {placement.strip} segments to remove"
                self.omitted.notice(Kind.STRIPPED, path, detail)

    def _is_taken(self, path: str, placement: Placement) -> bool:
        return placement.keeps(path) and self.selection.matches(path)

    def _expanded(
        self, entry: Entry, placement: Placement, depth: int, source: str, omitted: Omissions, whole: bool
    ) -> Iterator[Placed]:
        inside = omitted.within(source)
        with ExitStack() as held:
            try:
                nested = self._opened_nested(entry, depth, source, inside, held)
                below = placement.nested(entry.path)
            except ArchiveFailed as found:
                omitted.add(found.within(source))
                return
            try:
                yield from self._walk(nested, below, depth, source, inside, whole)
            except ArchiveFailed as found:
                raise found.within(source) from found

    def _opened_nested(self, entry: Entry, depth: int, source: str, omitted: Omissions, held: ExitStack) -> Archive:
        form = format_of(entry.path)
        chunks = self._budget.enter(depth, source).over(entry.chunks, source)
        if form is not Format.ZIP:
            return TarArchive(_untied(chunks, form, source, omitted), Census(self._budget), omitted)
        spool = self._spool(chunks, source, held)
        _require_zip(spool, source)
        return ZipArchive(spool, self._budget, omitted)

    def _spool(self, chunks: Iterable[Chunk], source: str, held: ExitStack) -> FileSource:
        """Put a nested zip, whose directory stands at its end, into memory or a temporary file until `held` ends."""
        file = held.enter_context(SpooledTemporaryFile(_SPOOL_IN_MEMORY))  # noqa: SIM115 - that is what `held` is for
        before = self._spooled
        held.callback(setattr, self, "_spooled", before)
        for chunk in chunks:
            self._spooled += len(chunk)
            if self._spooled > self._rules.max_spool:
                raise flaw(Kind.SPOOL, source, f"more than {self._rules.max_spool} bytes of nested zips")
            file.write(chunk)
        return FileSource(file)

    def _is_nested(self, path: str) -> bool:
        if is_data_block(path):
            return self._rules.dbl
        return is_archive(path) and (self._rules.nested_zip or format_of(path) is not Format.ZIP)

    def _placed(self, entry: Entry, placement: Placement, around: str, source: str) -> Placed:
        if is_archive(entry.path):
            self.omitted.notice(Kind.NESTED_ZIP, source, "is kept as a file")
        target = placement.target(entry.path)
        if self._layout == "tree":
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


def _untied(chunks: Iterable[Chunk], form: Format, path: str, omitted: Omissions) -> ByteStream:
    """Return the tar within a .tar or .tgz: whether it is compressed its content says, and not its name."""
    stream = ByteStream(chunks)
    if form is Format.DBL and not _is_tar(stream.peek(_BEGINNING)):
        raise flaw(Kind.TYPE_MISMATCH, path, "is no archive: this .DBL is neither a tar nor a tgz")
    found = _type_of(stream.peek(_HEAD_BYTES), path)
    if found not in ("gzip", "tar"):
        raise _mismatch(form, found, path)
    if form is not Format.DBL and found != _CONTENT[form]:
        omitted.notice(Kind.TYPE_MISMATCH, path, f"has the name of a {form.value} and the content of a {found}")
    return ByteStream(gunzip(stream.rest())) if found == "gzip" else stream


def _require_zip(source: Source, path: str) -> None:
    found = _type_of(source.read_at(0, _HEAD_BYTES), path)
    if found != "zip":
        raise _mismatch(Format.ZIP, found, path)


def _type_of(head: bytes, path: str) -> str:
    found = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
    if found is None and len(head) == _HEAD_BYTES and is_header(head):
        found = "tar"
    if found is None:
        raise flaw(Kind.BAD_HEADER, path, "begins like no archive that is known")
    return found


def _may_be_expanded(entry: Entry) -> bool:
    """Whether a member with the name of an archive is to be expanded: a .DBL only if its content is one."""
    if not is_data_block(entry.path):
        return True
    stream = ByteStream(entry.chunks)
    found = _is_tar(stream.peek(_BEGINNING))
    entry.chunks = stream.rest()
    return found


def _is_tar(beginning: bytes) -> bool:
    """Whether this is the beginning of a tar that has a member, or of a tgz."""
    if beginning.startswith(_GZIP):
        produced = bytearray()
        with suppress(ArchiveFailed):  # it is only the beginning
            for chunk in gunzip([beginning]):
                produced += chunk
        beginning = bytes(produced)
    head = beginning[:_HEAD_BYTES]
    return len(head) == _HEAD_BYTES and head.strip(b"\0") != b"" and is_header(head)


def _mismatch(form: Format, found: str, path: str) -> ArchiveFailed:
    return flaw(Kind.TYPE_MISMATCH, path, f"has the name of a {form.value} and the content of a {found}")


def _without_apple_doubles(entries: Iterable[Entry], omitted: Omissions) -> Iterator[Entry]:
    """Yield the files but those in which macOS keeps what its file system knows of the others (RFC 1740)."""
    for entry in entries:
        if not _may_be_apple_double(entry.path):
            yield entry
            continue
        chunks = ByteStream(entry.chunks)
        if chunks.peek(len(_APPLE_DOUBLE)) == _APPLE_DOUBLE:
            omitted.notice(Kind.APPLE_DOUBLE, entry.path, "an AppleDouble file of macOS is set aside")
        else:
            yield Entry(entry.path, entry.size, chunks.rest())


def _may_be_apple_double(path: str) -> bool:
    return basename(path).startswith("._")
