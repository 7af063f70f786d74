"""The one error of the embedded stack."""

from shared.errors import Rejected
from shared.texts import printable_lines


class StackError(Rejected):
    """The embedded stack cannot start or cannot do what it was asked; the reason names the part that failed.

    It may have several lines: the last ones of a log.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("local-stack", reason)

    @staticmethod
    def clean(reason: str) -> str:
        """Return a reason with its lines."""
        return printable_lines(reason)

    def __reduce__(self) -> tuple[type["StackError"], tuple[str]]:
        return type(self), (self.reason,)
