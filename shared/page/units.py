"""Durations and sizes as people say them."""

from typing import Final

_UNITS: Final = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def duration(seconds: float) -> str:
    """Return a duration as people say it: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `1 d 4 h`."""
    for size_of, unit, small, name in _UNITS:
        if seconds >= size_of:
            rest = int(seconds % size_of // small)
            return f"{int(seconds // size_of)} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def size(count: float) -> str:
    """Return a number of bytes as people say it: `3 B`, `1.2 MB`, `45 GB`."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
