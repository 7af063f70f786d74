"""Which files of an archive are expanded: patterns of a caller, matched in bounded time whatever they hold."""

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate
from functools import lru_cache
from posixpath import basename
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

from shared.archives.rules import ArchiveFailed, Kind, flaw

EVERYTHING: Final = "**"

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_SEGMENTS: Final = 64
_DEEPEST: Final = 1024
"""Folders above a file that is matched: no key of S3 is as deep. It bounds the time that a hostile archive costs."""
_EXAMPLES: Final = 5


def _pattern(text: str) -> str:
    segments = text.removesuffix("/").split("/")
    if not {"", ".", ".."}.isdisjoint(segments):
        raise ValueError("is no path in an archive: it has an empty segment, . or ..")
    if _CONTROL.search(text):
        raise ValueError("has a backslash or a control character, which no member that is expanded has")
    if len(segments) > _SEGMENTS:
        raise ValueError(f"has more than {_SEGMENTS} segments")
    return text


MemberPattern = Annotated[str, StringConstraints(min_length=1, max_length=512), AfterValidator(_pattern)]
Members = Annotated[tuple[MemberPattern, ...], Field(min_length=1, max_length=100)]
"""Patterns of the files of an archive that are expanded.

`*`, `?` and `[...]` match within a segment, `**` any number of segments; letter case counts. A pattern without a slash
is compared with the name of a file, another one with its whole path, which within a nested archive is
`outer.tar/inner`. One that ends in a slash takes all below that folder, and one that matches a nested archive all of
its content.
"""

Strip = Annotated[int, Field(ge=0, le=_SEGMENTS)]
"""Leading folders that are removed from the path of each file, as by tar's `--strip-components`."""


class Selection:
    """Which files of one archive are taken, and what of the patterns has matched so far.

    Attributes:
        left: how many files are not taken.
    """

    def __init__(self, wanted: Sequence[str] | None, earlier: Sequence[str] = ()) -> None:
        """Take what the patterns match.

        Args:
            wanted: of the caller; None takes every file.
            earlier: of what was expanded of this archive before, and is there still.
        """
        self.left = 0
        self._wanted = wanted
        self._earlier = earlier
        self._matched: set[str] = set()
        self._examples: list[str] = []

    def matches(self, path: str) -> bool:
        """Say whether a file, or all of a nested archive, is taken."""
        if self._wanted is None:
            return True
        found = [pattern for pattern in self._wanted if _matcher(pattern)(path)]
        self._matched.update(found)
        return bool(found) or any(_matcher(pattern)(path) for pattern in self._earlier)

    def leave(self, path: str) -> None:
        """Count a file that is not taken."""
        self.left += 1
        if len(self._examples) < _EXAMPLES:
            self._examples.append(path)

    @property
    def unmatched(self) -> list[str]:
        """The patterns of the caller that have matched nothing."""
        return [pattern for pattern in self._wanted or () if pattern not in self._matched]

    def require_match(self) -> None:
        """Make sure, once the archive is read, that the caller's patterns have matched something.

        Raises:
            ArchiveFailed: `no-such-member`.
        """
        if self._wanted is not None and not self._matched:
            raise self._nothing(self._wanted)

    def _nothing(self, wanted: Sequence[str]) -> ArchiveFailed:
        asked = ", ".join(map(repr, wanted[:_EXAMPLES])) + (", ..." if len(wanted) > _EXAMPLES else "")
        files = f"it has {', '.join(self._examples)}" if self._examples else "it has no other files"
        more = self.left - len(self._examples)
        files += f", {more} more" if more > 0 else ""
        return flaw(Kind.NO_SUCH_MEMBER, "", f"no file matches {asked}; {files}")


@lru_cache(maxsize=256)
def _matcher(pattern: str) -> Callable[[str], bool]:
    """Return what says whether a path matches. No part of it backtracks without a bound.

    Regular expressions that `fnmatch` makes do not either: they take each `*` as far as the next fixed part, once.
    """
    whole = f"{pattern}{EVERYTHING}" if pattern.endswith("/") else pattern
    segments = [None if segment == EVERYTHING else re.compile(translate(segment)) for segment in whole.split("/")]
    if len(segments) == 1:
        only = segments[0]
        return lambda path: only is None or only.match(basename(path)) is not None
    return lambda path: path.count("/") < _DEEPEST and _match(segments, path.split("/"))


def _match(pattern: Sequence[re.Pattern[str] | None], path: Sequence[str]) -> bool:
    """Match segments; None is any number of them. Only the last None is gone back to: n * m steps at most."""
    at = done = 0
    resume: tuple[int, int] | None = None
    while done < len(path):
        segment = pattern[at] if at < len(pattern) else _NONE
        if segment is None:
            resume = (at + 1, done)
            at += 1
        elif segment.match(path[done]):
            at, done = at + 1, done + 1
        elif resume is not None:
            at, done = resume[0], resume[1] + 1
            resume = (at, done)
        else:
            return False
    return all(segment is None for segment in pattern[at:])


_NONE: Final = re.compile(r"(?!)")


def union_of(*selections: Iterable[str] | None) -> tuple[str, ...] | None:
    """Return the patterns of all selections in their order, each once; None, which is every file, if one of them is."""
    union: dict[str, None] = {}
    for selection in selections:
        if selection is None:
            return None
        union |= dict.fromkeys(selection)
    return tuple(union)
