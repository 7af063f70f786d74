"""What CQL2's operators mean, for those who judge items by a filter and for those who translate it."""

import re
from datetime import datetime
from typing import Final

from pydantic import JsonValue

from shared.errors import Rejected
from shared.times import OPEN_END, parse_instant

FLIPPED: Final = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
"""Each comparison, and the same one with its operands swapped."""

NEGATED: Final = {"=": "<>", "<>": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
"""Each comparison, and what holds where it does not."""

START: Final = 0
END: Final = 1

RELATIONS: Final[dict[str, tuple[tuple[int, str, int], ...]]] = {
    "t_after": ((START, ">", END),),
    "t_before": ((END, "<", START),),
    "t_contains": ((START, "<", START), (END, ">", END)),
    "t_during": ((START, ">", START), (END, "<", END)),
    "t_equals": ((START, "=", START), (END, "=", END)),
    "t_finishedBy": ((START, "<", START), (END, "=", END)),
    "t_finishes": ((START, ">", START), (END, "=", END)),
    "t_intersects": ((START, "<=", END), (END, ">=", START)),
    "t_meets": ((END, "=", START),),
    "t_metBy": ((START, "=", END),),
    "t_overlappedBy": ((START, ">", START), (START, "<", END), (END, ">", END)),
    "t_overlaps": ((START, "<", START), (END, ">", START), (END, "<", END)),
    "t_startedBy": ((START, "=", START), (END, ">", END)),
    "t_starts": ((START, "=", START), (END, "<", END)),
}
"""Each temporal operator as comparisons that must all hold: a bound of the first interval with one of the second.

As in OGC 21-065r2, and as pgSTAC computes them: `t_contains` and `t_during` are strict. `t_disjoint` is what
`t_intersects` is not. An instant is an interval whose bounds are equal.
"""

OPEN: Final = ("..", "")
"""How the bound of an interval is written that is open."""

_INSTANTS: Final = frozenset({"created", "updated", "published", "expires", "unpublished"})
_PART: Final = re.compile(r"([^\\%_]+)|\\(.?)|([%_])", re.DOTALL)


def name_of(node: object) -> str | None:
    """Return the name of the property that a part of a filter is, or None where it is none."""
    name = node.get("property") if isinstance(node, dict) else None
    return name.removeprefix("properties.") if isinstance(name, str) else None


def is_instant(name: str) -> bool:
    """Whether a property is an instant by its name, so that a plain text beside it is one as well."""
    return name in _INSTANTS or name.endswith("datetime")


def instant_of(literal: JsonValue) -> datetime:
    """Return the instant that a literal is: a text, a `timestamp`, or a `date`, which is its first instant.

    Raises:
        Rejected: `bad-filter`, it is not an instant.
    """
    text = literal
    if isinstance(literal, dict):
        text = literal.get("timestamp", literal.get("date"))
    try:
        return min(parse_instant(text if isinstance(text, str) else ""), OPEN_END)
    except Rejected:
        reason = f"the filter compares a date and time with {str(literal)[:80]!r}; write it as 2024-01-31T00:00:00Z"
        raise Rejected("bad-filter", reason) from None


def pattern_parts(pattern: str) -> list[tuple[str, bool]]:
    """Return the parts of a `like` pattern: each a text and whether it is meant literally; else it is `%` or `_`."""
    parts: list[tuple[str, bool]] = []
    literal = ""
    for plain, escaped, wildcard in _PART.findall(pattern):
        literal += plain or escaped
        if wildcard:
            parts += [(literal, True), (wildcard, False)]
            literal = ""
    return [part for part in (*parts, (literal, True)) if part[0]]
