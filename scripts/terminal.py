"""Runs a command in a terminal of 120 columns and draws its last screen as SVG.

    python -m scripts.terminal docs/images/demo.svg auxip demo

The picture is what the command has printed. Of a long output it shows the first lines and the last ones.
"""

import os
import pty
import re
import shutil
import sys
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

_COLUMNS: Final = 120
_FIRST, _LAST = 16, 11
_PARTS: Final = re.compile(r"(\r|\n|\x1b\[\d*A|\x1b\[2?K|\x1b\[\?25[lh])")
_FONT: Final = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def run(command: list[str]) -> str:
    """Return what a command has written to its terminal.

    Raises:
        FileNotFoundError: there is no such command.
    """
    program = shutil.which(command[0])
    if program is None:
        raise FileNotFoundError(command[0])
    os.environ |= {"COLUMNS": str(_COLUMNS), "LINES": "200", "TERM": "xterm-256color"}
    written = bytearray()

    def read(descriptor: int) -> bytes:
        piece = os.read(descriptor, 1024)
        written.extend(piece)
        return piece

    pty.spawn([program, *command[1:]], read)
    return written.decode("utf-8")


def screen(written: str) -> list[str]:
    """Return the lines that are left after progress bars have drawn over themselves; colours are kept."""
    lines, row = [""], 0
    for part in _PARTS.split(written):
        if part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part.endswith("A") and part.startswith("\x1b["):
            row = max(0, row - int(part[2:-1] or 1))
        elif part.endswith("K") and part.startswith("\x1b["):
            lines[row] = ""
        elif not _PARTS.fullmatch(part):
            lines[row] += part
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def shortened(lines: list[str]) -> list[str]:
    """Return the first and the last lines of a long output, and how many are left out."""
    left_out = len(lines) - _FIRST - _LAST
    return [*lines[:_FIRST], f"  ... {left_out} more lines ...", *lines[-_LAST:]] if left_out > 1 else lines


def draw(title: str, lines: Iterable[str]) -> str:
    """Return lines as the picture of a terminal; it loads no font from another host."""
    console = Console(record=True, width=_COLUMNS, file=StringIO())
    for line in lines:
        console.print(Text.from_ansi(line), soft_wrap=False)
    return _FONT.sub("", console.export_svg(title=title)).replace("Fira Code", "DejaVu Sans Mono")


def main() -> None:
    """Write the picture of a command into the file that is named first."""
    file, *command = sys.argv[1:]
    Path(file).write_text(draw(" ".join(command), shortened(screen(run(command)))), "utf-8")


if __name__ == "__main__":
    main()
