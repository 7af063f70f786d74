"""What an archive may hold: the limits, and the problems for which it is refused as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from typing import Literal, Self

from shared.errors import ItemFailed
from shared.settings import ArchiveSettings

Layout = Literal["flat", "tree"]
"""How the members of an archive lie below its prefix."""

WantedLayout = Literal["auto", "flat", "tree"]
"""What may be asked for: `auto` is flat where that loses no file, else tree."""

OnUnsafe = Literal["fail", "skip"]

KEY_BYTES = 1024
"""Longest key of S3, in bytes of UTF-8: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html."""

SEGMENT_BYTES = 255
"""Longest segment of a key that SeaweedFS, and every file system behind an S3 gateway, can hold."""

METADATA_BYTES = 2**20
"""Largest extended header (pax, long name) of one tar member."""

RATIO_FLOOR = 256 * 2**20
"""Bytes out up to which the ratio is not looked at: small texts compress very well."""

COLLISION = "name-collision"
"""The code of two members with different content and one place; in the layout `tree` there are none."""

_LISTED = 20
_SHOWN = 200


class Kind(StrEnum):
    """The kinds of problem. Public: they stand in reasons and in manifests."""

    ABSOLUTE_PATH = "absolute-path"
    PATH_TRAVERSAL = "path-traversal"
    DRIVE_LETTER = "drive-letter"
    BACKSLASH = "backslash"
    CONTROL_CHARACTER = "control-character"
    BAD_NAME = "bad-name"
    NAME_TOO_LONG = "name-too-long"
    SYMLINK = "symlink"
    HARD_LINK = "hard-link"
    SPECIAL_FILE = "special-file"
    SPARSE = "sparse"
    DUPLICATE_NAME = "duplicate-name"
    FILE_AND_DIRECTORY = "file-and-directory"
    OVERLAP = "overlap"
    HEADER_DISAGREEMENT = "header-disagreement"
    TRUNCATED = "truncated"
    BAD_HEADER = "bad-header"
    BAD_DATA = "bad-data"
    BAD_SIZE = "bad-size"
    BAD_CHECKSUM = "bad-checksum"
    TRAILING_DATA = "trailing-data"
    TOO_MANY_MEMBERS = "too-many-members"
    TOO_MANY_BYTES = "too-many-bytes"
    RATIO = "ratio"
    DEPTH = "depth"
    SPOOL = "spool"
    METADATA = "metadata"
    ENCRYPTED = "encrypted"
    METHOD = "method"
    EMPTY = "empty"
    TYPE_MISMATCH = "type-mismatch"
    NAME_COLLISION = "name-collision"
    MERGED = "merged"
    NESTED_ZIP = "nested-zip"
    APPLE_DOUBLE = "apple-double"
    NO_SUCH_MEMBER = "no-such-member"
    STRIPPED = "stripped"


_CODES = {
    "archive-damaged": (
        Kind.TRUNCATED,
        Kind.BAD_HEADER,
        Kind.BAD_DATA,
        Kind.BAD_SIZE,
        Kind.BAD_CHECKSUM,
        Kind.TRAILING_DATA,
    ),
    "archive-limit": (Kind.TOO_MANY_MEMBERS, Kind.TOO_MANY_BYTES, Kind.RATIO, Kind.DEPTH, Kind.SPOOL, Kind.METADATA),
    "archive-encrypted": (Kind.ENCRYPTED,),
    "archive-method": (Kind.METHOD,),
    "archive-empty": (Kind.EMPTY,),
    "archive-type-mismatch": (Kind.TYPE_MISMATCH,),
    COLLISION: (Kind.NAME_COLLISION,),
    "no-such-member": (Kind.NO_SUCH_MEMBER,),
}
_CODE_OF = {kind: code for code, kinds in _CODES.items() for kind in kinds}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a member, or (with an empty path) about the archive as a whole.

    Attributes:
        kind: what it is.
        path: of the member; within a nested archive `outer.tar/inner`.
        detail: a few words for the operator.
    """

    kind: Kind
    path: str
    detail: str

    @property
    def code(self) -> str:
        """The code of the error that this problem leads to."""
        return _CODE_OF.get(self.kind, "archive-unsafe")

    def within(self, member: str) -> "Problem":
        """Return the same problem with its path told from outside the nested archive in which it was found."""
        if not member or f"{self.path}/".startswith(f"{member}/"):
            return self
        return replace(self, path=f"{member}/{self.path}".rstrip("/"))

    def __str__(self) -> str:
        path = self.path if len(self.path) <= _SHOWN else self.path[:_SHOWN] + "..."
        return f"{self.kind.value} {path!r} ({self.detail})" if path else f"{self.kind.value} ({self.detail})"


class ArchiveFailed(ItemFailed):
    """The archive is refused as a whole; it stays where it is. The first problem decides the code.

    Attributes:
        problems: the first of them, at most 20.
        total: how many there are.
        archive: its href, once known.
    """

    def __init__(
        self,
        problems: Sequence[Problem | tuple[str, str, str]],
        total: int | None = None,
        archive: str = "the archive",
    ) -> None:
        known = (each if isinstance(each, Problem) else Problem(Kind(each[0]), *each[1:]) for each in problems)
        self.problems = tuple(islice(known, _LISTED))
        self.total = len(problems) if total is None else total
        self.archive = archive
        more = self.total - len(self.problems)
        listed = "; ".join(map(str, self.problems)) + (f"; and {more} more" if more else "")
        super().__init__(self.problems[0].code, f"{archive} is refused: {listed}")
        # Plain values: a Celery result carries them as JSON and makes the error again from them.
        self.args = ([(each.kind.value, each.path, each.detail) for each in self.problems], self.total, archive)

    @property
    def is_of_another_type(self) -> bool:
        """Whether the archive itself, and none within it, has other content than its name says."""
        return any(each.kind is Kind.TYPE_MISMATCH and not each.path for each in self.problems)

    def about(self, archive: str) -> "ArchiveFailed":
        """Return the same error with the archive named in its reason."""
        return ArchiveFailed(self.problems, self.total, archive)

    def within(self, member: str) -> "ArchiveFailed":
        """Return the same error with its paths told from outside the member in which it was found."""
        return ArchiveFailed([problem.within(member) for problem in self.problems], self.total)


def flaw(kind: Kind, path: str, detail: str) -> ArchiveFailed:
    """Return the error for one problem."""
    return ArchiveFailed([Problem(kind, path, detail)])


@dataclass(frozen=True)
class Choice:
    """What a caller chooses for the archives of one request; see `Rules`. The defaults choose nothing."""

    layout: WantedLayout | None = None
    members: tuple[str, ...] | None = None
    strip: int = 0
    dbl: bool = False


AS_SET = Choice()
"""Nothing is chosen: the archives are expanded as the settings say."""


@dataclass(frozen=True)
class Rules:
    """How archives are expanded.

    Attributes:
        layout: `flat` keeps the file names only, `tree` the relative paths; `auto` is flat unless names collide.
        max_members: files and directories in one archive, nested ones counted.
        max_bytes: that one archive may expand to.
        max_ratio: bytes out per byte of the archive, once past `RATIO_FLOOR`.
        max_depth: archives within archives.
        max_spool: bytes of nested zips that may be in temporary files at once.
        on_unsafe: `fail` refuses an archive for one dangerous or damaged member, `skip` leaves that one out.
        nested_zip: expand a zip within an archive.
        memory: bytes of the archive and of its members that may be held at once.
        members: patterns of the files that are taken (see `members.py`), or None for all.
        strip: leading folders that are removed from the path of each file of the archive, not of nested ones. It
            implies the layout `tree`. What has no more segments than that is not taken, as tar has it.
        dbl: expand a .DBL within an archive, if its content is a tar or a tgz.
    """

    layout: WantedLayout = "auto"
    max_members: int = 200_000
    max_bytes: int = 64 * 2**30
    max_ratio: float = 200
    max_depth: int = 8
    max_spool: int = 2**30
    on_unsafe: OnUnsafe = "fail"
    nested_zip: bool = True
    memory: int = 128 * 2**20
    members: tuple[str, ...] | None = None
    strip: int = 0
    dbl: bool = False

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The layouts to try, in their order: the next one where names collide in the one before."""
        if self.strip:
            return ("tree",)
        return ("flat", "tree") if self.layout == "auto" else (self.layout,)

    def with_choice(self, choice: Choice) -> Self:
        """Return the same rules with what a caller has chosen."""
        layout = self.layout if choice.layout is None else choice.layout
        return replace(self, layout=layout, members=choice.members, strip=choice.strip, dbl=choice.dbl)

    @classmethod
    def from_settings(cls, settings: ArchiveSettings) -> Self:
        """Return the rules that the settings state."""
        return cls(
            layout=settings.archive_layout,
            max_members=settings.archive_max_members,
            max_bytes=settings.archive_max_bytes,
            max_ratio=settings.archive_max_ratio,
            max_depth=settings.archive_max_depth,
            max_spool=settings.archive_max_spool,
            on_unsafe=settings.archive_on_unsafe,
            nested_zip=settings.archive_nested_zip,
            memory=settings.archive_memory,
        )
