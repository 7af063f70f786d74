"""What every table for people has: ids that can be typed, times as people say them, a mark for each state, a width."""

import re
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared.texts import printable

STYLES: Final = {
    "failed": "red",
    "partial": "yellow",
    "cancelled": "yellow",
    "skipped": "dim",
    "expanded": "green",
    "repaired": "yellow",
    "successful": "green",
    "nothing found": "yellow",
}
_MARKS: Final = {
    "accepted": ("\N{MIDDLE DOT}", "."),
    "found": ("\N{MIDDLE DOT}", "."),
    "working": ("\N{RIGHTWARDS ARROW}", ">"),
    "claimed": ("\N{RIGHTWARDS ARROW}", ">"),
    "staged": ("\N{RIGHTWARDS ARROW}", ">"),
    "catalogued": ("\N{CHECK MARK}", "+"),
    "expanded": ("\N{CHECK MARK}", "+"),
    "successful": ("\N{CHECK MARK}", "+"),
    "repaired": ("\N{CHECK MARK}", "+"),
    "skipped": ("\N{EN DASH}", "-"),
    "cancelled": ("\N{EN DASH}", "-"),
    "nothing found": ("\N{EN DASH}", "-"),
    "partial": ("!", "!"),
    "failed": ("\N{BALLOT X}", "x"),
    "missing": ("\N{BALLOT X}", "x"),
    "ok": ("\N{CHECK MARK}", "+"),
    "warning": ("!", "!"),
}
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHORT: Final = 8
_WIDEST_ID: Final = 40
_LEAST_TEXT: Final = 16
_UNITS: Final = ((86400 * 2, 86400, "d"), (3600 * 2, 3600, "h"), (120, 60, "min"), (0, 1, "s"))


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        header: its name.
        whole: whether a cell is never broken, up to 40 characters, however little room the others have.
    """

    header: str
    whole: bool = False


def short_id(run_id: str) -> str:
    """Return as much of a run's id as people need: eight characters of a UUID, and all of a caller's own id."""
    return run_id[:_SHORT] if _UUID.fullmatch(run_id) else run_id


def ago(when: float) -> str:
    """Return how long ago a time is, in seconds since the epoch, or in how long it will be."""
    seconds = time.time() - when
    _, unit, name = next(each for each in _UNITS if abs(seconds) >= each[0])
    amount = f"{int(abs(seconds) // unit)} {name}"
    return f"{amount} ago" if seconds >= 0 else f"in {amount}"


def marked(state: str) -> str:
    """Return a state with its mark, which says the same without a colour."""
    return f"{mark_of(state)} {state}"


def mark_of(state: str) -> str:
    """Return the mark of a state; a letter or a sign of ASCII where the terminal has no other."""
    mark, plain = _MARKS.get(state, ("?", "?"))
    try:
        mark.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return plain
    return mark


def print_table(columns: Sequence[Column], rows: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Print a table without the columns that are empty; entries where the last column has too little room.

    Args:
        columns: of the table.
        rows: of each its style, and its cells; they may hold anything.
    """
    listed = [(style, [printable(cell) for cell in cells]) for style, cells in rows]
    kept = [number for number in range(len(columns)) if not listed or any(cells[number] for _, cells in listed)]
    if all(column.whole for column in columns[:-1]) and listed:
        taken = sum(max(len(cells[number]) for _, cells in listed) + 2 for number in range(len(columns) - 1))
        if console().width - taken < _LEAST_TEXT:
            print_entries((style, "  ".join(filter(None, cells[:-1])), cells[-1]) for style, cells in listed)
            return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for number in kept:
        column = columns[number]
        longest = max([len(column.header), *(len(cells[number]) for _, cells in listed)])
        table.add_column(column.header, overflow="fold", min_width=min(longest, _WIDEST_ID) if column.whole else None)
    for style, cells in listed:
        table.add_row(*(Text(cells[number]) for number in kept), style=style)
    console().print(table)


def print_entries(entries: Iterable[tuple[str, str, str]]) -> None:
    """Print of each entry its name on a line of its own, which the terminal may break, and below it what is said of it.

    Args:
        entries: of each its style, its name, and what is said; they may hold anything.
    """
    out = console()
    for style, name, said in entries:
        out.print(Text(printable(name), style=style), soft_wrap=True)
        for line in Text(printable(said), style=style).wrap(out, out.width - 2, overflow="fold") if said else ():
            out.print(Text("  ") + line)


def console() -> Console:
    """Return where tables are printed: a pipe has no width, and rows must not be broken for an assumed one of 80."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=200)
