"""What a caller is told that cannot be served, and that Celery raises where a result is read."""

import re
from typing import Final, Self

_CODE: Final = r"[a-z0-9]+(?:-[a-z0-9]+)+"
VALUE_CODES: Final = frozenset({"nothing-found", "unsupported-archive"})
"""Codes for which the reference raises a ValueError."""


class AuxipError(Exception):
    """A request that was refused, or that failed as a whole.

    Attributes:
        code: stable; docs/reference/codes.md says what to do about each.
        reason: what happened, as a sentence.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"

    @classmethod
    def of(cls, error: BaseException) -> Self | None:
        """Return the code and the reason of an error that Celery has raised; None if it is not one of ours.

        An error for which the reference raises a ValueError is Python's own ValueError at a Celery caller.
        """
        if isinstance(error, cls):
            return error
        match error.args:
            case [str(code), str(reason)] if re.fullmatch(_CODE, code):
                return cls(code, reason)
            case [str(text)] if found := re.fullmatch(f"({_CODE}): (.*)", text, re.DOTALL):
                return cls(found[1], found[2])
        return None


class AuxipValueError(AuxipError, ValueError):
    """The same where the reference raises a ValueError: nothing is found, or a name is not that of an archive."""


def error_for(code: str, reason: str) -> AuxipError:
    """Return the error for a code."""
    return (AuxipValueError if code in VALUE_CODES else AuxipError)(code, reason)
