"""Paths inside archives: what is refused, and where a member goes below the prefix."""

import re
from dataclasses import dataclass, field
from posixpath import basename, dirname

from shared.archives.budget import Budget
from shared.archives.names import expanded_name
from shared.archives.rules import KEY_BYTES, SEGMENT_BYTES, Kind, Layout, flaw

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MACOS = "__MACOSX"
_DRIVE = re.compile(r"[A-Za-z]:")


def safe_path(raw: str) -> str:
    """Return a member's path without `.` and empty segments; empty for the archive's own root.

    Raises:
        ArchiveFailed: `archive-unsafe`, the path could lead outside, or cannot be the key of an object.
    """
    _refuse_characters(raw)
    if raw.startswith("/"):
        raise flaw(Kind.ABSOLUTE_PATH, raw, "starts with a slash")
    if _DRIVE.match(raw):
        raise flaw(Kind.DRIVE_LETTER, raw, "starts with a drive letter")
    segments = [segment for segment in raw.split("/") if segment not in ("", ".")]
    if ".." in segments:
        raise flaw(Kind.PATH_TRAVERSAL, raw, "holds a .. segment")
    if any(len(segment.encode()) > SEGMENT_BYTES for segment in segments):
        raise flaw(Kind.NAME_TOO_LONG, raw, f"a segment of more than {SEGMENT_BYTES} bytes")
    return "/".join(segments)


def _refuse_characters(raw: str) -> None:
    try:
        raw.encode()
    except UnicodeEncodeError:
        raise flaw(Kind.BAD_NAME, raw.encode(errors="backslashreplace").decode(), "is no UTF-8") from None
    if _CONTROL.search(raw):
        raise flaw(Kind.CONTROL_CHARACTER, raw, "holds a control character")
    if "\\" in raw:
        raise flaw(Kind.BACKSLASH, raw, "holds a backslash")


@dataclass
class Shape:
    """A set of paths in which no file is also a directory."""

    files: set[str] = field(default_factory=set)
    directories: set[str] = field(default_factory=set)

    def add_file(self, path: str) -> None:
        """Add a file and the directories above it.

        Raises:
            ArchiveFailed: `archive-unsafe`.
        """
        if path in self.directories:
            raise flaw(Kind.FILE_AND_DIRECTORY, path, "is both a file and a directory")
        self.files.add(path)
        self.add_directory(dirname(path))

    def add_directory(self, path: str) -> None:
        """Add a directory and those above it.

        Raises:
            ArchiveFailed: `archive-unsafe`.
        """
        while path and path not in self.directories:
            if path in self.files:
                raise flaw(Kind.FILE_AND_DIRECTORY, path, "is both a file and a directory")
            self.directories.add(path)
            path = dirname(path)


@dataclass
class Census:
    """The entries of one archive as they come: each path once, and as one thing only."""

    budget: Budget
    shape: Shape = field(default_factory=Shape)

    def admit(self, raw: str, directory: bool) -> str:
        """Count an entry and return its safe path.

        Raises:
            ArchiveFailed: `archive-unsafe`, `archive-limit`.
        """
        self.budget.count_member(raw)
        path = safe_path(raw)
        if directory:
            self.shape.add_directory(path)
            return path
        if not path:
            raise flaw(Kind.BAD_NAME, raw, "a file without a name")
        if path in self.shape.files:
            raise flaw(Kind.DUPLICATE_NAME, raw, "is there more than once")
        self.shape.add_file(path)
        return path

    def only_directory(self) -> str:
        """Return the one top-level entry if it is a directory, with a slash; else an empty string.

        What macOS adds beside it, its AppleDouble files and the folder of these, does not count.
        """
        tops = {path.partition("/")[0] for path in self.shape.files | self.shape.directories}
        tops = {top for top in tops if top != _MACOS and not top.startswith("._")}
        return f"{tops.pop()}/" if len(tops) == 1 and not tops & self.shape.files else ""


@dataclass(frozen=True)
class Placement:
    """Where the members of one archive go below the prefix.

    Attributes:
        layout: `flat` or `tree`.
        room: bytes that are left of a key below the prefix.
        base: where this archive's own content begins: empty, or a path with a slash.
        stepped: the top-level directory that is stepped into, with a slash; or empty.
        strip: leading folders that are removed from each path.
    """

    layout: Layout
    room: int
    base: str = ""
    stepped: str = ""
    strip: int = 0

    @classmethod
    def below(cls, key: str, layout: Layout, stepped: str = "", strip: int = 0) -> "Placement":
        """Return the placement below the prefix with this key."""
        return cls(layout, KEY_BYTES - len(key.encode()), "", stepped, strip)

    def keeps(self, path: str) -> bool:
        """Whether anything is left of a path once its leading folders are removed."""
        return path.count("/") >= self.strip

    def target(self, path: str) -> str:
        """Return the path below the prefix of a member.

        Raises:
            ArchiveFailed: `archive-unsafe`, its key would be too long.
        """
        if self.layout == "flat":
            target = basename(path)
        else:
            target = self.base + path.removeprefix(self.stepped).split("/", self.strip)[-1]
        if len(target.encode()) > self.room:
            raise flaw(Kind.NAME_TOO_LONG, path, f"a key of more than {KEY_BYTES} bytes")
        return target

    def nested(self, path: str) -> "Placement":
        """Return the placement of the content of a nested archive: where that was, below its expanded name."""
        target = self.target(path)
        base = "" if self.layout == "flat" else f"{expanded_name(target)}/"
        return Placement(self.layout, self.room, base)
