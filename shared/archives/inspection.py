"""Looks at an archive as an expansion would, and writes nothing: what would be written, and every problem."""

import hashlib
from dataclasses import replace

from pydantic import BaseModel, ConfigDict
from pydantic.dataclasses import dataclass

from shared.archives.contents import Contents, Placed, collision
from shared.archives.rules import COLLISION, ArchiveFailed, Kind, Layout, OnUnsafe, Problem, Rules, flaw
from shared.archives.sources import Source


@dataclass(frozen=True, slots=True)
class Inspected:
    """One file that would be written: its path below the prefix and in the archive, its size in bytes, its SHA-256."""

    path: str
    source: str
    size: int
    sha256: str


class Inspection(BaseModel):
    """What an expansion would come to.

    Attributes:
        members: what would be written, or would be but for the problems.
        size: of all members, in bytes.
        problems: everything for which members are left out, or the archive is refused.
        noticed: what would be let pass.
        refused: the archive would be refused under these rules.
        code: of the refusal, else empty.
        not_chosen: how many files would stay in the archive.
    """

    model_config = ConfigDict(frozen=True)

    layout: Layout
    on_unsafe: OnUnsafe
    members: tuple[Inspected, ...]
    size: int
    problems: tuple[Problem, ...]
    noticed: tuple[Problem, ...]
    refused: bool
    code: str
    not_chosen: int = 0


def inspect(source: Source, name: str, rules: Rules, prefix_key: str = "") -> Inspection:
    """Read an archive to its end through every check that an expansion makes.

    Args:
        source: the archive.
        name: of the archive, or its key.
        rules: layout and limits.
        prefix_key: key of the prefix that would receive the members.

    Raises:
        UnsupportedArchive: the name is that of no archive.
    """
    for layout in rules.layouts:
        look = _Look(source, name, prefix_key, rules, layout)
        failure = look.failure()
        if failure is None or failure.code != COLLISION:
            break
    problems = look.contents.omitted.problems
    if failure is not None:
        problems = [*problems, *(problem for problem in failure.problems if problem not in problems)]
    refused = failure is not None or (bool(problems) and rules.on_unsafe == "fail")
    members = tuple(look.members.values())
    return Inspection(
        layout=layout,
        on_unsafe=rules.on_unsafe,
        members=members,
        size=sum(member.size for member in members),
        problems=tuple(problems),
        noticed=(*look.contents.omitted.noticed, *look.merged),
        refused=refused,
        code=(failure.code if failure is not None else problems[0].code) if refused else "",
        not_chosen=look.contents.selection.left,
    )


class _Look:
    """Reads everything and goes on after a problem where that is possible at all."""

    def __init__(self, source: Source, name: str, prefix_key: str, rules: Rules, layout: Layout) -> None:
        self.contents = Contents(source, name, prefix_key, replace(rules, on_unsafe="skip"), layout)
        self.members: dict[str, Inspected] = {}
        self.merged: list[Problem] = []

    def failure(self) -> ArchiveFailed | None:
        """Read all; returns what nothing could be read behind, or what is refused under any rules."""
        try:
            for file in self.contents.files():
                try:
                    self._read(file)
                except ArchiveFailed as found:
                    self.contents.omitted.add(found)
            if not self.members:
                return flaw(Kind.EMPTY, "", "it holds no file that can be kept")
        except ArchiveFailed as found:
            return found
        return None

    def _read(self, file: Placed) -> None:
        sha256, size = hashlib.sha256(), 0
        for chunk in file.chunks:
            sha256.update(chunk)
            size += len(chunk)
        found = Inspected(file.target, file.source, size, sha256.hexdigest())
        first = self.members.setdefault(file.target, found)
        if first is found:
            return
        if (first.size, first.sha256) != (found.size, found.sha256):
            raise collision(file.target, first.source, found.source)
        self.merged.append(Problem(Kind.MERGED, file.source, f"has the content of {first.source!r}"))
