"""The bound on the number of series of a metric whose labels come from a file or from outside."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

MOST: Final = 200
"""Combinations of labels that a metric has; the others are one more, whose labels are all `OTHER`."""

OTHER: Final = "other"

Row = tuple[tuple[str, ...], float]
"""The values of the labels, and the number."""


def bounded(rows: Iterable[Row], join: Callable[[Sequence[float]], float] = sum) -> list[Row]:
    """Return the rows in the order of their labels, with those beyond the bound in one.

    Args:
        rows: of one metric.
        join: makes one number of those beyond the bound: `sum` where they are counts, `max` where they are times.
    """
    ordered = sorted(rows)
    kept, beyond = ordered[:MOST], ordered[MOST:]
    if beyond:
        kept.append(((OTHER,) * len(beyond[0][0]), join([number for _, number in beyond])))
    return kept
