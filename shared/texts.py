"""Texts of other systems, which may hold anything, on their way to a log, a terminal or a page."""


def printable(text: str) -> str:
    r"""Return a text on one line, with what cannot be printed as its escape: `\x1b` in the place of ESC.

    An escape sequence of a station would otherwise move the cursor, change the title or hide lines of a terminal, and a
    line break would begin a line of a log that nobody has written.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def printable_lines(text: str) -> str:
    """Return a text with its lines and tabs as they are, and all else as `printable` has it."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def _escaped(character: str) -> str:
    return " " if character in "\r\n\t" else character.encode("unicode_escape", "backslashreplace").decode()
