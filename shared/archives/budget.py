"""What an archive may still come to: bytes, members and depth that are counted, and members that are left out."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from shared.archives.rules import RATIO_FLOOR, ArchiveFailed, Kind, Problem, Rules, flaw

_NEVER_LEFT_OUT = ("archive-limit", "name-collision")


class Omissions:
    """The members that are left out where the rules allow it (`on_unsafe`); where not, the first one is an error.

    And what is let pass, which an operator may want to know.

    A limit and a collision of names are errors in any case: leaving out one member would not make them good.

    Attributes:
        problems: one or more for each member that is left out, in the order they were found.
        noticed: what was let pass.
    """

    def __init__(self, rules: Rules, around: str = "", beside: "Omissions | None" = None) -> None:
        self.problems: list[Problem] = [] if beside is None else beside.problems
        self.noticed: list[Problem] = [] if beside is None else beside.noticed
        self._rules = rules
        self._around = around

    def within(self, member: str) -> "Omissions":
        """Return the same lists for the members of a nested archive, whose path is `member`."""
        return Omissions(self._rules, member, self)

    def notice(self, kind: Kind, path: str, detail: str) -> None:
        """Record something that is let pass."""
        self.noticed.append(Problem(kind, path, detail).within(self._around))

    def add(self, found: ArchiveFailed) -> None:
        """Leave out the member in which this was found.

        Raises:
            ArchiveFailed: that is not allowed.
        """
        self.add_all(found.problems)

    def add_all(self, found: Iterable[Problem]) -> None:
        """Leave out the members in which these were found.

        Raises:
            ArchiveFailed: with all of them, that is not allowed.
        """
        problems = [problem.within(self._around) for problem in found]
        self.problems += problems
        refused = [problem for problem in problems if problem.code in _NEVER_LEFT_OUT]
        if problems and (refused or self._rules.on_unsafe == "fail"):
            raise ArchiveFailed(problems if self._rules.on_unsafe == "fail" else refused)

    def told_with(self, failure: ArchiveFailed) -> ArchiveFailed:
        """Return the error that ends it all, with what was left out before: one may be the cause of the other."""
        before = [problem for problem in self.problems if problem not in failure.problems]
        return ArchiveFailed([*failure.problems, *before], max(failure.total, len(failure.problems) + len(before)))


@dataclass
class Meter:
    """Counts bytes that are produced and stops at the limits, whatever sizes were declared."""

    rules: Rules
    archive_size: int
    total: int = 0

    def add(self, size: int, path: str = "") -> None:
        """Count bytes that came out.

        Raises:
            ArchiveFailed: `archive-limit`, there are too many of them, in all or for the archive's size.
        """
        self.total += size
        if self.total > self.rules.max_bytes:
            raise flaw(Kind.TOO_MANY_BYTES, path, f"more than {self.rules.max_bytes} bytes come out")
        if self.total > RATIO_FLOOR and self.total > self.rules.max_ratio * self.archive_size:
            raise flaw(Kind.RATIO, path, f"more than {self.rules.max_ratio:g} bytes come out per byte of the archive")

    def over(self, chunks: Iterable[bytes | memoryview], path: str) -> Iterator[bytes | memoryview]:
        """Pass chunks on and count them."""
        for chunk in chunks:
            self.add(len(chunk), path)
            yield chunk


@dataclass
class Budget:
    """What one archive may still produce, nested archives counted in.

    Attributes:
        output: counts the bytes that become objects, and extended headers.
    """

    rules: Rules
    archive_size: int
    output: Meter = field(init=False)
    _members: int = 0
    _nested: dict[int, Meter] = field(init=False)

    def __post_init__(self) -> None:
        self.output = self._meter()
        self._nested = defaultdict(self._meter)

    def count_member(self, path: str) -> None:
        """Count an entry, be it a file or a directory.

        Raises:
            ArchiveFailed: `archive-limit`, there are too many.
        """
        self._members += 1
        if self._members > self.rules.max_members:
            raise flaw(Kind.TOO_MANY_MEMBERS, path, f"more than {self.rules.max_members} members")

    def enter(self, depth: int, path: str) -> Meter:
        """Return what counts the bytes of the archives that are nested `depth` deep, from 1 on.

        Raises:
            ArchiveFailed: `archive-limit`, that is too deep.
        """
        if depth > self.rules.max_depth:
            raise flaw(Kind.DEPTH, path, f"more than {self.rules.max_depth} archives within archives")
        return self._nested[depth]

    def _meter(self) -> Meter:
        return Meter(self.rules, self.archive_size)
